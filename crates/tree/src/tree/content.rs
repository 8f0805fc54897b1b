//! Where a file's bytes are.

use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::Blob;

/// A run of stored bytes in a sparse file; what lies between extents is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where it stands in the file. Bytes.
    pub at: u64,
    /// Where it stands in the blob. Bytes.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// Bytes that stand over, or behind, what a [`Content`] holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Where they go. Bytes from the start of the file.
    pub at: u64,
    /// The new bytes.
    pub bytes: Vec<u8>,
}

/// The content of a regular file: a place, never a copy. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Content {
    /// Bytes.
    len: u64,
    data: Data,
}

#[derive(Debug, Clone)]
enum Data {
    Empty,
    Inline(Arc<[u8]>),
    Place { blob: Arc<Blob>, offset: u64 },
    Sparse { blob: Arc<Blob>, extents: Arc<[Extent]> },
    Patched { base: Arc<Content>, patches: Arc<[Patch]> },
    TooLarge { limit: u64 },
}

/// Why content can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ContentError {
    /// The blob can't be read.
    #[error("{path:?}: {source}")]
    Io {
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Larger than the caller wants in memory.
    #[error("content is {len} bytes, expected at most {limit}")]
    TooLarge { len: u64, limit: u64 },
    /// Extents overlap, are out of order or reach past the file's end.
    #[error("sparse file has extents out of order or past its end")]
    BadExtents,
    /// Patches overlap, are out of order or reach past the file's end.
    #[error("patches are out of order or past the end of the file")]
    BadPatches,
}

impl Content {
    /// No bytes.
    pub const EMPTY: Content = Content { len: 0, data: Data::Empty };

    /// A place in a blob. Bytes.
    pub fn in_blob(blob: Arc<Blob>, offset: u64, len: u64) -> Self {
        Content { len, data: Data::Place { blob, offset } }
    }

    /// A file of `len` bytes that is zero but for the extents.
    ///
    /// # Errors
    /// Extents that overlap, are out of order or reach past `len`.
    pub fn sparse(blob: Arc<Blob>, len: u64, extents: Vec<Extent>) -> Result<Self, ContentError> {
        let mut end = 0u64;
        for e in &extents {
            if e.at < end || e.offset.checked_add(e.len).is_none() {
                return Err(ContentError::BadExtents);
            }
            end = e.at.checked_add(e.len).ok_or(ContentError::BadExtents)?;
        }
        if end > len {
            return Err(ContentError::BadExtents);
        }
        Ok(Content { len, data: Data::Sparse { blob, extents: extents.into() } })
    }

    /// This content with some bytes replaced and a new length of `len` bytes; what neither the old content nor a patch
    /// covers is zero. Only the patches are in memory.
    ///
    /// # Errors
    /// Patches that overlap, are out of order or reach past `len`.
    pub fn patched(&self, len: u64, patches: Vec<Patch>) -> Result<Self, ContentError> {
        let mut end = 0u64;
        for p in &patches {
            if p.at < end {
                return Err(ContentError::BadPatches);
            }
            end = p.at.checked_add(p.bytes.len() as u64).ok_or(ContentError::BadPatches)?;
        }
        if end > len {
            return Err(ContentError::BadPatches);
        }
        Ok(Content { len, data: Data::Patched { base: Arc::new(self.clone()), patches: patches.into() } })
    }

    /// A file that is larger than anybody may want: it has its place in a tree, but whoever reads it gets
    /// [`ContentError::TooLarge`].
    pub fn too_large(len: u64, limit: u64) -> Self {
        Content { len, data: Data::TooLarge { limit } }
    }

    /// Whether nobody may read it.
    pub fn is_too_large(&self) -> bool {
        matches!(self.data, Data::TooLarge { .. })
    }

    /// Length. Bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The stored runs of a sparse file; none if the whole content is stored.
    pub fn extents(&self) -> Option<&[Extent]> {
        match &self.data {
            Data::Sparse { extents, .. } => Some(extents),
            _ => None,
        }
    }

