//! The first block: `struct erofs_super_block` at 1024 and the compressor's settings behind it.

use super::BLOCK;
use crate::crc32c::crc32c;

/// EROFS_SUPER_OFFSET. Bytes.
const OFFSET: usize = 1024;
/// EROFS_SUPER_MAGIC_V1.
const MAGIC: u32 = 0xe0f5_e1e2;
/// EROFS_FEATURE_COMPAT_SB_CHKSUM, EROFS_FEATURE_COMPAT_MTIME.
const COMPATIBLE: u32 = 1 | 2;
/// EROFS_FEATURE_INCOMPAT_ZERO_PADDING, and …_COMPR_CFGS, which is …_BIG_PCLUSTER.
const INCOMPATIBLE: u32 = 1 | 2;
/// EROFS_FEATURE_INCOMPAT_ZTAILPACKING, Linux 5.17.
const PACKED: u32 = 0x10;

/// Contents of the superblock.
#[derive(Debug)]
pub(super) struct Superblock {
    pub(super) root_nid: u16,
    pub(super) inodes: u64,
    /// Seconds since the epoch; of all inodes that have no time of their own.
    pub(super) build_time: u64,
    pub(super) blocks: u32,
    /// The block that inode numbers count from.
    pub(super) meta: u32,
    pub(super) uuid: [u8; 16],
    pub(super) algorithm: u8,
    /// Blocks of the largest cluster.
    pub(super) largest: u16,
    /// Whether there are files behind their inodes.
    pub(super) packed: bool,
}

impl Superblock {
    pub(super) fn to_bytes(&self) -> [u8; BLOCK as usize] {
        let mut block = [0; BLOCK as usize];
        let out = &mut block[OFFSET..];
        out[..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[8..12].copy_from_slice(&COMPATIBLE.to_le_bytes());
        out[12] = BLOCK.trailing_zeros() as u8;
        out[14..16].copy_from_slice(&self.root_nid.to_le_bytes());
        out[16..24].copy_from_slice(&self.inodes.to_le_bytes());
        out[24..32].copy_from_slice(&self.build_time.to_le_bytes());
        out[36..40].copy_from_slice(&self.blocks.to_le_bytes());
        out[40..44].copy_from_slice(&self.meta.to_le_bytes());
        out[48..64].copy_from_slice(&self.uuid);
        let features = if self.packed { INCOMPATIBLE | PACKED } else { INCOMPATIBLE };
        out[80..84].copy_from_slice(&features.to_le_bytes());
        out[84..86].copy_from_slice(&(1_u16 << self.algorithm).to_le_bytes());
        let settings = &mut out[128..];
        match self.algorithm {
            // z_erofs_lz4_cfgs: length, farthest match, blocks of the largest cluster.
            0 => {
                settings[..2].copy_from_slice(&14_u16.to_le_bytes());
                settings[2..4].copy_from_slice(&u16::MAX.to_le_bytes());
                settings[4..6].copy_from_slice(&self.largest.max(1).to_le_bytes());
            }
            // z_erofs_zstd_cfgs: length, format, logarithm of the window less ten.
            _ => {
                settings[..2].copy_from_slice(&6_u16.to_le_bytes());
                settings[3] = super::data::WINDOW_LOG - 10;
            }
        }
        // Linux doesn't invert the sum at the end.
        let sum = !crc32c(&block[OFFSET..]);
        block[OFFSET + 4..OFFSET + 8].copy_from_slice(&sum.to_le_bytes());
        block
    }
}
