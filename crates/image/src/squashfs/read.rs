//! A reader of squashfs 4.0, for images that others built: gzip, xz, lz4 and zstd. Trusts nothing that it reads.
//!
//! Names follow fs/squashfs/squashfs_fs.h in Linux. Files are inflated into one file in the cache, in which the tree's
//! contents have their places.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use tree::{Blob, Content, Kind, Meta, Node, PathError, Tree, TreeError, TreePath};

use crate::section::Section;

/// Bytes. SQUASHFS_METADATA_SIZE.
const METADATA: usize = 8192;
/// Files and directories, at most.
const NODES: u64 = 4 << 20;
/// Bytes of all files together, at most.
const BYTES: u64 = 64 << 30;
/// Bytes. What an inflater may take for its dictionary.
const MEMORY: u64 = 128 << 20;
/// A fragment, table or attribute set that isn't there.
const NONE32: u32 = u32::MAX;
const NONE64: u64 = u64::MAX;

/// Why an image can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file, or the file in the cache.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A compressor that there is no reader for.
    #[error("is compressed with {0}, expected gzip, xz, lz4 or zstd")]
    Compressor(String),
    /// A structure that makes no sense.
    #[error("{what} at {at:#x} is damaged")]
    Damaged {
        /// What is there.
        what: &'static str,
        /// Bytes from the start, or in the inode table.
        at: u64,
    },
    /// A version other than 4.0.
    #[error("is of version {0}.{1}, expected 4.0")]
    Version(u16, u16),
    /// More than any real one has.
    #[error("has too many {0}")]
    TooMany(&'static str),
    /// A name that no file can have.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Names that make no tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

fn damaged(what: &'static str, at: u64) -> ReadError {
    ReadError::Damaged { what, at }
}

/// Whether these are the first bytes of one.
pub(crate) fn is_magic(head: &[u8]) -> bool {
    head.starts_with(b"hsqs")
}

#[derive(Debug, Clone, Copy)]
enum Codec {
    Gzip,
    Xz,
    Lz4,
    Zstd,
}

/// A decoded metadata block, and where the next one starts.
type Block = (Arc<Vec<u8>>, u64);

struct Image<'a> {
    section: &'a Section,
    codec: Codec,
    block_size: u32,
    inode_table: u64,
    directory_table: u64,
    ids: Vec<u32>,
    fragments: Vec<(u64, u32)>,
    xattrs: Option<Xattrs>,
    blocks: RefCell<BTreeMap<u64, Block>>,
}

struct Xattrs {
    start: u64,
    /// Reference and number.
    sets: Vec<(u64, u32)>,
}

/// The tree of an image. `spool` is an empty file that takes the inflated files; `blob` stands for it.
pub(crate) fn read(section: &Section, spool: &File, blob: &Arc<Blob>) -> Result<Tree, ReadError> {
    let mut head = [0; 96];
    section.read_exact_at(&mut head, 0)?;
    let u16_at = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let u32_at = |at: usize| le32(&head[at..]);
    let u64_at = |at: usize| le64(&head[at..]);
    if (u16_at(28), u16_at(30)) != (4, 0) {
        return Err(ReadError::Version(u16_at(28), u16_at(30)));
    }
    let codec = match u16_at(20) {
        1 => Codec::Gzip,
        4 => Codec::Xz,
        5 => Codec::Lz4,
        6 => Codec::Zstd,
        2 => return Err(ReadError::Compressor("lzma".into())),
        3 => return Err(ReadError::Compressor("lzo".into())),
        n => return Err(ReadError::Compressor(format!("compressor {n}"))),
    };
    let block_size = u32_at(12);
    if !block_size.is_power_of_two() || !(4096..=1 << 20).contains(&block_size) {
        return Err(damaged("block size", 12));
    }
    let mut image = Image {
        section,
        codec,
        block_size,
        inode_table: u64_at(64),
        directory_table: u64_at(72),
        ids: Vec::new(),
        fragments: Vec::new(),
        xattrs: None,
        blocks: RefCell::default(),
    };
    let ids = image.table(u64_at(48), u64::from(u16_at(26)), 4)?;
    image.ids = ids.chunks_exact(4).map(le32).collect();
    if u32_at(16) > 0 {
        let fragments = image.table(u64_at(80), u64::from(u32_at(16)), 16)?;
        image.fragments = fragments.chunks_exact(16).map(|f| (le64(f), le32(&f[8..]))).collect();
    }
    let xattr_table = u64_at(56);
    if xattr_table != NONE64 {
        let mut head = [0; 16];
        section.read_exact_at(&mut head, xattr_table)?;
        let sets = image.table(xattr_table.saturating_add(16), u64::from(le32(&head[8..])), 16)?;
        let sets = sets.chunks_exact(16).map(|s| (le64(s), le32(&s[8..]))).collect();
        image.xattrs = Some(Xattrs { start: le64(&head), sets });
    }
    let mut walk = Walk {
        image: &image,
        spool,
        blob,
        end: 0,
        tree: Tree::default(),
        links: BTreeMap::new(),
        seen: BTreeSet::new(),
        nodes: 0,
        fragment: None,
    };
    walk.all(u64_at(32))?;
    Ok(walk.tree)
}

