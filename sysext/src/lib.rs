//! System extensions: what makes a tree one.
//!
//! [`Extension::new`] is the only way to an [`Extension`]; [`Extension::write_image`] makes an image of it.

pub mod extension;
pub use extension::{Extension, ExtensionError, ExtensionName, ExtensionOptions, Finding, Release, Severity};

pub mod request;
pub use request::{RequestError, Wanted};
