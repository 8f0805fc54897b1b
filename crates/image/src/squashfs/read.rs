//! A reader of squashfs 4.0, for images that others built: gzip, xz, lz4 and zstd. Trusts nothing that it reads.
//!
//! Files are inflated into one file, in which the tree's contents have their places.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use tree::archive::{ATTRIBUTE_MEMORY, ENTRY_MEMORY, Limits};
use tree::{Blob, Content, Kind, Meta, Node, PathError, Tree, TreeError, TreePath};

use super::layout::inode_type::{BLOCK_DEVICE, CHAR_DEVICE, DIR, EXTENDED, FIFO, FILE, SOCKET, SYMLINK};
use super::layout::{
    BLOCK_UNCOMPRESSED, DIR_COUNT, DIR_DOTS, Device, Dir, DirEntry, DirHeader, ExtendedDir, ExtendedFile,
    File as FileInode, Fragment, InodeHeader, Ipc, MAGIC, METADATA_SIZE, METADATA_UNCOMPRESSED,
    MetadataPlace, NO_FRAGMENT, NO_TABLE, NO_XATTRS, Record, SuperBlock, Symlink, VERSION, XATTR_PREFIXES,
    XATTR_VALUE_ELSEWHERE, XattrEntry, XattrList, XattrTable, codec_of, is_block_size,
};
use crate::codec::inflate;
use crate::device::decode_device;
use crate::format::Codec;
use crate::section::Section;

/// Bytes of all files together, holes included, at most.
const BYTES: u64 = 64 << 30;
/// Bytes of data that any image may unfold to.
const DATA: u64 = 1 << 30;
/// How much larger than the image its data may be, if that is more. A block of zeros has no data.
const RATIO: u64 = 100;

/// Why an image can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
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

/// Takes bytes off a budget.
fn spend(left: &mut u64, bytes: usize) -> Result<(), ReadError> {
    *left =
        left.checked_sub(bytes as u64).ok_or(ReadError::TooMany("names, targets, attributes and tables"))?;
    Ok(())
}

fn damaged(what: &'static str, at: u64) -> ReadError {
    ReadError::Damaged { what, at }
}

/// Whether these are the first bytes of one.
pub(crate) fn is_magic(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
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
    fragments: Vec<Fragment>,
    xattrs: Option<Xattrs>,
    blocks: RefCell<BTreeMap<u64, Block>>,
}

struct Xattrs {
    start: u64,
    lists: Vec<XattrList>,
}

/// The tree of an image. `spool` is an empty file that takes the inflated files; `blob` stands for it. Of `limits`, entries and
/// metadata count, the latter as memory: with what a tree takes for each entry and attribute.
pub(crate) fn read(
    section: &Section,
    spool: &File,
    blob: &Arc<Blob>,
    limits: &Limits,
) -> Result<Tree, ReadError> {
    let head: SuperBlock = record_at(section, 0)?;
    if (head.major, head.minor) != VERSION {
        return Err(ReadError::Version(head.major, head.minor));
    }
    let codec = codec_of(head.compression).map_err(ReadError::Compressor)?;
    if !is_block_size(head.block_size) {
        return Err(damaged("block size", 12));
    }
    let mut image = Image {
        section,
        codec,
        block_size: head.block_size,
        inode_table: head.inode_table_start,
        directory_table: head.directory_table_start,
        ids: Vec::new(),
        fragments: Vec::new(),
        xattrs: None,
        blocks: RefCell::default(),
    };
    let mut metadata = limits.metadata;
    image.ids = image.table(head.id_table_start, u64::from(head.no_ids), &mut metadata)?;
    if head.fragments > 0 {
        image.fragments = image.table(head.fragment_table_start, u64::from(head.fragments), &mut metadata)?;
    }
    let at = head.xattr_id_table_start;
    if at != NO_TABLE {
        let table: XattrTable = record_at(section, at)?;
        let index = at.saturating_add(XattrTable::SIZE as u64);
        let lists = image.table(index, u64::from(table.count), &mut metadata)?;
        image.xattrs = Some(Xattrs { start: table.values_start, lists });
    }
    let mut walk = Walk {
        image: &image,
        spool,
        blob,
        end: 0,
        tree: Tree::default(),
        links: BTreeMap::new(),
        seen: BTreeSet::new(),
        entries: limits.entries,
        metadata,
        data: DATA.max(section.len().saturating_mul(RATIO)),
        fragment: None,
    };
    walk.all(head.root_inode)?;
    Ok(walk.tree)
}

