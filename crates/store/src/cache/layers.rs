//! Layers that are here already, and whether they are still what they were.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use tree::Blob;

use super::files::{self, Temporary};
use super::{Cache, CacheError, at, lock};
use crate::{Digest, Hasher, LayerBlob};

/// Result of looking up a layer.
#[derive(Debug)]
pub enum LayerLookup {
    /// It is here.
    Layer(LayerBlob),
    /// It isn't.
    Missing,
    /// It was here, but not what it should be, and has been removed.
    Damaged,
}

impl LayerLookup {
    fn ok(self) -> Option<LayerBlob> {
        match self {
            LayerLookup::Layer(layer) => Some(layer),
            LayerLookup::Missing | LayerLookup::Damaged => None,
        }
    }
}

impl Cache {
    /// A layer by the digest of its inflated tar, if it is here and undamaged.
    ///
    /// # Errors
    /// The file is there but can't be read.
    pub fn layer(&self, diff_id: &Digest) -> Result<Option<LayerBlob>, CacheError> {
        Ok(self.find_layer(diff_id)?.ok())
    }

    /// A layer by the digest of the blob in the registry, if it is here and undamaged.
    ///
    /// # Errors
    /// The file is there but can't be read.
    pub fn layer_by_digest(&self, digest: &Digest) -> Result<Option<LayerBlob>, CacheError> {
        Ok(self.find_by_digest(digest)?.ok())
    }

    /// Like [`Cache::layer_by_digest`], but distinguishes damaged from missing.
    ///
    /// # Errors
    /// The file is there but can't be read.
    pub(crate) fn find_by_digest(&self, digest: &Digest) -> Result<LayerLookup, CacheError> {
        let map = self.path("digests", &digest.hex());
        let Some(bytes) = super::read_small(&map)? else { return Ok(LayerLookup::Missing) };
        let diff_id = std::str::from_utf8(&bytes).ok().and_then(|t| t.trim_end().parse::<Digest>().ok());
        // A torn write; the layer itself may be fine, but nothing says which one it is.
        let Some(diff_id) = diff_id else { return Ok(LayerLookup::Missing) };
        Ok(match self.find_layer(&diff_id)? {
            LayerLookup::Layer(layer) => LayerLookup::Layer(LayerBlob { digest: Some(*digest), ..layer }),
            other => other,
        })
    }

    pub(super) fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.path("layers", &format!("{}.tar", diff_id.hex()))
    }

    /// Like [`Cache::layer`], but distinguishes damaged from missing.
    ///
    /// # Errors
    /// The file is there but can't be read.
    pub fn find_layer(&self, diff_id: &Digest) -> Result<LayerLookup, CacheError> {
        let path = self.layer_path(diff_id);
        let Some(file) = open_shared(&path)? else { return Ok(LayerLookup::Missing) };
        let seen = self.stamp(&file).map_err(at(&path))?;
        let stamp_path = path.with_extension("ok");
        let trusted = self.boot.is_some()
            && !self.verify
            && super::read_small(&stamp_path)?.is_some_and(|stamp| stamp == seen.as_bytes());
        if trusted {
            files::touch(&stamp_path);
        } else if hash(&file, &path)? == *diff_id {
            // A cache that can't be written can be read: each run hashes then.
            match self.write_small(&stamp_path, seen.as_bytes()) {
                Err(e) if e.is_read_only() => {}
                written => written?,
            }
        } else {
            // Whoever has it open keeps reading what he read; nobody else gets it.
            files::remove(&path)?;
            files::remove(&stamp_path)?;
            return Ok(LayerLookup::Damaged);
        }
        let len = file.metadata().map_err(at(&path))?.len();
        let blob = Blob::from_file(&path, file);
        Ok(LayerLookup::Layer(LayerBlob { diff_id: *diff_id, digest: None, blob, offset: 0, len }))
    }

    /// Gives a finished temporary file its name.
    pub(super) fn publish(
        &self,
        mut temporary: Temporary,
        diff_id: &Digest,
        digest: Option<&Digest>,
    ) -> Result<LayerBlob, CacheError> {
        let path = self.layer_path(diff_id);
        temporary.keep(&path)?;
        // Shared from now on. This is the same file, even if somebody prunes it at once.
        lock::shared(&temporary.file).map_err(at(&path))?;
        let stamp = self.stamp(&temporary.file).map_err(at(&path))?;
        self.write_small(&path.with_extension("ok"), stamp.as_bytes())?;
        if let Some(digest) = digest {
            self.write_small(&self.path("digests", &digest.hex()), diff_id.to_string().as_bytes())?;
        }
        let file = temporary.file.try_clone().map_err(at(&path))?;
        let len = file.metadata().map_err(at(&path))?.len();
        let blob = Blob::from_file(&path, file);
        Ok(LayerBlob { diff_id: *diff_id, digest: digest.copied(), blob, offset: 0, len })
    }

    /// What a file looks like: it changes whenever anybody writes to it, and with each boot, since a crash may have torn
    /// what was written shortly before.
    pub(super) fn stamp(&self, file: &File) -> std::io::Result<String> {
        let m = file.metadata()?;
        let boot = self.boot.as_deref().unwrap_or("unknown");
        let (size, ino) = (m.size(), m.ino());
        let mtime = (m.mtime(), m.mtime_nsec());
        let ctime = (m.ctime(), m.ctime_nsec());
        Ok(format!("{size} {ino} {}.{:09} {}.{:09} {boot}\n", mtime.0, mtime.1, ctime.0, ctime.1))
    }
}

/// Opens a layer and marks it as in use; none if it isn't there.
fn open_shared(path: &Path) -> Result<Option<File>, CacheError> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32);
    let file = match options.open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(at(path)(e)),
    };
    lock::shared(&file).map_err(at(path))?;
    // Pruned between the two calls.
    Ok(lock::same(&file, path).then_some(file))
}

fn hash(mut file: &File, path: &Path) -> Result<Digest, CacheError> {
    let mut hasher = Hasher::new();
    let mut buf = vec![0; 256 << 10];
    loop {
        match file.read(&mut buf) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(n) => hasher.update(&buf[..n]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(at(path)(e)),
        }
    }
}
