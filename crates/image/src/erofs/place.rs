//! Where each inode lies, which is its number: counted in slots of 32 bytes from the start of the inodes.

use std::collections::BTreeSet;

use super::data::Stored;
use super::size::{data_len, indexes_len, inode_size, own_data};
use super::{BLOCK, xattr};
use crate::error::ImageError;
use tree::{Ino, Tree, TreePath};

/// Bytes.
const UNIT: u64 = 32;
/// So that no inode has number 0, which would hide it from readdir(3). Bytes.
const RESERVED: u64 = 64;
/// Blocks that are kept open for what may still fit.
const OPEN: usize = 32;

/// How an inode's data is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Nothing, or blocks from here on: EROFS_INODE_FLAT_PLAIN.
    Plain(u32),
    /// Blocks from here on, and a tail behind the inode: EROFS_INODE_FLAT_INLINE.
    Inline(u32),
    /// EROFS_INODE_COMPRESSED_FULL.
    Compressed,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// From the start of the inodes. Bytes.
    at: u64,
    layout: Layout,
}

/// The places of all inodes.
#[derive(Debug)]
pub(super) struct Places {
    places: Vec<Option<Slot>>,
    inodes: u64,
    /// First block of the inodes.
    meta: u32,
}

impl Places {
    /// `next` is the first free block; from there on come the blocks of directories and symlinks, then the inodes.
    pub(super) fn new(
        tree: &Tree,
        stored: &Stored,
        build_time: u64,
        next: u64,
    ) -> Result<Places, ImageError> {
        let mut places = Places { places: vec![None; tree.inode_slots()], inodes: 0, meta: 0 };
        let mut allocator = Allocator::new();
        let mut next = next;
        for (path, ino, node) in tree.iter_inodes() {
            if places.places[ino.index()].is_some() {
                continue;
            }
            let head = inode_size(tree, path, ino, node, data_len(tree, path, node), build_time)
                + xattr::body(path, node)?.len() as u64;
            let (layout, whole) = match own_data(tree, path, node) {
                Some(len) => {
                    // A tail has to lie in the block of its inode.
                    let tail = len % BLOCK;
                    let inline = tail > 0 && head + tail <= BLOCK;
                    let blocks = if inline { len / BLOCK } else { len.div_ceil(BLOCK) };
                    let first = if blocks == 0 { 0 } else { block(path, next)? };
                    next += blocks;
                    if inline { (Layout::Inline(first), head + tail) } else { (Layout::Plain(first), head) }
                }
                None => match stored.extents(ino.index()) {
                    [] => (Layout::Plain(0), head),
                    // Pieces that are all stored as they are follow each other.
                    all @ [first, ..] if all.iter().all(|e| e.blocks == 0) => {
                        (Layout::Plain(first.block), head)
                    }
                    all => {
                        // What is packed has to lie in one block with the inode; there is room, data.rs sees to it.
                        let packed = stored.packed(ino.index()).map_or(0, <[u8]>::len) as u64;
                        let whole = head.next_multiple_of(8) + indexes_len(all) + packed;
                        (Layout::Compressed, whole)
                    }
                },
            };
            places.places[ino.index()] = Some(Slot { at: allocator.take(whole), layout });
            places.inodes += 1;
        }
        places.meta = block(&TreePath::root(), next)?;
        Ok(places)
    }

    fn slot(&self, ino: Ino) -> Result<Slot, ImageError> {
        let inode = ino.index();
        self.places.get(inode).copied().flatten().ok_or(ImageError::NoPlace { inode })
    }

    pub(super) fn nid(&self, ino: Ino) -> Result<u64, ImageError> {
        Ok(self.slot(ino)?.at / UNIT)
    }

    /// From the start of the file system. Bytes.
    pub(super) fn position(&self, ino: Ino) -> Result<u64, ImageError> {
        Ok(u64::from(self.meta) * BLOCK + self.slot(ino)?.at)
    }

    pub(super) fn layout(&self, ino: Ino) -> Result<Layout, ImageError> {
        Ok(self.slot(ino)?.layout)
    }

    pub(super) fn inodes(&self) -> u64 {
        self.inodes
    }

    pub(super) fn meta(&self) -> u32 {
        self.meta
    }
}

fn block(path: &TreePath, number: u64) -> Result<u32, ImageError> {
    u32::try_from(number).map_err(|_| ImageError::Unstorable {
        path: path.clone(),
        format: crate::format::Format::Erofs,
        reason: "lies behind the first 16 TiB",
    })
}

/// The space for inodes, block by block.
struct Allocator {
    /// Free bytes and number of blocks that aren't full.
    open: BTreeSet<(u64, u64)>,
    blocks: u64,
}

impl Allocator {
    fn new() -> Allocator {
        Allocator { open: BTreeSet::from([(BLOCK - RESERVED, 0)]), blocks: 1 }
    }

    /// A place for so many bytes: in the fullest block that has the room, else at the start of a new one.
    fn take(&mut self, len: u64) -> u64 {
        let len = len.next_multiple_of(UNIT);
        if let Some(&(free, block)) = self.open.range((len, 0)..).next() {
            self.open.remove(&(free, block));
            self.keep(free - len, block);
            return block * BLOCK + BLOCK - free;
        }
        let first = self.blocks;
        self.blocks += len.div_ceil(BLOCK);
        self.keep(self.blocks * BLOCK - first * BLOCK - len, self.blocks - 1);
        first * BLOCK
    }

    fn keep(&mut self, free: u64, block: u64) {
        if free >= UNIT {
            self.open.insert((free, block));
        }
        if self.open.len() > OPEN {
            self.open.pop_first();
        }
    }
}
