//! Releases: a folder of images that any static file server can host.

pub mod record;
pub use record::{Input, Record, RecordError, file_name};

pub mod sums;
pub use sums::{Sums, SumsError};

pub mod sbom;

pub mod notes;

#[cfg(test)]
mod tests;
