//! Releases: a folder of images that any static file server can host.

pub mod record;
pub use record::{Input, Record, RecordError};

pub mod sums;
pub use sums::{Sums, SumsError};

pub mod sbom;

pub mod notes;

pub mod config;
pub use config::ReleaseConfig;

pub mod directory;
pub use directory::{Contents, DirectoryError, DirectoryLock, merge};

pub mod plan;

pub mod metadata;
pub use metadata::{MetadataError, ReleaseMetadata};

#[cfg(test)]
mod tests;
