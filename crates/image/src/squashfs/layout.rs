//! The first 96 bytes. `struct squashfs_super_block`.

use super::Options;
use crate::format::Codec;

/// Superblock flags. SQUASHFS_NOI and the others, fs/squashfs/squashfs_fs.h.
pub(super) struct Flags;

impl Flags {
    pub(super) const ALWAYS_FRAGMENTS: u16 = 0x20;
    pub(super) const DUPLICATES: u16 = 0x40;
    pub(super) const EXPORTABLE: u16 = 0x80;
    pub(super) const NO_XATTRS: u16 = 0x200;
    pub(super) const COMPRESSOR_OPTIONS: u16 = 0x400;
}

/// A table that is not there.
const NONE: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct SuperBlock {
    pub(super) inodes: u32,
    pub(super) mkfs_time: u32,
    pub(super) block_size: u32,
    pub(super) fragments: u32,
    pub(super) compression: u16,
    pub(super) flags: u16,
    pub(super) no_ids: u16,
    pub(super) root_inode: u64,
    pub(super) bytes_used: u64,
    pub(super) id_table_start: u64,
    pub(super) xattr_id_table_start: u64,
    pub(super) inode_table_start: u64,
    pub(super) directory_table_start: u64,
    pub(super) fragment_table_start: u64,
    pub(super) lookup_table_start: u64,
}

impl SuperBlock {
    pub(super) fn new(options: &Options) -> Self {
        SuperBlock {
            inodes: 0,
            mkfs_time: options.mkfs_time,
            block_size: options.block_size,
            fragments: 0,
            // ZLIB_COMPRESSION and the others, fs/squashfs/squashfs_fs.h.
            compression: match options.codec {
                Codec::Gzip => 1,
                Codec::Xz => 4,
                Codec::Lz4 => 5,
                Codec::Zstd => 6,
            },
            flags: Flags::ALWAYS_FRAGMENTS | Flags::DUPLICATES | Flags::EXPORTABLE,
            no_ids: 0,
            root_inode: 0,
            bytes_used: 0,
            id_table_start: NONE,
            xattr_id_table_start: NONE,
            inode_table_start: NONE,
            directory_table_start: NONE,
            fragment_table_start: NONE,
            lookup_table_start: NONE,
        }
    }

    pub(super) fn to_bytes(&self) -> [u8; 96] {
        let mut out = Vec::with_capacity(96);
        out.extend_from_slice(b"hsqs");
        for n in [self.inodes, self.mkfs_time, self.block_size, self.fragments] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        let block_log = self.block_size.trailing_zeros() as u16;
        // The last two are the version, 4.0.
        for n in [self.compression, block_log, self.flags, self.no_ids, 4, 0] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        for n in [
            self.root_inode,
            self.bytes_used,
            self.id_table_start,
            self.xattr_id_table_start,
            self.inode_table_start,
            self.directory_table_start,
            self.fragment_table_start,
            self.lookup_table_start,
        ] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        let mut bytes = [0; 96];
        bytes.copy_from_slice(&out);
        bytes
    }
}

/// The metadata block behind the superblock, for codecs whose decoder asks for one: lz4's says the format's version.
/// `struct lz4_comp_opts`, fs/squashfs/lz4_wrapper.c.
pub(super) fn compressor_options(codec: Codec, level: u32) -> Option<Vec<u8>> {
    (codec == Codec::Lz4).then(|| {
        let mut out = (8u16 | super::metadata::UNCOMPRESSED).to_le_bytes().to_vec();
        out.extend_from_slice(&1u32.to_le_bytes());
        // LZ4_HC, squashfs-tools' lz4_wrapper.h: tells that the blocks came from that encoder.
        out.extend_from_slice(&u32::from(level > 1).to_le_bytes());
        out
    })
}