/// A structure outside of metadata blocks.
fn record_at<R: Record>(section: &Section, at: u64) -> Result<R, ReadError> {
    let mut bytes = vec![0; R::SIZE];
    section.read_exact_at(&mut bytes, at)?;
    R::parse(&bytes).ok_or_else(|| damaged("structure", at))
}

impl Image<'_> {
    /// The records of a two-level table: metadata blocks, and a list of where they start.
    fn table<R: Record>(&self, start: u64, count: u64, left: &mut u64) -> Result<Vec<R>, ReadError> {
        let len = count.checked_mul(R::SIZE as u64).filter(|&l| l <= self.section.len().saturating_mul(16));
        let len = len.ok_or_else(|| damaged("table", start))?;
        // Twice: as bytes and as records.
        spend(left, 2 * len as usize)?;
        let blocks = len.div_ceil(METADATA_SIZE as u64);
        let mut out = Vec::new();
        for i in 0..blocks {
            let at = start.checked_add(8 * i).ok_or_else(|| damaged("table", start))?;
            out.extend_from_slice(&self.metadata(record_at(self.section, at)?)?.0);
        }
        if (out.len() as u64) < len {
            return Err(damaged("table", start));
        }
        out.truncate(len as usize);
        Ok(out.chunks_exact(R::SIZE).filter_map(R::parse).collect())
    }

    fn metadata(&self, at: u64) -> Result<Block, ReadError> {
        if let Some(block) = self.blocks.borrow().get(&at) {
            return Ok(block.clone());
        }
        let mut head = [0; 2];
        self.section.read_exact_at(&mut head, at)?;
        let head = u16::from_le_bytes(head);
        let len = usize::from(head & !METADATA_UNCOMPRESSED);
        if len == 0 || len > METADATA_SIZE {
            return Err(damaged("metadata block", at));
        }
        let mut bytes = vec![0; len];
        self.section.read_exact_at(&mut bytes, at + 2)?;
        if head & METADATA_UNCOMPRESSED == 0 {
            bytes = self.inflate(&bytes, METADATA_SIZE, at)?;
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
        inflate(self.codec, bytes, limit).ok_or_else(|| damaged("compressed block", at))
    }

    /// A data block or fragment block, of `limit` bytes at most.
    fn data(&self, at: u64, size: u32, limit: usize) -> Result<Vec<u8>, ReadError> {
        let len = stored_len(size) as usize;
        if len > self.block_size as usize {
            return Err(damaged("data block", at));
        }
        let mut bytes = vec![0; len];
        self.section.read_exact_at(&mut bytes, at)?;
        if size & BLOCK_UNCOMPRESSED == 0 {
            bytes = self.inflate(&bytes, self.block_size as usize, at)?;
        }
        if bytes.len() > limit { Err(damaged("data block", at)) } else { Ok(bytes) }
    }

    /// Takes the bytes of names and values off `left`.
    fn xattrs(&self, index: u32, left: &mut u64) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ReadError> {
        let mut out = BTreeMap::new();
        if index == NO_XATTRS {
            return Ok(out);
        }
        let bad = || damaged("attributes", u64::from(index));
        let table = self.xattrs.as_ref().ok_or_else(bad)?;
        let list = table.lists.get(index as usize).ok_or_else(bad)?;
        let mut cursor = self.cursor(table.start, list.reference);
        for _ in 0..list.count {
            let XattrEntry { kind, name_len } = cursor.record()?;
            let wanted = kind & 0xff;
            let (prefix, _) = XATTR_PREFIXES.iter().find(|(_, number)| *number == wanted).ok_or_else(bad)?;
            let name = [prefix, &cursor.bytes(usize::from(name_len))?[..]].concat();
            let len: u32 = cursor.record()?;
            let value = if kind & XATTR_VALUE_ELSEWHERE == 0 {
                cursor.bytes(checked_len(len, bad)?)?
            } else {
                // Several share it.
                let reference: u64 = cursor.record()?;
                let mut there = self.cursor(table.start, reference);
                let len: u32 = there.record()?;
                there.bytes(checked_len(len, bad)?)?
            };
            spend(left, ATTRIBUTE_MEMORY + name.len() + value.len())?;
            out.insert(name, value);
        }
        Ok(out)
    }

    fn cursor(&self, table: u64, reference: u64) -> Cursor<'_> {
        let MetadataPlace { block, offset } = MetadataPlace::from_reference(reference);
        Cursor { image: self, at: table.saturating_add(block), offset: usize::from(offset) }
    }
}

