//! The content-addressed cache: inflated layers, small blobs, small facts, and room to work in.
//!
//! ```text
//! layers/HEX.tar   an inflated layer by its diff_id, or a download by its digest
//! layers/HEX.ok    what it looked like when it was last hashed
//! digests/HEX      digest of a compressed layer -> diff_id blobs/HEX       manifests and configs by their digest
//! partial/HEX      a compressed layer, not yet complete    keys/SPACE/HEX  small facts by the hash of their key
//! locks/HEX        held while a layer is fetched           tmp/, scratch/  each entry locked by its process
//! trees/HEX        a root file system as files, for traces
//! ```
//!
//! Several processes may use one cache. Files appear under their names complete, by a rename; whoever uses a layer holds a
//! shared flock(2) on it, and whoever fetches one holds an exclusive lock on its digest. Locks vanish with their process, so
//! that kill -9 leaves nothing but files which nobody has locked, and those are swept when the cache is opened.
//!
//! Nothing is synced to disk. Instead, a layer is hashed again when it is first used after a boot, or when its inode shows
//! that it was touched since; a torn write is found then, and the layer is fetched again.
//!
//! What the files say is trusted only as far as nobody else can have written them: directories that belong to another user, or that others
//! may write, are refused.

mod lock;
pub use lock::Lock;

mod files;
pub use files::remove_tree;

mod layers;
pub use layers::LayerLookup;

mod ingest;
pub use ingest::ExpectedLayer;

mod partial;

mod download;
pub use download::{DownloadError, ExpectedFile};

mod owner;

mod scratch;
pub use scratch::Scratch;

mod guard;
pub use guard::ScratchGuard;

mod trees;
pub use trees::KeptTree;

mod prune;
pub use prune::{CacheEntry, CacheEntryKind, Prune, Pruned};

#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::{DecodeError, DecodeLimits, Digest, Environment};

/// A cache directory. Cheap to clone; may be used from several threads and processes at once.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
    /// `/proc/sys/kernel/random/boot_id`; none if it can't be read, and then every layer is hashed at each use.
    boot: Option<String>,
    /// Whether a layer is hashed at each use, whatever its inode looks like.
    verify: bool,
    /// Bytes.
    limits: DecodeLimits,
}

/// What went wrong with the cache or with what should go into it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum CacheError {
    /// The system said no.
    #[error("{path:?}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        source: io::Error,
    },
    /// A directory of the cache in which somebody else may put files, or has.
    #[error("cache directory {path:?} {}", owner::Reason { owner: *.owner, mode: *.mode })]
    Unsafe {
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its permissions.
        mode: u32,
    },
    /// Neither XDG_CACHE_HOME nor HOME is set.
    #[error("cache directory is unknown: neither XDG_CACHE_HOME nor HOME is an absolute path")]
    NoHome,
    /// The source of a layer failed. Its own error is inside.
    #[error("layer {name}: {source}")]
    Source {
        /// Digest, or what else is known.
        name: String,
        /// What the source said.
        source: io::Error,
    },
    /// The layer can't be decompressed.
    #[error("layer {name}: {source}")]
    Decode {
        /// Digest, or what else is known.
        name: String,
        source: DecodeError,
    },
    /// Another length than the manifest says.
    #[error("layer {name}: got {got} bytes{}, expected {expected}", if *.more { " or more" } else { "" })]
    Size {
        name: String,
        /// Bytes.
        got: u64,
        /// Whether it was given up there.
        more: bool,
        /// Bytes.
        expected: u64,
    },
    /// Other bytes than the manifest says.
    #[error("layer {expected}: got content with digest {got}")]
    Digest { got: Digest, expected: Digest },
    /// Other bytes than the config says.
    #[error("layer {name}: got inflated content with diff_id {got}, expected {expected}")]
    DiffId {
        /// Digest, or what else is known.
        name: String,
        got: Digest,
        expected: Digest,
    },
    /// The manifest promises more than may be taken in.
    #[error("layer {name} is {size} bytes, expected at most {limit}")]
    LayerTooLarge { name: String, size: u64, limit: u64 },
}

impl CacheError {
    /// Whether the content was not what was promised: worth a try elsewhere, where a full disk isn't.
    pub fn is_content(&self) -> bool {
        use CacheError::{Decode, DiffId, Digest, Size};
        matches!(self, Decode { .. } | DiffId { .. } | Digest { .. } | Size { .. })
    }
}

impl CacheError {
    /// Whether the cache can't be written by this user, wherever that shows.
    pub(crate) fn is_read_only(&self) -> bool {
        use ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        matches!(self, CacheError::Io { source, .. } if matches!(source.kind(), ReadOnlyFilesystem | PermissionDenied))
    }

    /// Whether there was no room on the disk.
    pub fn is_full(&self) -> bool {
        matches!(self, CacheError::Io { source, .. } | CacheError::Source { source, .. } if is_full(source.kind()))
    }

    /// An error of the cache's own that came through a reader, as itself.
    fn unwrapped(self) -> CacheError {
        match self {
            CacheError::Source { name, source } => match source.downcast::<CacheError>() {
                Ok(own) => own,
                Err(source) => CacheError::Source { name, source },
            },
            other => other,
        }
    }
}