impl Image<'_> {
    /// The entries of a two-level table: metadata blocks, and a list of where they start.
    fn table(&self, start: u64, count: u64, size: u64) -> Result<Vec<u8>, ReadError> {
        let len = count.checked_mul(size).filter(|&l| l <= self.section.len().saturating_mul(16));
        let len = len.ok_or_else(|| damaged("table", start))?;
        let blocks = len.div_ceil(METADATA as u64);
        let mut out = Vec::new();
        for i in 0..blocks {
            let mut place = [0; 8];
            let at = start.checked_add(8 * i).ok_or_else(|| damaged("table", start))?;
            self.section.read_exact_at(&mut place, at)?;
            out.extend_from_slice(&self.metadata(le64(&place))?.0);
        }
        if (out.len() as u64) < len {
            return Err(damaged("table", start));
        }
        out.truncate(len as usize);
        Ok(out)
    }

    /// A metadata block.
    fn metadata(&self, at: u64) -> Result<Block, ReadError> {
        if let Some(block) = self.blocks.borrow().get(&at) {
            return Ok(block.clone());
        }
        let mut head = [0; 2];
        self.section.read_exact_at(&mut head, at)?;
        let head = u16::from_le_bytes(head);
        let len = usize::from(head & 0x7fff);
        if len == 0 || len > METADATA {
            return Err(damaged("metadata block", at));
        }
        let mut bytes = vec![0; len];
        self.section.read_exact_at(&mut bytes, at + 2)?;
        if head & 0x8000 == 0 {
            bytes = self.inflate(&bytes, METADATA, at)?;
        }
        let block = (Arc::new(bytes), at + 2 + len as u64);
        let mut blocks = self.blocks.borrow_mut();
        // The tables of the largest images have some thousand blocks; a hostile one may have more.
        if blocks.len() > 4096 {
            blocks.clear();
        }
        blocks.insert(at, block.clone());
        Ok(block)
    }

    fn inflate(&self, bytes: &[u8], limit: usize, at: u64) -> Result<Vec<u8>, ReadError> {
        let bad = || damaged("compressed block", at);
        let all = |reader: &mut dyn Read| {
            let mut out = Vec::new();
            reader.take(limit as u64 + 1).read_to_end(&mut out).map_err(|_| bad())?;
            Ok::<_, ReadError>(out)
        };
        let out = match self.codec {
            Codec::Gzip => all(&mut flate2::read::ZlibDecoder::new(bytes))?,
            Codec::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(MEMORY, 0).map_err(|_| bad())?;
                all(&mut liblzma::read::XzDecoder::new_stream(bytes, stream))?
            }
            Codec::Lz4 => lz4::block::decompress(bytes, i32::try_from(limit).ok()).map_err(|_| bad())?,
            Codec::Zstd => zstd::bulk::decompress(bytes, limit).map_err(|_| bad())?,
        };
        if out.len() > limit { Err(bad()) } else { Ok(out) }
    }

    /// A data block or fragment block, of `limit` bytes at most.
    fn data(&self, at: u64, size: u32, limit: usize) -> Result<Vec<u8>, ReadError> {
        let len = (size & 0x00ff_ffff) as usize;
        if len > self.block_size as usize {
            return Err(damaged("data block", at));
        }
        let mut bytes = vec![0; len];
        self.section.read_exact_at(&mut bytes, at)?;
        if size & (1 << 24) == 0 {
            bytes = self.inflate(&bytes, self.block_size as usize, at)?;
        }
        if bytes.len() > limit { Err(damaged("data block", at)) } else { Ok(bytes) }
    }

    fn xattrs(&self, index: u32) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ReadError> {
        let mut out = BTreeMap::new();
        if index == NONE32 {
            return Ok(out);
        }
        let bad = || damaged("attributes", u64::from(index));
        let table = self.xattrs.as_ref().ok_or_else(bad)?;
        let &(reference, count) = table.sets.get(index as usize).ok_or_else(bad)?;
        let mut cursor = self.cursor(table.start, reference >> 16, (reference & 0xffff) as usize);
        for _ in 0..count {
            let (kind, name_len) = (cursor.u16()?, cursor.u16()?);
            let prefix: &[u8] = match kind & 0xff {
                0 => b"user.",
                1 => b"trusted.",
                2 => b"security.",
                _ => return Err(bad()),
            };
            let name = [prefix, &cursor.bytes(usize::from(name_len))?].concat();
            let len = cursor.u32()?;
            let value = if kind & 0x100 == 0 {
                cursor.bytes(checked_len(len, bad)?)?
            } else {
                // Stored elsewhere, where several share it.
                let reference = cursor.u64()?;
                let mut there = self.cursor(table.start, reference >> 16, (reference & 0xffff) as usize);
                let len = there.u32()?;
                there.bytes(checked_len(len, bad)?)?
            };
            out.insert(name, value);
        }
        Ok(out)
    }

    fn cursor(&self, table: u64, block: u64, offset: usize) -> Cursor<'_> {
        Cursor { image: self, at: table.saturating_add(block), offset }
    }
}

