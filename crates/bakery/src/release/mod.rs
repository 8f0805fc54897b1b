//! Releases: a folder of images that any static file server can host.

pub(crate) mod record;
pub(crate) use record::{Input, Record};

pub(crate) mod sums;
pub(crate) use sums::Sums;

pub(crate) mod sbom;

pub(crate) mod listing;

pub(crate) mod notes;

pub(crate) mod config;
pub(crate) use config::ReleaseConfig;

pub(crate) mod directory;
pub(crate) use directory::{Contents, DirectoryLock};

pub(crate) mod plan;

pub(crate) mod metadata;
pub(crate) use metadata::{FormsError, ReleaseMetadata, check_forms};

#[cfg(test)]
mod tests;
