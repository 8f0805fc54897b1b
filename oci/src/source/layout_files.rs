//! A layout's files: in a directory, or in an archive.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use tree::{Blob, Content, Limits, ResolveError, Tree};

use super::{Reader, SourceError};
use store::{CompressionFormat, Digest, ExpectedLayer, Hasher, LayerBlob, compress::SNIFF};

/// Where a layout's files are.
#[derive(Debug)]
pub(super) struct LayoutFiles {
    path: PathBuf,
    files: Backing,
}

#[derive(Debug)]
enum Backing {
    Dir,
    Archive { tree: Tree, tar: Content },
}

impl LayoutFiles {
    pub(super) fn dir(path: &Path) -> Result<Self, SourceError> {
        let at = |source| SourceError::Io { path: path.to_owned(), source };
        if !path.metadata().map_err(at)?.is_dir() {
            return Err(SourceError::Kind { path: path.to_owned(), why: "not a directory" });
        }
        Ok(LayoutFiles { path: path.to_owned(), files: Backing::Dir })
    }

    /// A directory, or an archive of it: whoever unpacked one, or packed one, means the same image.
    pub(super) fn any(reader: &Reader<'_>, path: &Path) -> Result<Self, SourceError> {
        match path.is_dir() {
            true => Self::dir(path),
            false => Self::archive(reader, path),
        }
    }

    /// Opens a tar, inflating it into the cache first if it is compressed.
    pub(super) fn archive(reader: &Reader<'_>, path: &Path) -> Result<Self, SourceError> {
        let tar = open_tar(reader, path)?;
        let at = |source| SourceError::Archive { path: path.to_owned(), source };
        let (blob, offset) = tar.place().ok_or(SourceError::Kind { path: path.into(), why: "not a file" })?;
        let tree = Tree::from_tar(blob, offset, tar.len(), &Limits::default()).map_err(at)?;
        Ok(LayoutFiles { path: path.to_owned(), files: Backing::Archive { tree, tar } })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// All of an archive: its files, and itself.
    pub(super) fn into_archive(self) -> Option<(Tree, Content)> {
        match self.files {
            Backing::Dir => None,
            Backing::Archive { tree, tar } => Some((tree, tar)),
        }
    }

    /// A file inside; none if it is missing or no regular file. Symlinks are followed: `docker save` writes them for layers
    /// that it has written already, and Bazel's layouts are made of them. All but the smallest of these files are checked by
    /// their digests, so it is no matter where a link leads to.
    pub(super) fn file(&self, name: &str) -> Result<Option<Content>, SourceError> {
        match &self.files {
            Backing::Archive { tree, .. } => match tree.resolve(name, true) {
                Ok(found) => Ok(tree.get(&found.path).and_then(|n| n.content()).cloned()),
                Err(ResolveError::NotFound { .. } | ResolveError::NotADirectory { .. }) => Ok(None),
                Err(_) => Ok(None),
            },
            Backing::Dir => {
                let path = self.path.join(name);
                match open(&path) {
                    Ok((file, len)) => Ok(Some(Content::in_blob(Blob::from_file(path, file), 0, len))),
                    Err(SourceError::Io { source, .. })
                        if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
                    {
                        Ok(None)
                    }
                    Err(e) => Err(e),
                }
            }
        }
    }

    /// All bytes of a small file inside.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let at = |source| SourceError::Content { path: self.path.join(name), source };
        self.file(name)?.map(|c| c.read(crate::manifest::MANIFEST_MAX)).transpose().map_err(at)
    }

    pub(super) fn missing(&self, name: impl Into<String>) -> SourceError {
        SourceError::Missing { path: self.path.clone(), name: name.into(), note: "" }
    }
}

/// A regular file and its length. What else a name may stand for isn't waited for.
fn open(path: &Path) -> Result<(File, u64), SourceError> {
    match open_any(path)? {
        (file, Some(len)) => Ok((file, len)),
        (_, None) => Err(SourceError::Kind { path: path.to_owned(), why: "not a regular file" }),
    }
}

/// A file and its length, or the end of a pipe (`docker save … | flix docker-archive:/dev/stdin`).
fn open_any(path: &Path) -> Result<(File, Option<u64>), SourceError> {
    let at = |source| SourceError::Io { path: path.to_owned(), source };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|e| at(e.into()))?);
    let meta = file.metadata().map_err(at)?;
    if meta.is_file() {
        return Ok((file, Some(meta.len())));
    }
    if !meta.file_type().is_fifo() {
        return Err(SourceError::Kind { path: path.to_owned(), why: "not a regular file" });
    }
    // This time it is waited for whoever writes into it, as cat(1) does. The first one stays open meanwhile, or the writer
    // would be told that nobody reads.
    let pipe = File::open(path).map_err(at)?;
    drop(file);
    Ok((pipe, None))
}

/// A tar as a place: the file itself, or what the cache has of it.
fn open_tar(reader: &Reader<'_>, path: &Path) -> Result<Content, SourceError> {
    let at = |source| SourceError::Io { path: path.to_owned(), source };
    let in_cache = |source| SourceError::Cache { path: path.to_owned(), source };
    let (mut file, len) = match open_any(path)? {
        (file, Some(len)) => (file, len),
        (pipe, None) => {
            let layer = reader
                .cache
                .ingest_layer(pipe, &ExpectedLayer::default(), reader.events)
                .map_err(in_cache)?;
            return Ok(content(&layer));
        }
    };
    let mut head = Vec::with_capacity(SNIFF);
    (&file).take(SNIFF as u64).read_to_end(&mut head).map_err(at)?;
    file.rewind().map_err(at)?;
    let compression = CompressionFormat::sniff(&head).map_err(|e| at(e.into()))?;
    if compression == CompressionFormat::None {
        return Ok(Content::in_blob(Blob::from_file(path, file), 0, len));
    }
    // Hashing is far cheaper than inflating, and the next run only has to hash.
    let mut hasher = Hasher::new();
    std::io::copy(&mut &file, &mut hasher).map_err(at)?;
    let digest = hasher.finish();
    if let Some(layer) = reader.cache.layer_by_digest(&digest).map_err(in_cache)? {
        return Ok(content(&layer));
    }
    file.rewind().map_err(at)?;
    let expect = ExpectedLayer { digest: Some(digest), size: Some(len), diff_id: None };
    let layer = reader.cache.ingest_layer(file, &expect, reader.events).map_err(in_cache)?;
    Ok(content(&layer))
}

fn content(layer: &LayerBlob) -> Content {
    Content::in_blob(layer.blob.clone(), layer.offset, layer.len)
}

/// The digest of all of a content.
pub(super) fn digest(path: &Path, content: &Content) -> Result<Digest, SourceError> {
    let mut hasher = Hasher::new();
    let mut buf = vec![0; 256 << 10];
    let mut at = 0;
    loop {
        let n = content
            .read_at(&mut buf, at)
            .map_err(|source| SourceError::Content { path: path.to_owned(), source })?;
        if n == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buf[..n]);
        at += n as u64;
    }
}
