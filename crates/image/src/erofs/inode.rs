//! Inodes: `struct erofs_inode_compact` and `…_extended`, then attributes, then indexes or a tail of data.

use crate::device::encode_device;
use std::io::Write;

use super::data::{Extent, Stored, read};
use super::place::{Layout, Places};
use super::size::{EXTENDED, data_len, inode_size, links, own_data};
use super::{BLOCK, Output, directory, xattr};
use crate::error::ImageError;
use tree::{Ino, Kind, Node, Tree, TreePath};

/// Z_EROFS_LCLUSTER_TYPE_*.
const PLAIN: u16 = 0;
const HEAD: u16 = 1;
const NONHEAD: u16 = 2;
/// Z_EROFS_LI_D0_CBLKCNT: the first entry behind a head holds the cluster's number of blocks.
const BLOCK_COUNT: u16 = 1 << 11;
/// Z_EROFS_ADVISE_BIG_PCLUSTER_1.
const BIG_CLUSTERS: u16 = 2;
/// Z_EROFS_ADVISE_INLINE_PCLUSTER.
const PACKED: u16 = 8;

/// Writes the data of directories and symlinks that doesn't fit behind inodes, then all inodes.
pub(super) fn write<W: Write>(
    tree: &Tree,
    stored: &Stored,
    places: &Places,
    algorithm: u8,
    build_time: u64,
    out: &mut Output<'_, W>,
) -> Result<(), ImageError> {
    let mut seen = vec![false; tree.inode_slots()];
    let mut order = Vec::new();
    for (path, ino, node) in tree.iter_inodes() {
        if std::mem::replace(&mut seen[ino.index()], true) {
            continue;
        }
        order.push((places.position(ino)?, path, ino));
        let Some(len) = own_data(tree, path, node) else { continue };
        let outside = match places.layout(ino)? {
            Layout::Inline(_) => len - len % BLOCK,
            _ => len,
        };
        if outside > 0 {
            out.write(&data(tree, places, path, ino, node)?[..outside as usize])?;
            out.fill()?;
        }
    }
    order.sort_unstable_by_key(|&(position, ..)| position);
    for (number, (position, path, ino)) in order.into_iter().enumerate() {
        out.advance(position)?;
        let node = tree.node(ino);
        let attributes = xattr::body(path, node)?;
        let head = Head { path, ino, node, number: number as u32 + 1, attributes: attributes.len() };
        out.write(&head.to_bytes(tree, places.layout(ino)?, stored.extents(ino.index()), build_time)?)?;
        out.write(&attributes)?;
        match places.layout(ino)? {
            Layout::Plain(_) => {}
            Layout::Inline(_) => {
                let data = data(tree, places, path, ino, node)?;
                out.write(&data[data.len() - data.len() % BLOCK as usize..])?;
            }
            Layout::Compressed => {
                out.advance(out.position.next_multiple_of(8))?;
                let packed = stored.packed(ino.index());
                out.write(&indexes(stored.extents(ino.index()), packed.map(<[u8]>::len), algorithm))?;
                out.write(packed.unwrap_or_default())?;
            }
        }
    }
    Ok(())
}

/// What a directory, a symlink or a small file holds.
fn data(tree: &Tree, places: &Places, path: &TreePath, ino: Ino, node: &Node) -> Result<Vec<u8>, ImageError> {
    match &node.kind {
        Kind::Dir => directory::data(tree, path, ino, |i| places.nid(i)),
        Kind::Symlink(target) => Ok(target.to_vec()),
        Kind::File(content) => read(path, content, 0, content.len() as usize),
        _ => Ok(Vec::new()),
    }
}

struct Head<'t> {
    path: &'t TreePath,
    ino: Ino,
    node: &'t Node,
    /// `i_ino`, for 32-bit programs.
    number: u32,
    /// Bytes.
    attributes: usize,
}

