//! The entries of an archive, one after another.

use std::sync::Arc;

use super::header::{BLOCK, Format, Header};
use super::pax::{self, Records};
use super::{ArchiveError, Entry, Item, Limits, Problem, Usage, sparse};
use crate::{Blob, Content, Kind, Meta, is_zero};

/// Bytes read at once. Enough for the headers of a run of small files, little enough to lose nothing on large ones.
const WINDOW: usize = 8 << 10;

/// Bytes. ext4 has no larger files, and no tar has one.
const FILE_MAX: u64 = 16 << 40;

/// The entries of the uncompressed tar that stands at `offset` in `blob` and is `len` bytes long.
pub fn entries(blob: &Arc<Blob>, offset: u64, len: u64, limits: &Limits) -> Entries {
    Entries {
        blob: blob.clone(),
        offset,
        window: Window {
            archive: Content::in_blob(blob.clone(), offset, len),
            buffer: vec![0; WINDOW],
            at: 0,
            filled: 0,
        },
        limits: *limits,
        position: 0,
        global: Records::default(),
        usage: Usage::default(),
        ended: false,
    }
}

/// See [`entries`]. Ends after an error.
#[derive(Debug)]
pub struct Entries {
    blob: Arc<Blob>,
    /// Where the archive starts in the blob.
    offset: u64,
    window: Window,
    limits: Limits,
    /// The next header, from the start of the archive.
    position: u64,
    global: Records,
    usage: Usage,
    ended: bool,
}

/// A buffered part of the archive.
#[derive(Debug)]
struct Window {
    archive: Content,
    buffer: Vec<u8>,
    at: u64,
    filled: usize,
}

impl Window {
    fn block(&mut self, at: u64) -> Result<&[u8; BLOCK], Problem> {
        let inside = at.checked_sub(self.at).and_then(|skip| usize::try_from(skip).ok());
        let start = match inside.filter(|skip| skip.saturating_add(BLOCK) <= self.filled) {
            Some(skip) => skip,
            None => {
                self.filled = 0;
                // What of a file's content is read along isn't looked at.
                self.filled = self.archive.read_here(&mut self.buffer, at)?;
                self.at = at;
                0
            }
        };
        let found = self.buffer[..self.filled].get(start..start + BLOCK).and_then(|b| b.try_into().ok());
        found.ok_or(Problem::Truncated { missing: (BLOCK - self.filled.min(BLOCK)) as u64 })
    }
}

/// The extension headers in front of a file.
#[derive(Default)]
struct Extensions {
    pax: Option<Records>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Iterator for Entries {
    type Item = Result<Entry, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let result = self.advance().transpose();
        self.ended = !matches!(result, Some(Ok(_)));
        result
    }
}

/// Moves a problem to its place.
fn at<T>(position: u64, result: Result<T, Problem>) -> Result<T, ArchiveError> {
    result.map_err(|problem| ArchiveError::new(position, None, problem))
}

impl Entries {
    /// Goes on counting where archives before this one ended.
    pub fn continuing(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// What has been used up so far.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    fn advance(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut ext = Extensions::default();
        loop {
            let position = self.position;
            let fail = |problem| ArchiveError::new(position, None, problem);
            let len = self.window.archive.len();
            // The last file's padding may be missing, and so may the end blocks: Go and GNU tar take both.
            let block =
                if position >= len { None } else { Some(*at(position, self.window.block(position))?) };
            let header = match &block {
                Some(block) => at(position, Header::parse(block))?,
                None => None,
            };
            let Some(header) = header else {
                if ext.pax.is_some() || ext.name.is_some() || ext.link.is_some() {
                    return Err(fail(Problem::Dangling));
                }
                let second = position.saturating_add(BLOCK as u64);
                if block.is_some() && second < len {
                    let second = at(second, self.window.block(second))?;
                    if !is_zero(second) {
                        return Err(fail(Problem::LoneZeroBlock));
                    }
                }
                return Ok(None);
            };
            let data = position + BLOCK as u64;
            let flag = header.type_flag();
            if !matches!(flag, b'x' | b'g' | b'L' | b'K') {
                return self.file(&header, position, ext).map(Some);
            }
            let size = at(position, header.size())?;
            let bytes = at(position, self.extension(data, size))?;
            let duplicate = match flag {
                b'x' => {
                    let mut records = Records::default();
                    at(position, records.add(&bytes, false))?;
                    ext.pax.replace(records).is_some().then_some("PAX")
                }
                b'g' => {
                    at(position, self.global.add(&bytes, true))?;
                    None
                }
                b'L' => ext.name.replace(until_nul(bytes)).is_some().then_some("long name"),
                _ => ext.link.replace(until_nul(bytes)).is_some().then_some("long link"),
            };
            if let Some(kind) = duplicate {
                return Err(fail(Problem::Twice(kind)));
            }
            at(position, self.skip(data, size))?;
        }
    }

