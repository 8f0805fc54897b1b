//! squashfs 4.0: a writer for trees, and a reader that trusts nothing.
//!
//! Layout, in the order of the file: superblock, compressor options, data and fragment blocks, inode table, directory
//! table, fragment table, export table, id table, xattr table. Documentation/filesystems/squashfs.rst and
//! fs/squashfs/squashfs_fs.h in Linux have the structures; names here follow the latter.

mod layout;
pub use layout::is_block_size;

mod write;
pub(crate) use write::{DEFAULT_BLOCK_SIZE, stores_xattr, write};
pub use write::{Options, WriteError};

mod read;
pub use read::ReadError;
pub(crate) use read::{is_magic, read};

#[cfg(test)]
mod tests;
