//! System extensions: what makes a tree one, and what is wrong with one that somebody else built.
//!
//! [`Extension::new`] is the only way to an [`Extension`]; [`Extension::write_image`] makes an image of it. [`lint`],
//! [`Inspection`], [`check_compatibility`] and [`MergeTest`] look at an image of anybody's.

pub mod extension;
pub use extension::{Extension, ExtensionError, ExtensionName, ExtensionOptions, Finding, Release, Severity};

pub mod lint;

pub mod inspect;
pub use inspect::Inspection;

mod compatibility;
pub use compatibility::{Compatibility, CompatibilityError, check_compatibility};

pub mod merge_test;
pub use merge_test::{MergeTest, MergeTestError};

pub mod request;
pub use request::{RequestError, RequestedPath};