    /// The body of an extension header.
    fn extension(&mut self, data: u64, size: u64) -> Result<Vec<u8>, Problem> {
        if size > self.limits.extension {
            return Err(Problem::Limit { what: "size of an extension header", limit: self.limits.extension });
        }
        self.count(1, size)?;
        self.check_inside(data, size)?;
        let mut bytes = vec![0; size as usize];
        self.window.archive.read_at(&mut bytes, data)?;
        Ok(bytes)
    }

    fn count(&mut self, entries: u64, metadata: u64) -> Result<(), Problem> {
        self.usage.entries = self.usage.entries.saturating_add(entries);
        if self.usage.entries > self.limits.entries {
            return Err(Problem::Limit { what: "number of entries", limit: self.limits.entries });
        }
        self.usage.metadata = self.usage.metadata.saturating_add(metadata);
        if self.usage.metadata > self.limits.metadata {
            return Err(Problem::Limit { what: "size of all metadata", limit: self.limits.metadata });
        }
        Ok(())
    }

    fn check_inside(&self, data: u64, size: u64) -> Result<(), Problem> {
        let left = self.window.archive.len().saturating_sub(data);
        match size.checked_sub(left) {
            None | Some(0) => Ok(()),
            Some(missing) => Err(Problem::Truncated { missing }),
        }
    }

    /// Goes on behind `size` bytes of data and their padding.
    fn skip(&mut self, data: u64, size: u64) -> Result<(), Problem> {
        self.check_inside(data, size)?;
        // Inside the blob, so far from overflow.
        self.position = data + size.next_multiple_of(BLOCK as u64);
        Ok(())
    }

    fn file(&mut self, header: &Header<'_>, position: u64, ext: Extensions) -> Result<Entry, ArchiveError> {
        let pax = ext.pax.unwrap_or_default();
        // GNU's long name wins in Go, PAX's in GNU tar.
        let (sparse_name, pax_name) = (pax.sparse.name.clone(), pax.path.clone());
        let ambiguous = matches!((&ext.name, &pax_name), (Some(l), Some(x)) if l != x)
            || matches!((&ext.link, &pax.link_path), (Some(l), Some(x)) if l != x);
        let path = sparse_name.or(ext.name).or(pax_name).unwrap_or_else(|| header.name());
        let link = ext.link.or_else(|| pax.link_path.clone()).unwrap_or_else(|| header.link_name());
        let result = if ambiguous {
            Err(Problem::Twice("name"))
        } else {
            self.body(header, position, pax, &path, link)
        };
        match result {
            Ok((item, meta)) => Ok(Entry { path, meta, item, position }),
            Err(problem) => Err(ArchiveError::new(position, Some(&path), problem)),
        }
    }