/// Whether an error is the disk's, or the user's share of it.
fn is_full(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// For `map_err`: the path is in the message.
fn at(path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    let path = path.to_owned();
    move |source| CacheError::Io { path, source }
}

/// Bytes. Larger blobs and facts aren't kept: they are read into memory whole.
pub const BLOB_MAX: u64 = 4 << 20;

const DIRS: [&str; 9] = ["layers", "digests", "blobs", "partial", "keys", "locks", "tmp", "scratch", "trees"];

/// <https://bford.info/cachedir/>: makes backup programs skip it.
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n";

impl Cache {
    /// The user's cache: `$XDG_CACHE_HOME/flix` or `~/.cache/flix`.
    ///
    /// # Errors
    /// The environment says neither.
    fn default_dir(environment: &Environment) -> Result<PathBuf, CacheError> {
        Ok(environment.cache_home().ok_or(CacheError::NoHome)?.join("flix"))
    }

    /// As [`Cache::open`], in the default directory if there is none.
    ///
    /// # Errors
    /// No place for it, or the directory can't be made.
    pub fn open_or_default(dir: Option<&Path>, environment: &Environment) -> Result<Cache, CacheError> {
        match dir {
            Some(dir) => Self::open(dir),
            None => Self::open(&Self::default_dir(environment)?),
        }
    }

    /// Opens a cache, and makes it if it is missing. What dead processes left is swept.
    ///
    /// # Errors
    /// The directory can't be made; it or one of those in it belongs to another user, or may be written by others.
    pub fn open(dir: &Path) -> Result<Cache, CacheError> {
        let dir = std::path::absolute(dir).map_err(at(dir))?;
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(at(&dir))?;
        owner::check(&dir)?;
        for name in DIRS {
            let dir = dir.join(name);
            DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(at(&dir))?;
            owner::check(&dir)?;
        }
        let tag = dir.join("CACHEDIR.TAG");
        if !tag.exists() {
            std::fs::write(&tag, CACHEDIR_TAG).map_err(at(&tag))?;
        }
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let boot = boot.map(|b| b.trim().to_owned()).filter(|b| !b.is_empty());
        let cache = Cache { dir, boot, verify: false, limits: DecodeLimits::default() };
        cache.sweep()?;
        Ok(cache)
    }

    /// The same cache. With `verify`, a layer is hashed at each use; without, if its file has changed since it was hashed last.
    #[must_use]
    pub fn verifying(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// The same cache with other limits for what a layer may inflate to.
    #[cfg(test)]
    pub(crate) fn with_limits(mut self, limits: DecodeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, space: &str, name: &str) -> PathBuf {
        self.dir.join(space).join(name)
    }

    /// Keeps a manifest or a config.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, CacheError> {
        let digest = Digest::of(bytes);
        let path = self.path("blobs", &digest.hex());
        self.write_small(&path, bytes)?;
        Ok(digest)
    }

    /// A manifest or a config, if it is here and undamaged.
    ///
    /// # Errors
    /// The file is there but can't be read.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, CacheError> {
        let path = self.path("blobs", &digest.hex());
        let Some(bytes) = read_small(&path)? else { return Ok(None) };
        if Digest::of(&bytes) == *digest {
            files::touch(&path);
            return Ok(Some(bytes));
        }
        // Torn by a crash. It is fetched again.
        files::remove(&path)?;
        Ok(None)
    }

    /// A small fact: the digest that a tag had, the layer that a command made.
    ///
    /// # Errors
    /// The file is there but can't be read.
    pub fn key(&self, space: &str, key: &str) -> Result<Option<String>, CacheError> {
        let path = self.key_path(space, key);
        let Some(bytes) = read_small(&path)? else { return Ok(None) };
        // The checksum finds torn writes, the key itself is there for people who look.
        let value = String::from_utf8(bytes).ok().and_then(|text| {
            let (sum, rest) = text.split_once('\n')?;
            let (stored, value) = rest.split_at_checked(key.len())?;
            let sound = sum == Digest::of(rest).hex() && stored == key;
            sound.then(|| value.strip_prefix('\n')).flatten().map(str::to_owned)
        });
        match value {
            Some(_) => files::touch(&path),
            None => files::remove(&path)?,
        }
        Ok(value)
    }

    /// Keeps a small fact.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn set_key(&self, space: &str, key: &str, value: &str) -> Result<(), CacheError> {
        let path = self.key_path(space, key);
        if let Some(dir) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir))?;
        }
        let rest = format!("{key}\n{value}");
        self.write_small(&path, format!("{}\n{rest}", Digest::of(&rest).hex()).as_bytes())
    }

    /// Waits until no other process holds the lock on a small fact, and takes it: for whoever finds out what is in none. Calls
    /// `waiting` first if there is another.
    ///
    /// # Errors
    /// The lock can't be had.
    pub fn lock(&self, space: &str, key: &str, waiting: impl FnOnce()) -> Result<Lock, CacheError> {
        let path = self.path("locks", &Digest::of(format!("{space} {key}")).hex());
        Lock::acquire(&path, waiting).map_err(at(&path))
    }

    fn key_path(&self, space: &str, key: &str) -> PathBuf {
        // Spaces are words of this program; a stray slash must not leave the directory all the same.
        let space = space.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_");
        self.dir.join("keys").join(space).join(Digest::of(key).hex())
    }
}

/// A small file; none if it isn't there.
fn read_small(path: &Path) -> Result<Option<Vec<u8>>, CacheError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(at(path)(e)),
    };
    let mut bytes = Vec::new();
    file.take(BLOB_MAX + 1).read_to_end(&mut bytes).map_err(at(path))?;
    Ok(Some(bytes))
}
