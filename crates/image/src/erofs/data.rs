//! File contents: cut into pieces, compressed by all threads, put down in order.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::mpsc::sync_channel;

use super::{BLOCK, Options, Output};
use crate::codec::Encoder;
use crate::error::ImageError;
use tree::{Content, Tree, TreePath};

/// What is compressed at a time. The last piece of a file may be half as long again. Bytes.
pub(super) const PIECE: u64 = 128 << 10;
/// Of a window that any piece fits in.
pub(super) const WINDOW_LOG: u8 = 18;
/// Files up to this length stay whole among the inodes. Bytes.
pub(super) const SMALL: u64 = BLOCK - 1;
/// Files of one piece that is compressed to at most this lie behind their inode, in the same block. Bytes.
const PACKED: usize = 3072;
/// Attributes that leave the room for it. Bytes.
const PACKED_ATTRIBUTES: usize = 256;
/// Of all such files together, since they wait in memory; those that come later take blocks. Bytes.
const PACKED_IN_ALL: usize = 32 << 20;
/// Pieces that may be ahead of the writer, a thread.
const AHEAD: usize = 4;

/// Where a piece went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) block: u32,
    /// Blocks that it is compressed to; 0 if it is stored as it is.
    pub(super) blocks: u16,
    /// Uncompressed. Bytes.
    pub(super) len: u32,
}

#[derive(Debug)]
pub(super) struct Stored {
    /// By inode; empty for those that are no file or small.
    files: Vec<Vec<Extent>>,
    /// By inode: what lies behind it.
    packed: BTreeMap<usize, Vec<u8>>,
    /// Blocks of the largest cluster.
    pub(super) largest: u16,
}

impl Stored {
    pub(super) fn extents(&self, inode: usize) -> &[Extent] {
        &self.files[inode]
    }

    /// The content of a file that lies behind its inode, compressed.
    pub(super) fn packed(&self, inode: usize) -> Option<&[u8]> {
        self.packed.get(&inode).map(Vec::as_slice)
    }

    pub(super) fn has_packed(&self) -> bool {
        !self.packed.is_empty()
    }
}

struct Piece<'t> {
    path: &'t TreePath,
    content: &'t Content,
    inode: usize,
    offset: u64,
    len: u64,
    /// Whether it is a whole file and may lie behind the inode.
    packable: bool,
}

enum Packed {
    /// Whole blocks: so many zeros first.
    Compressed(Vec<u8>, usize),
    Plain(Vec<u8>),
}