impl Head<'_> {
    fn to_bytes(
        &self,
        tree: &Tree,
        layout: Layout,
        extents: &[Extent],
        build_time: u64,
    ) -> Result<Vec<u8>, ImageError> {
        let &Head { path, ino, node, number, attributes } = self;
        let meta = &node.meta;
        let len = data_len(tree, path, node);
        let links = links(tree, path, ino, node);
        let size = inode_size(tree, path, ino, node, len, build_time);
        let (layout, place) = match layout {
            Layout::Plain(block) => (0, block),
            Layout::Compressed => (1, extents.iter().map(Extent::stored_blocks).sum()),
            Layout::Inline(block) => (2, block),
        };
        let (kind, place) = match node.kind {
            Kind::Fifo => (0o010_000, 0),
            Kind::CharDevice { major, minor } => (0o020_000, encode_device(major, minor)),
            Kind::Dir => (0o040_000, place),
            Kind::BlockDevice { major, minor } => (0o060_000, encode_device(major, minor)),
            Kind::File(_) => (0o100_000, place),
            Kind::Symlink(_) => (0o120_000, place),
            Kind::Socket => (0o140_000, 0),
        };
        let mode = (kind | meta.mode & 0o7777) as u16;
        let refuse = |reason| ImageError::Unstorable {
            path: path.clone(),
            format: crate::format::Format::Erofs,
            reason,
        };
        let count = xattr::count(attributes).ok_or_else(|| refuse("has too many attributes"))?;
        let extended = size == EXTENDED;
        let mut out = Vec::with_capacity(size as usize);
        out.extend_from_slice(&(layout << 1 | u16::from(extended)).to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&mode.to_le_bytes());
        if extended {
            let mtime = u64::try_from(meta.mtime).map_err(|_| refuse("has a time before 1970"))?;
            out.extend_from_slice(&[0; 2]);
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(&place.to_le_bytes());
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(&meta.uid.to_le_bytes());
            out.extend_from_slice(&meta.gid.to_le_bytes());
            out.extend_from_slice(&mtime.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&links.to_le_bytes());
        } else {
            out.extend_from_slice(&(links as u16).to_le_bytes());
            out.extend_from_slice(&(len as u32).to_le_bytes());
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&place.to_le_bytes());
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(&(meta.uid as u16).to_le_bytes());
            out.extend_from_slice(&(meta.gid as u16).to_le_bytes());
        }
        out.resize(size as usize, 0);
        Ok(out)
    }
}

impl Extent {
    fn stored_blocks(&self) -> u32 {
        match self.blocks {
            0 => u64::from(self.len).div_ceil(BLOCK) as u32,
            blocks => u32::from(blocks),
        }
    }
}

/// `struct z_erofs_map_header`, eight bytes of nothing, and a `struct z_erofs_lcluster_index` for each block of the file.
/// `packed`: how much of the last cluster lies behind them. Bytes.
fn indexes(extents: &[Extent], packed: Option<usize>, algorithm: u8) -> Vec<u8> {
    let mut out = vec![0; 16];
    let advice = if packed.is_some() { BIG_CLUSTERS | PACKED } else { BIG_CLUSTERS };
    out[2..4].copy_from_slice(&(packed.unwrap_or(0) as u16).to_le_bytes());
    out[4..6].copy_from_slice(&advice.to_le_bytes());
    out[6] = algorithm;
    let mut add = |kind: u16, offset: u16, last: [u8; 4]| {
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&last);
    };
    for extent in extents {
        if extent.blocks == 0 {
            for i in 0..extent.stored_blocks() {
                add(PLAIN, 0, (extent.block + i).to_le_bytes());
            }
            continue;
        }
        let whole = (u64::from(extent.len) / BLOCK) as u16;
        add(HEAD, 0, extent.block.to_le_bytes());
        for back in 1..whole {
            // How far it is back to the head, but for the first one, which holds the length; and forth to the next.
            let first = if back == 1 { BLOCK_COUNT | extent.blocks } else { back };
            let [a, b] = first.to_le_bytes();
            let [c, d] = (whole - back).to_le_bytes();
            add(NONHEAD, 0, [a, b, c, d]);
        }
        // The end of a file within a block looks like the start of another cluster there.
        let rest = (u64::from(extent.len) % BLOCK) as u16;
        if rest > 0 {
            add(PLAIN, rest, [0; 4]);
        }
    }
    out
}
