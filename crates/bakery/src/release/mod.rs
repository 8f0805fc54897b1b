//! Releases: a folder of images that any static file server can host.

pub mod record;
pub use record::{Input, Record, RecordError};

pub mod sums;
pub use sums::{Sums, SumsError};

pub mod sbom;

pub mod notes;

pub mod config;
pub use config::ReleaseConfig;

pub mod place;
pub use place::{Contents, Locked, PlaceError, merge};

pub mod plan;

pub mod finish;
pub use finish::{FinishError, Papers};

#[cfg(test)]
mod tests;