    /// Where the next bytes are that may be other than zero: `offset` itself, or the end of the hole that it is in. The
    /// length if nothing follows.
    pub fn next_data(&self, offset: u64) -> u64 {
        let next = match &self.data {
            Data::Empty | Data::Inline(_) | Data::Place { .. } | Data::TooLarge { .. } => offset,
            Data::Sparse { extents, .. } => {
                let i = extents.partition_point(|e| e.at + e.len <= offset);
                extents.get(i).map_or(self.len, |e| e.at.max(offset))
            }
            Data::Patched { base, patches } => {
                let old = base.next_data(offset);
                let old = if old < base.len { old } else { self.len };
                let i = patches.partition_point(|p| p.at + p.bytes.len() as u64 <= offset);
                patches.get(i).map_or(old, |p| old.min(p.at.max(offset)))
            }
        };
        next.min(self.len)
    }

    /// The blob and the offset in it, if the whole content stands there in one piece.
    pub fn place(&self) -> Option<(&Arc<Blob>, u64)> {
        match &self.data {
            Data::Place { blob, offset } => Some((blob, *offset)),
            _ => None,
        }
    }

    /// The file that all or some of the content stands in.
    pub fn blob(&self) -> Option<&Arc<Blob>> {
        match &self.data {
            Data::Empty | Data::Inline(_) | Data::TooLarge { .. } => None,
            Data::Place { blob, .. } | Data::Sparse { blob, .. } => Some(blob),
            Data::Patched { base, .. } => base.blob(),
        }
    }

