//! A scratch directory that doesn't wait for the next sweep.

use std::path::Path;

use tree::output::{Cleanup, on_interrupt};

use super::{Cache, CacheError, Scratch};

/// A scratch directory that is removed when this is dropped, and when a signal ends the program: for gigabytes.
#[derive(Debug)]
pub struct ScratchGuard {
    scratch: Scratch,
    _cleanup: Cleanup,
}

impl ScratchGuard {
    /// Makes a directory in the cache; `what` is part of its name.
    ///
    /// # Errors
    /// The cache can't be written.
    pub fn new(cache: &Cache, what: &str) -> Result<ScratchGuard, CacheError> {
        let scratch = cache.scratch(what)?;
        let path = scratch.path().to_owned();
        let cleanup = on_interrupt(move || {
            let _ = std::fs::remove_dir_all(&path);
        });
        Ok(ScratchGuard { scratch, _cleanup: cleanup })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }
}