/// Writes the contents of all files that aren't small. `progress` gets the bytes read so far.
pub(super) fn write<W: Write>(
    tree: &Tree,
    out: &mut Output<'_, W>,
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<Stored, ImageError> {
    let pieces = pieces(tree);
    let mut stored =
        Stored { files: vec![Vec::new(); tree.inode_slots()], packed: BTreeMap::new(), largest: 0 };
    let threads = options.threads.get().min(pieces.len()).max(1);
    let io = |source| ImageError::Io { path: out.path.to_owned(), source };
    let mut encoders = Vec::with_capacity(threads);
    for _ in 0..threads {
        let longest = PIECE as u32 * 3 / 2;
        encoders.push(Encoder::new(options.codec, options.level, longest).map_err(io)?);
    }
    std::thread::scope(|scope| {
        // Each thread takes every nth piece, so that the writer knows whose turn it is.
        let mut results = Vec::with_capacity(threads);
        for (first, mut encoder) in encoders.into_iter().enumerate() {
            let (send, receive) = sync_channel(AHEAD);
            results.push(receive);
            let pieces = &pieces;
            let path = out.path;
            scope.spawn(move || {
                for piece in pieces.iter().skip(first).step_by(threads) {
                    let packed = piece.pack(&mut encoder, path);
                    let failed = packed.is_err();
                    // Nobody listens any more after an error.
                    if send.send(packed).is_err() || failed {
                        return;
                    }
                }
            });
        }
        let (mut done, mut waiting) = (0, 0);
        for (number, piece) in pieces.iter().enumerate() {
            let gone = || std::io::Error::other("a thread that compresses is gone");
            let packed = results[number % threads]
                .recv()
                .map_err(|_| ImageError::Io { path: out.path.to_owned(), source: gone() })??;
            let len = piece.len as u32;
            let extent = match packed {
                Packed::Compressed(bytes, zeros)
                    if piece.packable
                        && bytes.len() - zeros <= PACKED
                        && waiting + bytes.len() - zeros <= PACKED_IN_ALL =>
                {
                    waiting += bytes.len() - zeros;
                    stored.packed.insert(piece.inode, bytes[zeros..].to_vec());
                    Extent { block: 0, blocks: 1, len }
                }
                Packed::Compressed(bytes, _) => {
                    let blocks = (bytes.len() as u64 / BLOCK) as u16;
                    stored.largest = stored.largest.max(blocks);
                    Extent { block: put(out, &bytes)?, blocks, len }
                }
                Packed::Plain(bytes) => Extent { block: put(out, &bytes)?, blocks: 0, len },
            };
            stored.files[piece.inode].push(extent);
            done += piece.len;
            progress(done);
        }
        Ok(stored)
    })
}

/// Writes blocks and says where they begin.
fn put<W: Write>(out: &mut Output<'_, W>, bytes: &[u8]) -> Result<u32, ImageError> {
    let block = u32::try_from(out.block()).map_err(|_| ImageError::Io {
        path: out.path.to_owned(),
        source: std::io::ErrorKind::FileTooLarge.into(),
    })?;
    out.write(bytes)?;
    out.fill()?;
    Ok(block)
}

/// In the order of the paths.
fn pieces(tree: &Tree) -> Vec<Piece<'_>> {
    let mut seen = vec![false; tree.inode_slots()];
    let mut pieces = Vec::new();
    for (path, ino, node) in tree.iter_inodes() {
        let Some(content) = node.content().filter(|c| c.len() > SMALL) else { continue };
        if std::mem::replace(&mut seen[ino.index()], true) {
            continue;
        }
        let attributes: usize = node.meta.xattrs.iter().map(|(k, v)| k.len() + v.len() + 8).sum();
        let mut offset = 0;
        while offset < content.len() {
            let left = content.len() - offset;
            // A short rest would fill its last block badly.
            let len = if left < PIECE * 3 / 2 { left } else { PIECE };
            let packable = len == content.len() && attributes <= PACKED_ATTRIBUTES;
            pieces.push(Piece { path, content, inode: ino.index(), offset, len, packable });
            offset += len;
        }
    }
    pieces
}

impl Piece<'_> {
    fn pack(&self, encoder: &mut Encoder, image: &std::path::Path) -> Result<Packed, ImageError> {
        let plain = read(self.path, self.content, self.offset, self.len as usize)?;
        let packed =
            encoder.compress(&plain).map_err(|source| ImageError::Io { path: image.to_owned(), source })?;
        let blocks = (packed.len() as u64).div_ceil(BLOCK);
        // A piece of less than two blocks has no index entry to tell that it is compressed to more than one.
        let room = if self.len < 2 * BLOCK { 1 } else { self.len.div_ceil(BLOCK) - 1 };
        if blocks > room {
            return Ok(Packed::Plain(plain));
        }
        let zeros = (blocks * BLOCK) as usize - packed.len();
        let mut whole = vec![0; zeros];
        whole.extend_from_slice(&packed);
        Ok(Packed::Compressed(whole, zeros))
    }
}

/// So many bytes of a file, all of them there.
pub(super) fn read(
    path: &TreePath,
    content: &Content,
    offset: u64,
    len: usize,
) -> Result<Vec<u8>, ImageError> {
    let mut bytes = vec![0; len];
    let mut at = 0;
    while at < len {
        let n = content
            .read_at(&mut bytes[at..], offset + at as u64)
            .map_err(|source| ImageError::Content { path: path.clone(), source })?;
        if n == 0 {
            let source = std::io::ErrorKind::UnexpectedEof.into();
            return Err(ImageError::Io { path: path.as_host_relative().to_owned(), source });
        }
        at += n;
    }
    Ok(bytes)
}
