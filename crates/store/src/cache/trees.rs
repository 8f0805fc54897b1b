//! Directories that are kept: a root file system that commands are traced in is gigabytes, and the same for the next trace.
//!
//! `trees/HEX.lock` says of what boot `trees/HEX` is, and how large. Nothing is synced to disk, so a directory of an earlier boot may
//! be torn and is made anew. Whoever uses one holds a shared lock.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Cache, CacheEntry, CacheEntryKind, CacheError, at, files, lock};
use crate::Digest;

/// Each may have gigabytes: what is used longest ago goes when another is made.
const KEPT: usize = 2;

/// A directory of the cache that nobody removes as long as this exists.
#[derive(Debug)]
pub struct KeptTree {
    path: PathBuf,
    /// Holds the lock until it is closed.
    _lock: File,
}

impl KeptTree {
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Cache {
    /// The directory that `fill` made for this key, now or earlier. `fill` gets an empty directory; `bytes` is about how large
    /// it will be. Others who want the same wait for it.
    ///
    /// All files below have to be the user's own, or the user root, and nobody may change them.
    ///
    /// # Errors
    /// Those of `fill`; the cache's.
    pub fn kept_tree<E: From<CacheError>>(
        &self,
        key: &str,
        bytes: u64,
        fill: impl Fn(&Path) -> Result<(), E>,
    ) -> Result<KeptTree, E> {
        let path = self.path("trees", &Digest::of(key).hex());
        let lock_path = path.with_extension("lock");
        loop {
            let file = lock::open(&lock_path, true).map_err(at(&lock_path))?;
            lock::shared(&file).map_err(at(&lock_path))?;
            if !lock::same(&file, &lock_path) {
                continue;
            }
            if self.is_whole(&file, &path) {
                files::touch(&lock_path);
                return Ok(KeptTree { path, _lock: file });
            }
            // Not an upgrade of the lock: of two who wait for each other's none would get it.
            drop(file);
            let mut file = lock::open(&lock_path, true).map_err(at(&lock_path))?;
            lock::exclusive(&file).map_err(at(&lock_path))?;
            if !lock::same(&file, &lock_path) || self.is_whole(&file, &path) {
                continue;
            }
            self.make_room(&path)?;
            file.set_len(0).map_err(at(&lock_path))?;
            files::remove_tree(&path).map_err(at(&path))?;
            let scratch = self.scratch("tree")?;
            let fresh = scratch.path().join("tree");
            std::fs::create_dir(&fresh).map_err(at(&fresh))?;
            if let Err(e) = fill(&fresh) {
                files::remove(&lock_path)?;
                return Err(e);
            }
            std::fs::rename(&fresh, &path).map_err(at(&path))?;
            let boot = self.boot.as_deref().unwrap_or_default();
            let written = file.rewind().and_then(|()| write!(file, "{boot}\n{bytes}\n"));
            written.map_err(at(&lock_path))?;
            if self.boot.is_none() || self.verify {
                // Its age is unknown, or nothing is believed: this once, and never again.
                lock::shared(&file).map_err(at(&lock_path))?;
                return Ok(KeptTree { path, _lock: file });
            }
        }
    }

    /// Whether the directory is complete, and of this boot.
    fn is_whole(&self, lock: &File, path: &Path) -> bool {
        let boot = stamp(lock).map(|(boot, _)| boot);
        !self.verify && self.boot.is_some() && boot == self.boot && path.is_dir()
    }

    /// Removes what is used longest ago, and by nobody now, but for [`KEPT`] less one.
    fn make_room(&self, but: &Path) -> Result<(), CacheError> {
        let mut trees: Vec<CacheEntry> = self.trees()?.into_iter().filter(|e| e.path != but).collect();
        trees.sort_by_key(|e| std::cmp::Reverse(e.last_used));
        for tree in trees.iter().skip(KEPT - 1) {
            self.remove_tree(&tree.path)?;
        }
        Ok(())
    }

    /// Removes one unless it is in use.
    pub(super) fn remove_tree(&self, path: &Path) -> Result<bool, CacheError> {
        let lock_path = path.with_extension("lock");
        let Ok(file) = lock::open(&lock_path, false) else { return Ok(true) };
        if !lock::try_exclusive(&file).map_err(at(&lock_path))? {
            return Ok(false);
        }
        file.set_len(0).map_err(at(&lock_path))?;
        files::remove_tree(path).map_err(at(path))?;
        files::remove(&lock_path)?;
        Ok(true)
    }

    pub(super) fn trees(&self) -> Result<Vec<CacheEntry>, CacheError> {
        let mut out = Vec::new();
        for lock_path in files::entries(&self.dir.join("trees"))? {
            if lock_path.extension().is_none_or(|e| e != "lock") {
                continue;
            }
            let (Ok(file), Ok(meta)) = (lock::open(&lock_path, false), lock_path.symlink_metadata()) else {
                continue;
            };
            let path = lock_path.with_extension("");
            out.push(CacheEntry {
                kind: CacheEntryKind::Tree,
                name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                bytes: stamp(&file).map_or(0, |(_, bytes)| bytes),
                last_used: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                in_use: !lock::try_exclusive(&file).unwrap_or(true),
                path,
            });
        }
        Ok(out)
    }
}

/// The boot and the size that a lock file names.
fn stamp(mut lock: &File) -> Option<(String, u64)> {
    let mut text = String::new();
    lock.rewind().ok()?;
    lock.take(256).read_to_string(&mut text).ok()?;
    let mut lines = text.lines();
    let boot = lines.next()?.to_owned();
    Some((boot, lines.next()?.parse().ok()?))
}