/// Of a block in the image, from its size. Bytes.
fn stored_len(size: u32) -> u32 {
    size & (BLOCK_UNCOMPRESSED - 1)
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
        let mut out = Vec::with_capacity(len.min(METADATA_SIZE));
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

    fn record<R: Record>(&mut self) -> Result<R, ReadError> {
        let at = self.at;
        R::parse(&self.bytes(R::SIZE)?).ok_or_else(|| damaged("metadata", at))
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
    /// Names that may still come.
    entries: u64,
    /// Names, targets and attributes that may still come. Bytes. Inodes share lists of attributes and values, so a small image may
    /// unfold to any size.
    metadata: u64,
    /// Bytes of files that may still come.
    data: u64,
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
            for (name, reference) in self.entries(&listing, path.as_relative().len())? {
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
        let mut c = image.cursor(image.inode_table, reference);
        let header: InodeHeader = c.record()?;
        let id = |index: u16| image.ids.get(usize::from(index)).copied().ok_or_else(bad);
        let (uid, gid) = (id(header.uid)?, id(header.gid)?);
        let mtime = i64::from(header.mtime);
        let extended = header.kind > EXTENDED;
        let kind = if extended { header.kind - EXTENDED } else { header.kind };
        let mut xattrs = NO_XATTRS;
        let mut listing = None;
        let node_kind = match (kind, extended) {
            (DIR, false) => {
                let dir: Dir = c.record()?;
                listing =
                    Some(Listing { block: dir.start_block, offset: dir.offset, len: u32::from(dir.size) });
                Kind::Dir
            }
            (DIR, true) => {
                let dir: ExtendedDir = c.record()?;
                xattrs = dir.xattr;
                listing = Some(Listing { block: dir.start_block, offset: dir.offset, len: dir.size });
                Kind::Dir
            }
            (FILE, false) => {
                let FileInode { start_block, fragment, offset, size } = c.record()?;
                let (start, size) = (u64::from(start_block), u64::from(size));
                Kind::File(self.file(&mut c, start, size, fragment, offset)?)
            }
            (FILE, true) => {
                let file: ExtendedFile = c.record()?;
                xattrs = file.xattr;
                Kind::File(self.file(&mut c, file.start_block, file.size, file.fragment, file.offset)?)
            }
            (SYMLINK, _) => {
                let Symlink { size, .. } = c.record()?;
                if size == 0 || size > 4096 {
                    return Err(bad());
                }
                spend(&mut self.metadata, size as usize)?;
                Kind::Symlink(c.bytes(size as usize)?.into())
            }
            (BLOCK_DEVICE | CHAR_DEVICE, _) => {
                let Device { rdev, .. } = c.record()?;
                let (major, minor) = decode_device(rdev);
                if kind == BLOCK_DEVICE {
                    Kind::BlockDevice { major, minor }
                } else {
                    Kind::CharDevice { major, minor }
                }
            }
            (FIFO | SOCKET, _) => {
                let Ipc { .. } = c.record()?;
                if kind == FIFO { Kind::Fifo } else { Kind::Socket }
            }
            _ => return Err(bad()),
        };
        if extended && !matches!(kind, DIR | FILE) {
            xattrs = c.record()?;
        }
        let mode = u32::from(header.mode) & 0o7777;
        let meta = Meta { mode, uid, gid, mtime, xattrs: image.xattrs(xattrs, &mut self.metadata)? };
        Ok((Node { meta, kind: node_kind }, listing))
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
        let blocks = if fragment == NO_FRAGMENT { size.div_ceil(block_size) } else { size / block_size };
        let mut at = start;
        for i in 0..blocks {
            let stored: u32 = c.record()?;
            // No block at all is a hole.
            if stored != 0 {
                let want = block_size.min(size - i * block_size);
                let bytes = self.image.data(at, stored, want as usize)?;
                if bytes.len() as u64 != want {
                    return Err(bad());
                }
                self.keep(&bytes, place + i * block_size)?;
                at = at.checked_add(u64::from(stored_len(stored))).ok_or_else(bad)?;
            }
        }
        if fragment != NO_FRAGMENT {
            let tail = (size % block_size) as usize;
            if self.fragment.as_ref().is_none_or(|(n, _)| *n != fragment) {
                let found = self.image.fragments.get(fragment as usize).ok_or_else(bad)?;
                self.fragment =
                    Some((fragment, self.image.data(found.start, found.size, block_size as usize)?));
            }
            let bytes = self.fragment.as_ref().and_then(|(_, b)| b.get(offset as usize..)?.get(..tail));
            let bytes = bytes.ok_or_else(bad)?.to_vec();
            self.keep(&bytes, place + blocks * block_size)?;
        }
        if self.spool.metadata()?.len() < self.end {
            self.spool.set_len(self.end)?;
        }
        Ok(Content::in_blob(self.blob.clone(), place, size))
    }

    /// Writes data of a file to the spool.
    fn keep(&mut self, bytes: &[u8], at: u64) -> Result<(), ReadError> {
        self.data = self.data.checked_sub(bytes.len() as u64).ok_or(ReadError::TooMany("bytes"))?;
        Ok(self.spool.write_all_at(bytes, at)?)
    }

    /// Names and inodes of a directory whose path has `parent` bytes.
    fn entries(&mut self, listing: &Listing, parent: usize) -> Result<Vec<(Vec<u8>, u64)>, ReadError> {
        let image = self.image;
        let mut out = Vec::new();
        let bad = || damaged("directory", u64::from(listing.block));
        let mut left = u64::from(listing.len.saturating_sub(DIR_DOTS));
        let place = MetadataPlace { block: u64::from(listing.block), offset: listing.offset };
        let mut c = image.cursor(image.directory_table, place.reference());
        while left > 0 {
            let header: DirHeader = c.record()?;
            left = left.checked_sub(DirHeader::SIZE as u64).ok_or_else(bad)?;
            if header.count as usize >= DIR_COUNT {
                return Err(bad());
            }
            for _ in 0..=header.count {
                let entry: DirEntry = c.record()?;
                let len = usize::from(entry.size) + 1;
                left = left.checked_sub((DirEntry::SIZE + len) as u64).ok_or_else(bad)?;
                self.entries = self.entries.checked_sub(1).ok_or(ReadError::TooMany("files"))?;
                // The path is kept whole, and once more for what may have other names.
                spend(&mut self.metadata, ENTRY_MEMORY + 2 * (parent + 1 + len))?;
                let inode = MetadataPlace { block: u64::from(header.start_block), offset: entry.offset };
                out.push((c.bytes(len)?, inode.reference()));
            }
        }
        Ok(out)
    }
}