/// Bytes. XATTR_SIZE_MAX, linux/limits.h.
fn checked_len(len: u32, bad: impl Fn() -> ReadError) -> Result<usize, ReadError> {
    if len > 64 << 10 { Err(bad()) } else { Ok(len as usize) }
}

/// A place in a row of metadata blocks.
struct Cursor<'a> {
    image: &'a Image<'a>,
    at: u64,
    offset: usize,
}

impl Cursor<'_> {
    fn bytes(&mut self, len: usize) -> Result<Vec<u8>, ReadError> {
        let mut out = Vec::with_capacity(len.min(METADATA));
        while out.len() < len {
            let (block, next) = self.image.metadata(self.at)?;
            let rest = block.get(self.offset..).ok_or_else(|| damaged("metadata", self.at))?;
            let n = rest.len().min(len - out.len());
            out.extend_from_slice(&rest[..n]);
            self.offset += n;
            if self.offset == block.len() {
                (self.at, self.offset) = (next, 0);
            }
        }
        Ok(out)
    }

    fn u16(&mut self) -> Result<u16, ReadError> {
        Ok(u16::from_le_bytes([self.bytes(1)?[0], self.bytes(1)?[0]]))
    }

    fn u32(&mut self) -> Result<u32, ReadError> {
        Ok(le32(&self.bytes(4)?))
    }

    fn u64(&mut self) -> Result<u64, ReadError> {
        Ok(le64(&self.bytes(8)?))
    }
}

