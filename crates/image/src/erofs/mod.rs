//! An erofs writer for extensions: compressed by LZ4 or zstd, small files and directories inside of the metadata.
//!
//! Layout, in the order of the file: superblock and the compressors' settings in the first block, data, large directories,
//! inodes. Names follow fs/erofs/erofs_fs.h in Linux; Documentation/filesystems/erofs.rst describes the format.
//!
//! A file is cut into pieces of [`data::PIECE`] bytes that are compressed on all threads and put down in order, so the bytes
//! don't depend on the number of threads. A piece becomes a "physical cluster" of whole blocks, or stays as it is if that
//! saves no block. A file that is compressed to less than a block lies behind its inode.

mod data;
mod directory;
mod inode;
mod place;
mod size;
mod superblock;
mod xattr;

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::early_sync::EarlySync;
use crate::error::ImageError;
use crate::format::{Codec, Format};
use tree::Tree;

/// Bytes.
const BLOCK: u64 = 4096;

/// `EROFS_…_LZ4` and others: Z_EROFS_COMPRESSION_LZ4, Z_EROFS_COMPRESSION_ZSTD.
fn algorithm(codec: Codec) -> Option<u8> {
    match codec {
        Codec::Lz4 => Some(0),
        Codec::Zstd => Some(3),
        Codec::Gzip | Codec::Xz => None,
    }
}

/// Whether files can be compressed this way.
pub(crate) fn takes(codec: Codec) -> bool {
    algorithm(codec).is_some()
}

pub(crate) use xattr::stores as stores_xattr;

#[derive(Debug)]
pub(crate) struct Options {
    /// One that erofs [`takes`].
    pub(crate) codec: Codec,
    pub(crate) level: u32,
    pub(crate) threads: NonZeroUsize,
    /// Seconds since the epoch.
    pub(crate) build_time: u64,
    pub(crate) uuid: [u8; 16],
}

/// Writes the file system at `start` in the file, which ends there. `path` is for messages.
pub(crate) fn write(
    tree: &Tree,
    (file, start, path): (&File, u64, &Path),
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ImageError> {
    let io = |source| ImageError::Io { path: path.to_owned(), source };
    let &Options { codec, build_time, uuid, .. } = options;
    let algorithm = algorithm(codec).ok_or(ImageError::Compression { format: Format::Erofs, codec })?;
    (&*file).seek(SeekFrom::Start(start)).map_err(io)?;
    let (places, stored, blocks) = std::thread::scope(|scope| {
        let file = EarlySync::new(scope, file, start);
        let mut out = Output { file: BufWriter::with_capacity(1 << 18, file), position: 0, path };
        out.write(&[0; BLOCK as usize])?;
        let stored = data::write(tree, &mut out, options, progress)?;
        let places = place::Places::new(tree, &stored, build_time, out.block())?;
        inode::write(tree, &stored, &places, algorithm, build_time, &mut out)?;
        out.fill()?;
        out.file.flush().map_err(io)?;
        Ok::<_, ImageError>((places, stored, out.block()))
    })?;
    let superblock = superblock::Superblock {
        root_nid: u16::try_from(places.nid(tree.root())?)
            .map_err(|_| io(io::Error::other("the root's inode lies too far behind for erofs")))?,
        inodes: places.inodes(),
        build_time,
        blocks: u32::try_from(blocks).map_err(|_| io(io::ErrorKind::FileTooLarge.into()))?,
        meta: places.meta(),
        uuid,
        algorithm,
        largest: stored.largest,
        packed: stored.has_packed(),
    };
    file.write_all_at(&superblock.to_bytes(), start).map_err(io)
}

/// The image being written, and where in it we are.
struct Output<'a, W> {
    file: W,
    /// Bytes from the start of the file system.
    position: u64,
    path: &'a Path,
}

impl<W: Write> Output<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        let io = |source| ImageError::Io { path: self.path.to_owned(), source };
        self.file.write_all(bytes).map_err(io)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Zeros up to a place.
    fn advance(&mut self, to: u64) -> Result<(), ImageError> {
        while self.position < to {
            let n = (to - self.position).min(BLOCK);
            self.write(&[0; BLOCK as usize][..n as usize])?;
        }
        Ok(())
    }

    /// Zeros up to the end of the block.
    fn fill(&mut self) -> Result<(), ImageError> {
        self.advance(self.position.next_multiple_of(BLOCK))
    }

    /// The block that comes next.
    fn block(&self) -> u64 {
        self.position.div_ceil(BLOCK)
    }
}

#[cfg(test)]
mod tests;
