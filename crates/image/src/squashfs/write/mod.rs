//! The writer.
//!
//! The file system is planned from the lengths of the files alone: which blocks there are, in which fragment block a tail
//! goes and at which place. Then threads read and compress the blocks in any order and one writer puts them down in the
//! planned order. So the bytes don't depend on the number of threads, and no more is in memory than the blocks in flight.
//!
//! Everything that a tree has is stored: extended attributes (`user.`, `trusted.`, `security.`), hard links as one inode,
//! holes, devices. Equal files are stored once, tails share fragment blocks, large directories are indexed, and the export
//! table is there.

mod data;
mod directory;
mod duplicates;
mod files;
mod inode;
mod metadata;
mod output;
mod plan;
mod tail_order;
mod xattr;
pub(crate) use xattr::stores as stores_xattr;

use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;

use super::layout::{
    Lz4Options, METADATA_UNCOMPRESSED, NO_TABLE, Record as _, SuperBlock, VERSION, compression_id, flags,
    is_block_size,
};
use crate::codec::Encoder;
use crate::format::Codec;
use metadata::write_table;
use output::Output;
use tree::{ContentError, Tree, TreePath};

/// Bytes. What mksquashfs takes by default and kernels are tuned for.
pub(crate) const DEFAULT_BLOCK_SIZE: u32 = 128 << 10;
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
    pub(crate) mkfs_time: u32,
    /// Threads that compress.
    pub threads: NonZeroUsize,
    /// Files whose data come first, in this order, since they are read together; what is no file is passed over. All
    /// others follow in the order of their paths.
    pub first: Vec<TreePath>,
}

/// Why there is no file system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum WriteError {
    /// A file of the tree can't be read.
    #[error("{path}: {source}")]
    Content { path: TreePath, source: ContentError },
    /// The image can't be written, or the compressor failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The block size is no power of two within the limits.
    #[error("block size is {0}, expected a power of two from 4096 to 1048576")]
    BlockSize(u32),
    /// More data than the writer keeps account of, which a sparse file can claim without having them.
    #[error("files have more than {limit} blocks of {block_size} bytes")]
    TooManyBlocks { limit: u64, block_size: u64 },
    /// An extended attribute of a kind that squashfs doesn't store.
    #[error(
        "{path}: squashfs can't store the extended attribute {name:?}, only user., trusted. and security. ones"
    )]
    Xattr { path: TreePath, name: String },
    /// More owners and groups than 16 bits can number.
    #[error("tree has more than 65535 different owners and groups")]
    TooManyIds,
    /// A time that 32 bits can't hold.
    #[error("{path}: modification time {mtime} is out of range, expected 0 to 4294967295")]
    Time {
        path: TreePath,
        /// Seconds since the epoch.
        mtime: i64,
    },
    /// A number that the format has too few bits for.
    #[error("{path}: {what} is too large for squashfs")]
    TooLarge { path: TreePath, what: &'static str },
    /// The plan has a file that the tree hasn't.
    #[error("internal error: inode {inode} has no path in the tree that is written")]
    Internal { inode: usize },
}

/// Writes `tree` as a squashfs file system to the empty file `out`. `progress` gets the bytes read so far, from the
/// calling thread. Says the length of the image in bytes.
///
/// # Errors
/// Content can't be read, `out` can't be written, or the tree has what the format can't hold.
pub(crate) fn write(
    tree: &Tree,
    out: &mut dyn output::Sink,
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, WriteError> {
    if !is_block_size(options.block_size) {
        return Err(WriteError::BlockSize(options.block_size));
    }
    let encoder = || Encoder::new(options.codec, options.level, options.block_size);
    let mut out = Output { file: BufWriter::with_capacity(1 << 18, out), position: 0 };
    let mut superblock = empty(options);
    out.write_all(&superblock.to_bytes())?;
    if let Some(compressor_options) = compressor_options(options.codec, options.level) {
        superblock.flags |= flags::COMPRESSOR_OPTIONS;
        out.write_all(&compressor_options)?;
    }

    let plan = plan::Plan::new(tree, options)?;
    let stored = data::write(&plan, &mut out, options, progress)?;

    superblock.inode_table_start = out.position;
    let tables = inode::write(tree, &plan, &stored, &mut out, &encoder)?;
    superblock.inodes = tables.inodes;
    superblock.root_inode = tables.root_inode;
    superblock.directory_table_start = tables.directory_table_start;

    superblock.fragments = stored.fragments.len() as u32;
    superblock.fragment_table_start = write_table(&mut out, encoder()?, stored.fragments.iter())?;
    superblock.lookup_table_start = write_table(&mut out, encoder()?, tables.references.iter())?;
    superblock.no_ids = tables.ids.len() as u16;
    superblock.id_table_start = write_table(&mut out, encoder()?, tables.ids.iter())?;
    match tables.xattrs.write(&mut out, &encoder)? {
        Some(start) => superblock.xattr_id_table_start = start,
        None => superblock.flags |= flags::NO_XATTRS,
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

fn empty(options: &Options) -> SuperBlock {
    SuperBlock {
        magic: SuperBlock::MAGIC,
        inodes: 0,
        mkfs_time: options.mkfs_time,
        block_size: options.block_size,
        fragments: 0,
        compression: compression_id(options.codec),
        block_log: options.block_size.trailing_zeros() as u16,
        flags: flags::ALWAYS_FRAGMENTS | flags::DUPLICATES | flags::EXPORTABLE,
        no_ids: 0,
        major: VERSION.0,
        minor: VERSION.1,
        root_inode: 0,
        bytes_used: 0,
        id_table_start: NO_TABLE,
        xattr_id_table_start: NO_TABLE,
        inode_table_start: NO_TABLE,
        directory_table_start: NO_TABLE,
        fragment_table_start: NO_TABLE,
        lookup_table_start: NO_TABLE,
    }
}

/// The metadata block behind the superblock, for codecs whose decoder asks for one: lz4's says the format's version.
fn compressor_options(codec: Codec, level: u32) -> Option<Vec<u8>> {
    (codec == Codec::Lz4).then(|| {
        let mut out = (Lz4Options::SIZE as u16 | METADATA_UNCOMPRESSED).to_le_bytes().to_vec();
        // LZ4_HC, squashfs-tools' lz4_wrapper.h: marks blocks as made by that encoder.
        Lz4Options { version: 1, flags: u32::from(level > 1) }.put(&mut out);
        out
    })
}
