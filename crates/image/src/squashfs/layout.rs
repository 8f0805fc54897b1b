//! squashfs 4.0 on disk: every structure once, for the writer and the reader.
//!
//! Names follow fs/squashfs/squashfs_fs.h in Linux; all numbers are little endian.

use crate::format::Codec;

/// What an image begins with.
pub(super) const MAGIC: &[u8; 4] = b"hsqs";
pub(super) const VERSION: (u16, u16) = (4, 0);

/// Bytes of a metadata block before compression. SQUASHFS_METADATA_SIZE.
pub(super) const METADATA_SIZE: usize = 8192;
/// Set in the length of a metadata block that is stored as it is. SQUASHFS_COMPRESSED_BIT.
pub(super) const METADATA_UNCOMPRESSED: u16 = 1 << 15;
/// Set in the size of a data block that is stored as it is. SQUASHFS_COMPRESSED_BIT_BLOCK.
pub(super) const BLOCK_UNCOMPRESSED: u32 = 1 << 24;

/// A table that is not there.
pub(super) const NO_TABLE: u64 = u64::MAX;
/// The fragment of a file that has none. SQUASHFS_INVALID_FRAG.
pub(super) const NO_FRAGMENT: u32 = u32::MAX;
/// The number of an inode without attributes. SQUASHFS_INVALID_XATTR.
pub(super) const NO_XATTRS: u32 = u32::MAX;

/// Entries under one header of a directory. SQUASHFS_DIR_COUNT.
pub(super) const DIR_COUNT: usize = 256;
/// `.` and `..` aren't stored, and count as so many bytes. squashfs_readdir, fs/squashfs/dir.c.
pub(super) const DIR_DOTS: u32 = 3;

/// Bytes. SQUASHFS_FILE_MAX_SIZE.
pub(super) const MAX_BLOCK_SIZE: u32 = 1 << 20;
/// Bytes.
pub(super) const MIN_BLOCK_SIZE: u32 = 4 << 10;

/// Whether the format knows blocks of so many bytes.
pub fn is_block_size(size: u32) -> bool {
    size.is_power_of_two() && (MIN_BLOCK_SIZE..=MAX_BLOCK_SIZE).contains(&size)
}

/// Prefixes of attributes by their number, SQUASHFS_XATTR_USER and the others. All that the format knows.
pub(super) const XATTR_PREFIXES: [(&[u8], u16); 3] = [(b"user.", 0), (b"trusted.", 1), (b"security.", 2)];
/// Set in an attribute's prefix if its value is stored elsewhere. SQUASHFS_XATTR_VALUE_OOL.
pub(super) const XATTR_VALUE_ELSEWHERE: u16 = 0x100;

/// Types of inodes: SQUASHFS_DIR_TYPE and the others.
pub(super) mod inode_type {
    pub(in super::super) const DIR: u16 = 1;
    pub(in super::super) const FILE: u16 = 2;
    pub(in super::super) const SYMLINK: u16 = 3;
    pub(in super::super) const BLOCK_DEVICE: u16 = 4;
    pub(in super::super) const CHAR_DEVICE: u16 = 5;
    pub(in super::super) const FIFO: u16 = 6;
    pub(in super::super) const SOCKET: u16 = 7;
    /// Added to that of an extended inode.
    pub(in super::super) const EXTENDED: u16 = 7;
}

/// Flags of the superblock. SQUASHFS_NOI and the others.
pub(super) mod flags {
    pub(in super::super) const ALWAYS_FRAGMENTS: u16 = 0x20;
    pub(in super::super) const DUPLICATES: u16 = 0x40;
    pub(in super::super) const EXPORTABLE: u16 = 0x80;
    pub(in super::super) const NO_XATTRS: u16 = 0x200;
    pub(in super::super) const COMPRESSOR_OPTIONS: u16 = 0x400;
}

/// ZLIB_COMPRESSION and the others.
pub(super) fn compression_id(codec: Codec) -> u16 {
    match codec {
        Codec::Gzip => 1,
        Codec::Xz => 4,
        Codec::Lz4 => 5,
        Codec::Zstd => 6,
    }
}

/// The codec of that number, or the name of one that isn't known here.
pub(super) fn codec_of(id: u16) -> Result<Codec, String> {
    Codec::ALL.into_iter().find(|&codec| compression_id(codec) == id).ok_or_else(|| match id {
        2 => "lzma".to_owned(),
        3 => "lzo".to_owned(),
        n => format!("compressor {n}"),
    })
}

/// A structure of fixed length.
pub(super) trait Record: Sized {
    /// Bytes.
    const SIZE: usize;
    fn put(&self, out: &mut Vec<u8>);
    /// None if there are too few bytes.
    fn parse(bytes: &[u8]) -> Option<Self>;

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::SIZE);
        self.put(&mut out);
        out
    }
}

