//! OCI images: what they are called, where they come from, and the root file system that they make.

pub mod reference;
pub use reference::{ImageRef, Reference, ReferenceError};
