//! Directories to work in, which vanish with their process.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tree::{ScratchDir, ScratchSpace};

use super::{Cache, CacheError, at, files, lock};

/// A directory, mode 0700, that is removed with all below it when this is dropped, or, if the process dies before, when the
/// cache is next opened. On the same file system as the cache's layers.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    lock_path: PathBuf,
    /// Holds the lock until it is closed.
    _lock: File,
}

impl Scratch {
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it now, and says if that fails.
    ///
    /// # Errors
    /// Something in it can't be removed: a mount, another user's file.
    pub fn close(self) -> Result<(), CacheError> {
        files::remove_tree(&self.path).map_err(at(&self.path))
    }
}

impl ScratchDir for Scratch {
    fn path(&self) -> &Path {
        &self.path
    }
}

impl ScratchSpace for Cache {
    fn scratch_dir(&self, what: &str) -> io::Result<Box<dyn ScratchDir>> {
        Ok(Box::new(self.scratch(what).map_err(io::Error::other)?))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed keeps its lock file, and is tried again by a later sweep.
        if files::remove_tree(&self.path).is_ok() {
            let _ = std::fs::remove_file(&self.lock_path);
        }
    }
}

impl Cache {
    /// A new, empty directory. `what` is a word for people who look.
    ///
    /// # Errors
    /// It can't be made.
    pub fn scratch(&self, what: &str) -> Result<Scratch, CacheError> {
        let word: String = what.chars().filter(|c| c.is_ascii_alphanumeric()).take(32).collect();
        loop {
            let path = self.path("scratch", &files::unique(&word));
            let lock_path = path.with_extension("lock");
            // The lock comes first, so that a directory without one has no living owner.
            let lock = match lock::create_locked(&lock_path) {
                Ok(lock) => lock,
                Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(at(&lock_path)(e)),
            };
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Scratch { path, lock_path, _lock: lock }),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(at(&path)(e)),
            }
        }
    }

    pub(super) fn sweep_scratch(&self) -> Result<(), CacheError> {
        let dir = self.dir.join("scratch");
        for path in files::entries(&dir)? {
            let is_lock = path.extension().is_some_and(|e| e == "lock");
            if !is_lock {
                // Each directory has a lock file; one without lost it halfway through a removal.
                if !path.with_extension("lock").exists() {
                    let _ = files::remove_tree(&path);
                }
                continue;
            }
            let Ok(file) = lock::open(&path, false) else { continue };
            if lock::try_exclusive(&file).map_err(at(&path))?
                && lock::same(&file, &path)
                // Files of a mapped user can't be removed from here; they show up in `list`.
                && files::remove_tree(&path.with_extension("")).is_ok()
            {
                files::remove(&path)?;
            }
        }
        Ok(())
    }
}