macro_rules! records {
    ($($(#[$about:meta])* $name:ident { $($field:ident: $kind:ty,)* })*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) struct $name { $(pub(super) $field: $kind,)* }

        impl Record for $name {
            const SIZE: usize = 0 $(+ size_of::<$kind>())*;

            fn put(&self, out: &mut Vec<u8>) {
                $(out.extend_from_slice(&self.$field.to_le_bytes());)*
            }

            fn parse(bytes: &[u8]) -> Option<Self> {
                let mut rest = bytes;
                $(
                    let (field, after) = rest.split_first_chunk()?;
                    let $field = <$kind>::from_le_bytes(*field);
                    rest = after;
                )*
                let _ = rest;
                Some($name { $($field,)* })
            }
        }
    )*};
}

records! {
    /// `struct squashfs_super_block`, the first 96 bytes.
    SuperBlock {
        magic: u32,
        inodes: u32,
        mkfs_time: u32,
        block_size: u32,
        fragments: u32,
        compression: u16,
        block_log: u16,
        flags: u16,
        no_ids: u16,
        major: u16,
        minor: u16,
        root_inode: u64,
        bytes_used: u64,
        id_table_start: u64,
        xattr_id_table_start: u64,
        inode_table_start: u64,
        directory_table_start: u64,
        fragment_table_start: u64,
        lookup_table_start: u64,
    }

    /// `struct lz4_comp_opts`, fs/squashfs/lz4_wrapper.c.
    Lz4Options { version: u32, flags: u32, }

    /// `struct squashfs_fragment_entry`.
    Fragment { start: u64, size: u32, unused: u32, }

    /// `struct squashfs_xattr_id_table`.
    XattrTable { values_start: u64, count: u32, unused: u32, }

    /// `struct squashfs_xattr_id`: where a list is, how many attributes and bytes it has.
    XattrList { reference: u64, count: u32, size: u32, }

    /// `struct squashfs_xattr_entry`; the name follows.
    XattrEntry { kind: u16, name_len: u16, }

    /// `struct squashfs_dir_header`. `count` is the number of entries minus one.
    DirHeader { count: u32, start_block: u32, inode_number: u32, }

    /// `struct squashfs_dir_entry`; the name follows, which is one byte longer than `size` says.
    DirEntry { offset: u16, inode_delta: u16, kind: u16, size: u16, }

    /// `struct squashfs_dir_index`; the name follows, which is one byte longer than `size` says.
    DirIndex { index: u32, start_block: u32, size: u32, }

    /// `struct squashfs_base_inode`, what all begin with.
    InodeHeader { kind: u16, mode: u16, uid: u16, gid: u16, mtime: u32, number: u32, }

    /// `struct squashfs_dir_inode` behind the header.
    Dir { start_block: u32, nlink: u32, size: u16, offset: u16, parent: u32, }

    /// `struct squashfs_ldir_inode` behind the header; the index follows.
    ExtendedDir { nlink: u32, size: u32, start_block: u32, parent: u32, index_count: u16, offset: u16, xattr: u32, }

    /// `struct squashfs_reg_inode` behind the header; the sizes of the blocks follow.
    File { start_block: u32, fragment: u32, offset: u32, size: u32, }

    /// `struct squashfs_lreg_inode` behind the header; the sizes of the blocks follow.
    ExtendedFile { start_block: u64, size: u64, sparse: u64, nlink: u32, fragment: u32, offset: u32, xattr: u32, }

    /// `struct squashfs_symlink_inode` behind the header; the target follows, and the attributes of an extended one.
    Symlink { nlink: u32, size: u32, }

    /// `struct squashfs_dev_inode` behind the header; the attributes of an extended one follow.
    Device { nlink: u32, rdev: u32, }

    /// `struct squashfs_ipc_inode` behind the header; the attributes of an extended one follow.
    Ipc { nlink: u32, }
}

/// Tables of ids are made of nothing else.
impl Record for u32 {
    const SIZE: usize = 4;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().map(|b| u32::from_le_bytes(*b))
    }
}

/// The export table and indexes are made of nothing else.
impl Record for u64 {
    const SIZE: usize = 8;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().map(|b| u64::from_le_bytes(*b))
    }
}

impl SuperBlock {
    /// One that says [`MAGIC`].
    pub(super) const MAGIC: u32 = u32::from_le_bytes(*MAGIC);
}

/// A place in a table: where its metadata block starts, from the table's start, and the offset within the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MetadataPlace {
    /// Bytes, compressed.
    pub(super) block: u64,
    /// Bytes, uncompressed.
    pub(super) offset: u16,
}

impl MetadataPlace {
    /// As inodes and xattr lists are named: 48 bits of block, 16 of offset.
    pub(super) fn reference(self) -> u64 {
        self.block << 16 | u64::from(self.offset)
    }

    pub(super) fn from_reference(reference: u64) -> Self {
        MetadataPlace { block: reference >> 16, offset: reference as u16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_lengths_of_the_kernels() {
        assert_eq!(SuperBlock::SIZE, 96);
        assert_eq!((Fragment::SIZE, XattrTable::SIZE, XattrList::SIZE, XattrEntry::SIZE), (16, 16, 16, 4));
        assert_eq!((DirHeader::SIZE, DirEntry::SIZE, DirIndex::SIZE), (12, 8, 12));
        assert_eq!((InodeHeader::SIZE, Dir::SIZE, ExtendedDir::SIZE), (16, 16, 24));
        assert_eq!((File::SIZE, ExtendedFile::SIZE), (16, 40));
        assert_eq!((Symlink::SIZE, Device::SIZE, Ipc::SIZE), (8, 8, 4));
    }

    #[test]
    fn what_is_put_is_parsed() {
        let header = InodeHeader { kind: 1, mode: 2, uid: 3, gid: 4, mtime: 5, number: 6 };
        assert_eq!(header.to_bytes(), [1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 0, 0, 6, 0, 0, 0]);
        assert_eq!(InodeHeader::parse(&header.to_bytes()), Some(header));
        assert_eq!(InodeHeader::parse(&header.to_bytes()[..15]), None);
    }
}
