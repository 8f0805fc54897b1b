//! A squashfs 4.0 writer for trees.
//!
//! The file system is planned from the lengths of the files alone: which blocks there are, in which fragment block a tail
//! goes and at which place. Then threads read and compress the blocks in any order and one writer puts them down in the
//! planned order. So the bytes don't depend on the number of threads, and no more is in memory than the blocks in flight.
//!
//! Everything that a tree has is stored: extended attributes (`user.`, `trusted.`, `security.`), hard links as one inode,
//! holes, devices. Equal files are stored once, tails share fragment blocks, large directories are indexed, and the export
//! table is there.
//!
//! Layout, in the order of the file: superblock, compressor options, data and fragment blocks, inode table, directory
//! table, fragment table, export table, id table, xattr table. Documentation/filesystems/squashfs.rst and
//! fs/squashfs/squashfs_fs.h in Linux have the structures; names here follow the latter.

mod alike;
mod data;
mod directory;
mod equal;
mod inode;
mod metadata;
mod plan;
mod read;
pub use read::ReadError;
pub(crate) use read::{is_magic, read};
mod superblock;
mod xattr;
pub(crate) use xattr::stores as stores_xattr;

use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;

use crate::codec::Encoder;
use crate::format::Codec;
use metadata::write_table;
use superblock::{Flags, SuperBlock};
use tree::{ContentError, Tree, TreePath};

/// Bytes. What mksquashfs takes by default and kernels are tuned for.
pub const DEFAULT_BLOCK_SIZE: u32 = 128 << 10;
/// Bytes. SQUASHFS_FILE_MAX_SIZE, fs/squashfs/squashfs_fs.h.
pub const MAX_BLOCK_SIZE: u32 = 1 << 20;
/// Bytes. SQUASHFS_METADATA_SIZE is the least that makes sense; the format's limit is 4 KiB.
pub const MIN_BLOCK_SIZE: u32 = 4 << 10;

/// Whether the format knows blocks of so many bytes.
pub fn is_block_size(size: u32) -> bool {
    size.is_power_of_two() && (MIN_BLOCK_SIZE..=MAX_BLOCK_SIZE).contains(&size)
}

/// Bytes to which the image is filled up, so that a loop device has it all.
const PAD: u64 = 4096;

/// How to write.
#[derive(Debug, Clone)]
pub struct Options {
    /// The compressor.
    pub codec: Codec,
    /// Its level.
    pub level: u32,
    /// A power of two from 4 KiB to 1 MiB. Bytes.
    pub block_size: u32,
    /// Time of the file system and, if given, of every inode. Seconds since the epoch.
    pub mkfs_time: u32,
    /// Threads that compress.
    pub threads: NonZeroUsize,
    /// Files whose data come first, in this order, since they are read together; what is no file is passed over. All
    /// others follow in the order of their paths.
    pub first: Vec<TreePath>,
}

/// Why there is no file system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A file of the tree can't be read.
    #[error("{path}: {source}")]
    Content {
        /// The file.
        path: TreePath,
        /// Why.
        source: ContentError,
    },
    /// The image can't be written, or the compressor failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The block size is no power of two within the limits.
    #[error("block size is {0}, expected a power of two from 4096 to 1048576")]
    BlockSize(u32),
    /// More data than the writer keeps account of, which a sparse file can claim without having them.
    #[error("files have more than {limit} blocks of {block_size} bytes")]
    TooManyBlocks {
        /// Blocks.
        limit: u64,
        /// Bytes.
        block_size: u64,
    },
    /// An extended attribute of a kind that squashfs doesn't store.
    #[error(
        "{path}: squashfs can't store the extended attribute {name:?}, only user., trusted. and security. ones"
    )]
    Xattr {
        /// The file.
        path: TreePath,
        /// The attribute.
        name: String,
    },
    /// More owners and groups than 16 bits can number.
    #[error("tree has more than 65535 different owners and groups")]
    TooManyIds,
    /// A time that 32 bits can't hold.
    #[error("{path}: modification time {mtime} is out of range, expected 0 to 4294967295")]
    Time {
        /// The file.
        path: TreePath,
        /// Seconds since the epoch.
        mtime: i64,
    },
    /// A number that the format has too few bits for.
    #[error("{path}: {what} is too large for squashfs")]
    TooLarge {
        /// The file.
        path: TreePath,
        /// What.
        what: &'static str,
    },
}

/// A file that an image is written to.
pub trait Sink: Write + Seek {}

impl<T: Write + Seek> Sink for T {}

/// Writes `tree` as a squashfs file system to the empty file `out`. `progress` gets the bytes read so far, from the
/// calling thread. Says the length of the image in bytes.
///
/// # Errors
/// Content can't be read, `out` can't be written, or the tree has what the format can't hold.
pub fn write(
    tree: &Tree,
    out: &mut dyn Sink,
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, WriteError> {
    if !is_block_size(options.block_size) {
        return Err(WriteError::BlockSize(options.block_size));
    }
    let encoder = || Encoder::new(options.codec, options.level, options.block_size);
    let mut out = Output { file: BufWriter::with_capacity(1 << 18, out), position: 0 };
    let mut superblock = SuperBlock::new(options);
    out.write_all(&superblock.to_bytes())?;
    if let Some(compressor_options) = superblock::compressor_options(options.codec, options.level) {
        superblock.flags |= Flags::COMPRESSOR_OPTIONS;
        out.write_all(&compressor_options)?;
    }

    let layout = plan::Layout::new(tree, options)?;
    let stored = data::write(&layout, &mut out, options, progress)?;

    superblock.inode_table_start = out.position;
    let tables = inode::write(tree, &layout, &stored, &mut out, &encoder)?;
    superblock.inodes = tables.inodes;
    superblock.root_inode = tables.root_inode;
    superblock.directory_table_start = tables.directory_table_start;

    superblock.fragments = stored.fragments.len() as u32;
    let fragments = stored.fragments.iter().map(|f| f.to_bytes());
    superblock.fragment_table_start = write_table(&mut out, encoder()?, fragments)?;
    let references = tables.references.iter().map(|r| r.to_le_bytes());
    superblock.lookup_table_start = write_table(&mut out, encoder()?, references)?;
    superblock.no_ids = tables.ids.len() as u16;
    let ids = tables.ids.iter().map(|id| id.to_le_bytes());
    superblock.id_table_start = write_table(&mut out, encoder()?, ids)?;
    match tables.xattrs.write(&mut out, &encoder)? {
        Some(start) => superblock.xattr_id_table_start = start,
        None => superblock.flags |= Flags::NO_XATTRS,
    }

    superblock.bytes_used = out.position;
    let fill = out.position.next_multiple_of(PAD) - out.position;
    out.write_all(&vec![0; fill as usize])?;
    let len = out.position;
    out.file.seek(SeekFrom::Start(0))?;
    out.file.write_all(&superblock.to_bytes())?;
    out.file.flush()?;
    Ok(len)
}

/// The image being written, and where in it we are.
struct Output<'f> {
    file: BufWriter<&'f mut dyn Sink>,
    /// Bytes from the start of the image.
    position: u64,
}

impl Write for Output<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buf)?;
        self.position += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests;
