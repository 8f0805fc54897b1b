//! What the cache holds, and making room in it.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Cache, CacheError, at, files, lock};

/// What a [`CacheEntry`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CacheEntryKind {
    /// An inflated layer.
    Layer,
    /// A compressed layer that isn't complete.
    Partial,
    /// A manifest or a config.
    Blob,
    /// A small fact.
    Key,
    /// A working directory.
    Scratch,
    /// A root file system for traces.
    Tree,
}

/// One thing in the cache.
#[derive(Debug, Clone)]
pub struct CacheEntry {
    /// What it is.
    pub kind: CacheEntryKind,
    /// A digest, or a file name.
    pub name: String,
    /// Bytes on disk; holes in sparse files don't count. 0 for working directories.
    pub bytes: u64,
    /// When it was last asked for.
    pub last_used: SystemTime,
    /// Whether a running process has it.
    pub in_use: bool,
    pub(super) path: PathBuf,
}

/// What is to go. Without any of the three, nothing does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Prune {
    /// All that was last used longer ago than this.
    pub older_than: Option<Duration>,
    /// The longest unused, until what stays has no more bytes than this.
    pub max_bytes: Option<u64>,
    /// Everything.
    pub all: bool,
}

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Number of entries that were removed.
    pub entries: u64,
    /// Bytes that they had.
    pub bytes: u64,
    /// Number of entries that should have gone, but are used by a running process.
    pub in_use: u64,
}

impl Cache {
    /// What the cache holds, the longest unused first.
    ///
    /// # Errors
    /// A directory of the cache can't be read.
    pub fn list(&self) -> Result<Vec<CacheEntry>, CacheError> {
        let mut out = Vec::new();
        let dir = |name: &str| self.dir.join(name);
        for path in files::entries(&dir("layers"))? {
            if path.extension().is_some_and(|e| e == "tar") {
                // The stamp is touched at each use, the layer itself never.
                let used = path.with_extension("ok");
                out.extend(entry(CacheEntryKind::Layer, &path, &used)?);
            }
        }
        for path in files::entries(&dir("partial"))? {
            let lock = self.path("locks", &file_name(&path));
            let busy = is_locked(&lock);
            out.extend(
                entry(CacheEntryKind::Partial, &path, &path)?.map(|e| CacheEntry { in_use: busy, ..e }),
            );
        }
        for path in files::entries(&dir("blobs"))? {
            out.extend(entry(CacheEntryKind::Blob, &path, &path)?);
        }
        for space in files::entries(&dir("keys"))? {
            for path in files::entries(&space)? {
                out.extend(entry(CacheEntryKind::Key, &path, &path)?);
            }
        }
        for path in files::entries(&dir("scratch"))? {
            if path.is_dir() {
                let busy = is_locked(&path.with_extension("lock"));
                let scratch = entry(CacheEntryKind::Scratch, &path, &path)?;
                out.extend(scratch.map(|e| CacheEntry { in_use: busy, bytes: 0, ..e }));
            }
        }
        out.extend(self.trees()?);
        out.sort_by(|a, b| (a.last_used, &a.path).cmp(&(b.last_used, &b.path)));
        Ok(out)
    }

    /// Makes room. What a running process uses stays.
    ///
    /// # Errors
    /// A directory of the cache can't be read, or an entry can't be removed.
    pub fn prune(&self, what: &Prune) -> Result<Pruned, CacheError> {
        self.sweep()?;
        let entries = self.list()?;
        let mut left: u64 = entries.iter().map(|e| e.bytes).sum();
        let now = SystemTime::now();
        let mut out = Pruned::default();
        for entry in &entries {
            // A file from the future counts as just used.
            let age = now.duration_since(entry.last_used).unwrap_or_default();
            let old = what.older_than.is_some_and(|limit| age > limit);
            let over = what.max_bytes.is_some_and(|max| left > max);
            if !(what.all || old || over) {
                continue;
            }
            if self.remove(entry)? {
                out.entries += 1;
                out.bytes += entry.bytes;
                left = left.saturating_sub(entry.bytes);
            } else {
                out.in_use += 1;
            }
        }
        self.forget_digests()?;
        Ok(out)
    }

    /// Removes an entry unless it is in use.
    fn remove(&self, entry: &CacheEntry) -> Result<bool, CacheError> {
        match entry.kind {
            CacheEntryKind::Layer => {
                let Ok(file) = lock::open(&entry.path, false) else { return Ok(true) };
                if !lock::try_exclusive(&file).map_err(at(&entry.path))? {
                    return Ok(false);
                }
                // While the lock is held: whoever opens it now looks again when he has it.
                files::remove(&entry.path.with_extension("ok"))?;
                files::remove(&entry.path)?;
            }
            // The sweep has removed those of dead processes, or couldn't.
            CacheEntryKind::Scratch => return Ok(false),
            CacheEntryKind::Tree => return self.remove_tree(&entry.path),
            CacheEntryKind::Partial if entry.in_use => return Ok(false),
            CacheEntryKind::Partial | CacheEntryKind::Blob | CacheEntryKind::Key => {
                files::remove(&entry.path)?
            }
        }
        Ok(true)
    }

    /// Removes what leads to layers that are gone.
    fn forget_digests(&self) -> Result<(), CacheError> {
        for map in files::entries(&self.dir.join("digests"))? {
            let Some(bytes) = super::read_small(&map)? else { continue };
            let text = String::from_utf8_lossy(&bytes);
            let there = text.trim_end().parse().is_ok_and(|diff_id| self.layer_path(&diff_id).exists());
            if !there {
                files::remove(&map)?;
            }
        }
        Ok(())
    }
}

/// None if it vanished meanwhile.
fn entry(kind: CacheEntryKind, path: &Path, used: &Path) -> Result<Option<CacheEntry>, CacheError> {
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(at(path)(e)),
    };
    let modified = |m: &Metadata| m.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let last_used = used.symlink_metadata().map_or_else(|_| modified(&meta), |m| modified(&m));
    let name = file_name(&path.with_extension(""));
    let name = if kind == CacheEntryKind::Key || kind == CacheEntryKind::Scratch {
        name
    } else {
        format!("sha256:{name}")
    };
    let in_use = kind == CacheEntryKind::Layer && is_locked(path);
    Ok(Some(CacheEntry { kind, name, bytes: size(&meta), last_used, in_use, path: path.into() }))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether another process has a lock on a file. Taking it for a moment disturbs nobody: all others wait for theirs or look
/// for the file again.
fn is_locked(path: &Path) -> bool {
    lock::open(path, false).is_ok_and(|file| !lock::try_exclusive(&file).unwrap_or(true))
}

/// Bytes on the disk: a layer with a large sparse file takes less than its length.
fn size(meta: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    match meta.len() {
        // What is this small is not worth asking, and file systems differ in what they say of it.
        len @ ..=1_048_576 => len,
        len => len.min(meta.blocks().saturating_mul(512)),
    }
}