    /// Fills `buf` from `offset` on; fewer bytes only at the end of the content.
    ///
    /// # Errors
    /// The blob can't be read, or ends early.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize, ContentError> {
        let n = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        let buf = &mut buf[..n];
        if n == 0 {
            return Ok(0);
        }
        match &self.data {
            Data::Empty => {}
            Data::TooLarge { limit } => return Err(ContentError::TooLarge { len: self.len, limit: *limit }),
            Data::Inline(bytes) => {
                let start = offset as usize;
                buf.copy_from_slice(&bytes[start..start + n]);
            }
            Data::Place { blob, offset: start } => {
                let at = start.checked_add(offset).ok_or(ContentError::BadExtents)?;
                blob.with_file([(at, n as u64)], |f| f.read_exact_at(buf, at))
                    .map_err(|e| io_error(blob, e))?;
            }
            Data::Sparse { blob, extents } => {
                buf.fill(0);
                let end = offset + n as u64;
                let first = extents.partition_point(|e| e.at + e.len <= offset);
                let within = extents[first..].iter().take_while(|e| e.at < end);
                let part = |e: &Extent| (e.at.max(offset), (e.at + e.len).min(end));
                let places = within.clone().map(|e| (e.offset + (part(e).0 - e.at), part(e).1 - part(e).0));
                let fill = |f: &std::fs::File| {
                    for e in within.clone() {
                        let (from, to) = part(e);
                        let part = &mut buf[(from - offset) as usize..(to - offset) as usize];
                        f.read_exact_at(part, e.offset + (from - e.at))?;
                    }
                    Ok(())
                };
                blob.with_file(places, fill).map_err(|e| io_error(blob, e))?;
            }
            Data::Patched { base, patches } => {
                let old = base.read_at(buf, offset)?;
                buf[old..].fill(0);
                let end = offset + n as u64;
                let first = patches.partition_point(|p| p.at + p.bytes.len() as u64 <= offset);
                for p in patches[first..].iter().take_while(|p| p.at < end) {
                    let from = p.at.max(offset);
                    let to = (p.at + p.bytes.len() as u64).min(end);
                    buf[(from - offset) as usize..(to - offset) as usize]
                        .copy_from_slice(&p.bytes[(from - p.at) as usize..(to - p.at) as usize]);
                }
            }
        }
        Ok(n)
    }

    /// The same content, out of a file that stays open: for many reads of one file.
    ///
    /// # Errors
    /// The blob can't be opened, or is another file than it was.
    pub fn opened(&self) -> Result<Content, ContentError> {
        let open = |blob: &Arc<Blob>| blob.opened().map_err(|e| io_error(blob, e));
        let data = match &self.data {
            Data::Place { blob, offset } => Data::Place { blob: open(blob)?, offset: *offset },
            Data::Sparse { blob, extents } => Data::Sparse { blob: open(blob)?, extents: extents.clone() },
            Data::Patched { base, patches } => {
                Data::Patched { base: Arc::new(base.opened()?), patches: patches.clone() }
            }
            Data::Empty | Data::Inline(_) | Data::TooLarge { .. } => self.data.clone(),
        };
        Ok(Content { len: self.len, data })
    }

    /// As [`Content::read_at`] of a place in a blob, but nothing is fetched for it: what isn't here is zero.
    pub(crate) fn read_here(&self, buf: &mut [u8], offset: u64) -> Result<usize, ContentError> {
        let Data::Place { blob, offset: start } = &self.data else { return self.read_at(buf, offset) };
        let n = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        let at = start.checked_add(offset).ok_or(ContentError::BadExtents)?;
        blob.with_file([], |f| f.read_exact_at(&mut buf[..n], at)).map_err(|e| io_error(blob, e))?;
        Ok(n)
    }

    /// All bytes, if they are not more than `limit`.
    ///
    /// # Errors
    /// [`ContentError::TooLarge`], or the blob can't be read.
    pub fn read(&self, limit: u64) -> Result<Vec<u8>, ContentError> {
        if self.len > limit {
            return Err(ContentError::TooLarge { len: self.len, limit });
        }
        let mut out = vec![0; self.len as usize];
        self.read_at(&mut out, 0)?;
        Ok(out)
    }

    /// The first bytes, at most `n`: enough to tell what a file is.
    ///
    /// # Errors
    /// The blob can't be read.
    pub fn head(&self, n: usize) -> Result<Vec<u8>, ContentError> {
        let mut out = vec![0; n.min(usize::try_from(self.len).unwrap_or(usize::MAX))];
        self.read_at(&mut out, 0)?;
        Ok(out)
    }

    /// Whether two contents have the same bytes. What can't be read is like nothing else.
    pub fn has_same_bytes(&self, other: &Content) -> bool {
        if self.len() != other.len() {
            return false;
        }
        if let (Some((a, at)), Some((b, there))) = (self.place(), other.place())
            && Arc::ptr_eq(a, b)
            && at == there
        {
            return true;
        }
        let (Ok(a), Ok(b)) = (self.opened(), other.opened()) else { return false };
        let (mut a, mut b) = (a.reader(), b.reader());
        let (mut x, mut y) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        loop {
            // Contents give as much as there is room for.
            match (a.read(&mut x), b.read(&mut y)) {
                (Ok(0), Ok(0)) => return true,
                (Ok(n), Ok(m)) if n == m && x[..n] == y[..m] => {}
                _ => return false,
            }
        }
    }

    /// A stream of the bytes.
    pub fn reader(&self) -> ContentReader {
        ContentReader { content: self.clone(), position: 0 }
    }
}

fn io_error(blob: &Blob, source: io::Error) -> ContentError {
    ContentError::Io { path: blob.path().to_owned(), source }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Content { len: bytes.len() as u64, data: Data::Inline(bytes.into()) }
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

/// Reads a [`Content`] from its start to its end.
#[derive(Debug)]
pub struct ContentReader {
    content: Content,
    position: u64,
}

impl Read for ContentReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.content.read_at(buf, self.position).map_err(io::Error::other)?;
        self.position += n as u64;
        Ok(n)
    }
}
