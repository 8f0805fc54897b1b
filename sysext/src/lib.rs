//! System extensions: what makes a tree one, and the formats of their images.
//!
//! [`Extension::new`] is the only way to an [`Extension`], and [`image::write()`] takes nothing else.

pub mod extension;
pub use extension::{Extension, ExtensionError, ExtensionName, ExtensionOptions, Finding, Release, Severity};

pub mod squashfs;

pub mod request;
pub use request::{RequestError, Wanted};

pub mod image;
pub use image::{Format, ImageError, ImageOptions, Written};