/// The way through an image.
struct Walk<'a> {
    image: &'a Image<'a>,
    spool: &'a File,
    blob: &'a Arc<Blob>,
    /// Of what is in the spool. Bytes.
    end: u64,
    tree: Tree,
    /// Files with several names, by their inodes' places.
    links: BTreeMap<u64, TreePath>,
    /// Directories; each has one name.
    seen: BTreeSet<u64>,
    nodes: u64,
    /// The last fragment block: neighbours share it.
    fragment: Option<(u32, Vec<u8>)>,
}

/// Where a directory's entries are.
struct Listing {
    block: u32,
    offset: u16,
    len: u32,
}

impl Walk<'_> {
    fn all(&mut self, root: u64) -> Result<(), ReadError> {
        let mut todo = vec![(TreePath::root(), root)];
        while let Some((path, reference)) = todo.pop() {
            self.nodes += 1;
            if self.nodes > NODES {
                return Err(ReadError::TooMany("files"));
            }
            if let Some(first) = self.links.get(&reference) {
                let first = first.clone();
                self.tree.link(path, &first)?;
                continue;
            }
            let (node, listing) = self.inode(reference)?;
            if path.is_root() && !node.is_dir() {
                return Err(damaged("root inode", reference));
            }
            self.tree.insert(path.clone(), node)?;
            let Some(listing) = listing else {
                self.links.insert(reference, path);
                continue;
            };
            if !self.seen.insert(reference) {
                return Err(damaged("directory", reference));
            }
            for (name, reference) in self.entries(&listing)? {
                if name.contains(&b'/') || matches!(name.as_slice(), b"." | b"..") {
                    return Err(damaged("name in a directory", reference));
                }
                todo.push((path.join(&name)?, reference));
            }
        }
        Ok(())
    }

    fn inode(&mut self, reference: u64) -> Result<(Node, Option<Listing>), ReadError> {
        let bad = || damaged("inode", reference);
        let image = self.image;
        let mut c = image.cursor(image.inode_table, reference >> 16, (reference & 0xffff) as usize);
        let kind = c.u16()?;
        let mode = u32::from(c.u16()?);
        let id = |index: u16| image.ids.get(usize::from(index)).copied().ok_or_else(bad);
        let (uid, gid) = (id(c.u16()?)?, id(c.u16()?)?);
        let mtime = i64::from(c.u32()?);
        let _number = c.u32()?;
        let mut xattrs = NONE32;
        let mut listing = None;
        let kind = match kind {
            1 => {
                let (block, _nlink) = (c.u32()?, c.u32()?);
                let (len, offset) = (u32::from(c.u16()?), c.u16()?);
                listing = Some(Listing { block, offset, len });
                Kind::Dir
            }
            8 => {
                let (_nlink, len, block, _parent) = (c.u32()?, c.u32()?, c.u32()?, c.u32()?);
                let (_indexes, offset) = (c.u16()?, c.u16()?);
                xattrs = c.u32()?;
                listing = Some(Listing { block, offset, len });
                Kind::Dir
            }
            2 => {
                let (start, fragment, offset, size) = (c.u32()?, c.u32()?, c.u32()?, c.u32()?);
                Kind::File(self.file(&mut c, u64::from(start), u64::from(size), fragment, offset)?)
            }
            9 => {
                let (start, size, _sparse, _nlink) = (c.u64()?, c.u64()?, c.u64()?, c.u32()?);
                let (fragment, offset) = (c.u32()?, c.u32()?);
                xattrs = c.u32()?;
                Kind::File(self.file(&mut c, start, size, fragment, offset)?)
            }
            3 | 10 => {
                let (_nlink, len) = (c.u32()?, c.u32()?);
                if len == 0 || len > 4096 {
                    return Err(bad());
                }
                let target = c.bytes(len as usize)?;
                if kind == 10 {
                    xattrs = c.u32()?;
                }
                Kind::Symlink(target.into())
            }
            4 | 5 | 11 | 12 => {
                let (_nlink, device) = (c.u32()?, c.u32()?);
                if kind > 10 {
                    xattrs = c.u32()?;
                }
                // new_encode_dev(), include/linux/kdev_t.h.
                let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xfff00);
                if matches!(kind, 4 | 11) {
                    Kind::BlockDevice { major, minor }
                } else {
                    Kind::CharDevice { major, minor }
                }
            }
            6 | 7 | 13 | 14 => {
                let _nlink = c.u32()?;
                if kind > 10 {
                    xattrs = c.u32()?;
                }
                if matches!(kind, 6 | 13) { Kind::Fifo } else { Kind::Socket }
            }
            _ => return Err(bad()),
        };
        let meta = Meta { mode: mode & 0o7777, uid, gid, mtime, xattrs: image.xattrs(xattrs)? };
        Ok((Node { meta, kind }, listing))
    }

    fn file(
        &mut self,
        c: &mut Cursor<'_>,
        start: u64,
        size: u64,
        fragment: u32,
        offset: u32,
    ) -> Result<Content, ReadError> {
        let block_size = u64::from(self.image.block_size);
        let bad = || damaged("file", start);
        let place = self.end;
        self.end = place.checked_add(size).filter(|&e| e <= BYTES).ok_or(ReadError::TooMany("bytes"))?;
        let blocks = if fragment == NONE32 { size.div_ceil(block_size) } else { size / block_size };
        let mut at = start;
        for i in 0..blocks {
            let stored = c.u32()?;
            // No block at all is a hole.
            if stored != 0 {
                let want = block_size.min(size - i * block_size);
                let bytes = self.image.data(at, stored, want as usize)?;
                if bytes.len() as u64 != want {
                    return Err(bad());
                }
                self.spool.write_all_at(&bytes, place + i * block_size)?;
                at = at.checked_add(u64::from(stored & 0x00ff_ffff)).ok_or_else(bad)?;
            }
        }
        if fragment != NONE32 {
            let tail = (size % block_size) as usize;
            if self.fragment.as_ref().is_none_or(|(n, _)| *n != fragment) {
                let &(at, stored) = self.image.fragments.get(fragment as usize).ok_or_else(bad)?;
                self.fragment = Some((fragment, self.image.data(at, stored, block_size as usize)?));
            }
            let bytes = self.fragment.as_ref().and_then(|(_, b)| b.get(offset as usize..)?.get(..tail));
            self.spool.write_all_at(bytes.ok_or_else(bad)?, place + blocks * block_size)?;
        }
        if self.spool.metadata()?.len() < self.end {
            self.spool.set_len(self.end)?;
        }
        Ok(Content::in_blob(self.blob.clone(), place, size))
    }

    /// Names and inodes of a directory.
    fn entries(&self, listing: &Listing) -> Result<Vec<(Vec<u8>, u64)>, ReadError> {
        let image = self.image;
        let mut out = Vec::new();
        let bad = || damaged("directory", u64::from(listing.block));
        // The length counts `.` and `..`, which aren't stored.
        let mut left = u64::from(listing.len).saturating_sub(3);
        let mut c =
            image.cursor(image.directory_table, u64::from(listing.block), usize::from(listing.offset));
        while left > 0 {
            let (count, start, _number) = (c.u32()?, c.u32()?, c.u32()?);
            left = left.checked_sub(12).ok_or_else(bad)?;
            // SQUASHFS_DIR_COUNT.
            if count >= 256 {
                return Err(bad());
            }
            for _ in 0..=count {
                let (offset, _delta, _kind, len) = (c.u16()?, c.u16()?, c.u16()?, c.u16()?);
                let len = usize::from(len) + 1;
                left = left.checked_sub(8 + len as u64).ok_or_else(bad)?;
                out.push((c.bytes(len)?, u64::from(start) << 16 | u64::from(offset)));
            }
        }
        Ok(out)
    }
}

fn le32(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).rev().fold(0, |n, &b| n << 8 | u32::from(b))
}

fn le64(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |n, &b| n << 8 | u64::from(b))
}
