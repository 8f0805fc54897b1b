//! How many layers an image may have, and how large they may be.

use std::sync::atomic::{AtomicU64, Ordering};

use super::ManifestError;
use super::limits::{LAYERS_MAX, LAYERS_UNPACKED_MAX};

/// Adds up what the layers of an image have unpacked, as they come.
#[derive(Debug, Default)]
pub(crate) struct UnpackedSize(AtomicU64);

impl UnpackedSize {
    pub(crate) fn add(&self, len: u64) -> Result<(), ManifestError> {
        let before = self.0.fetch_add(len, Ordering::Relaxed);
        match before.saturating_add(len) {
            len if len > LAYERS_UNPACKED_MAX => Err(ManifestError::UnpackedTooLarge { len }),
            _ => Ok(()),
        }
    }
}

pub(super) fn check_count(what: &'static str, layers: usize) -> Result<(), ManifestError> {
    if layers > LAYERS_MAX {
        return Err(ManifestError::TooManyLayers { what, layers });
    }
    Ok(())
}