    fn body(
        &mut self,
        header: &Header<'_>,
        position: u64,
        pax: Records,
        path: &[u8],
        link: Vec<u8>,
    ) -> Result<(Item, Meta), Problem> {
        let data = position + BLOCK as u64;
        // A number that the header can't hold is in the PAX records, and the field may be anything.
        let size = pax.size.map_or_else(|| header.size(), Ok)?;
        let mut meta = Meta::with_mode(header.mode()?);
        meta.uid = pax.uid.or(self.global.uid).map_or_else(|| header.uid(), Ok)?;
        meta.gid = pax.gid.or(self.global.gid).map_or_else(|| header.gid(), Ok)?;
        meta.mtime = pax.mtime.or(self.global.mtime).map_or_else(|| header.mtime(), Ok)?;
        meta.xattrs = self.global.libarchive_xattrs.clone();
        for more in [self.global.xattrs.clone(), pax.libarchive_xattrs, pax.xattrs] {
            meta.xattrs.extend(more);
        }
        let xattrs: usize = meta.xattrs.iter().map(|(k, v)| k.len() + v.len()).sum();
        self.count(1, (path.len() + link.len() + xattrs) as u64)?;

        let is_sparse = pax.sparse.major.is_some() || pax.sparse.map.is_some() || pax.sparse.size.is_some();
        let kind = match header.type_flag() {
            b'\0' if path.last() == Some(&b'/') => Kind::Dir,
            b'\0' | b'0' | b'7' => {
                let content = self.regular(&pax.sparse, data, size)?;
                return Ok((Item::Node(Kind::File(content)), meta));
            }
            b'S' if header.format() == Format::Gnu && !is_sparse => {
                let map = sparse::old_gnu(header, &self.limits, &mut |at| {
                    Ok(*self.window.block(data.saturating_add(at))?)
                })?;
                let content = self.sparse(&map, data + map.map_len, size)?;
                return Ok((Item::Node(Kind::File(content)), meta));
            }
            b'1' if link.is_empty() => return Err(Problem::EmptyTarget),
            b'1' => {
                self.position = data;
                return Ok((Item::Hardlink(link), meta));
            }
            b'2' if link.is_empty() => return Err(Problem::EmptyTarget),
            // PATH_MAX counts the final NUL.
            b'2' if link.len() >= 4096 || link.contains(&0) => return Err(Problem::BadTarget(link.len())),
            b'2' => Kind::Symlink(link.into()),
            b'3' => {
                let (major, minor) = header.device()?;
                Kind::CharDevice { major, minor }
            }
            b'4' => {
                let (major, minor) = header.device()?;
                Kind::BlockDevice { major, minor }
            }
            b'5' => Kind::Dir,
            b'6' => Kind::Fifo,
            other => return Err(Problem::Type(char::from(other))),
        };
        if is_sparse {
            return Err(Problem::Sparse("it is not a regular file"));
        }
        self.position = data;
        Ok((Item::Node(kind), meta))
    }

    /// A file of type `0`, which PAX records may declare sparse.
    fn regular(&mut self, pax: &pax::Sparse, data: u64, stored: u64) -> Result<Content, Problem> {
        let map = sparse::pax(pax, stored, &self.limits, &mut |at| {
            Ok(*self.window.block(data.saturating_add(at))?)
        })?;
        if let Some(map) = map {
            let left = stored.checked_sub(map.map_len);
            let left = left.ok_or(Problem::Sparse("its map is longer than its data"))?;
            return self.sparse(&map, data + map.map_len, left);
        }
        if pax.size.is_some() {
            return Err(Problem::Sparse("its map is missing"));
        }
        let fits = self.check_file_size(stored)?;
        self.skip(data, stored)?;
        if !fits {
            return Ok(Content::too_large(stored, self.limits.file));
        }
        Ok(Content::in_blob(self.blob.clone(), self.offset + data, stored))
    }

    fn sparse(&mut self, map: &sparse::Map, data: u64, stored: u64) -> Result<Content, Problem> {
        let fits = self.check_file_size(map.size)?;
        self.skip(data, stored)?;
        let extents = sparse::extents(map, self.offset + data, stored)?;
        if !fits {
            return Ok(Content::too_large(map.size, self.limits.file));
        }
        Ok(Content::sparse(self.blob.clone(), map.size, extents)?)
    }

    /// Whether anybody may read a file of this size. One that is too large is no reason to refuse all others: nearly always
    /// it is a sparse log of which nobody knows.
    fn check_file_size(&mut self, size: u64) -> Result<bool, Problem> {
        if size > FILE_MAX {
            return Err(Problem::Limit { what: "size of a file", limit: FILE_MAX });
        }
        if size > self.limits.file {
            return Ok(false);
        }
        self.usage.data = self.usage.data.saturating_add(size);
        if self.usage.data > self.limits.data {
            return Err(Problem::Limit { what: "size of all files", limit: self.limits.data });
        }
        Ok(true)
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(super::header::text(&bytes).len());
    bytes
}
