//! dm-verity: a tree of hashes over a file system, whose root stands for all of it.
//!
//! Documentation/admin-guide/device-mapper/verity.rst in Linux; the superblock is veritysetup's, `struct verity_sb` in
//! cryptsetup's lib/verity/verity.c. SHA-256, blocks of 4096 bytes, version 1: each block's hash is that of the salt and
//! the block. A block of the tree holds the hashes of 128 blocks below; the top one comes first in the partition.

use crate::sha256::Sha256;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes.
pub(crate) const BLOCK: u64 = 4096;
/// Bytes.
const DIGEST: u64 = 32;
/// Hashes in a block.
const FAN_OUT: u64 = BLOCK / DIGEST;

/// Bytes.
pub(crate) type Hash = [u8; DIGEST as usize];

/// Where the parts of a hash partition lie; a function of the data's length alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    data_blocks: u64,
    /// From the one above the data up to the top: first block in the partition, number of blocks.
    levels: Vec<(u64, u64)>,
    blocks: u64,
}

impl Layout {
    /// For data of a multiple of [`BLOCK`].
    pub(crate) fn new(data_len: u64) -> Layout {
        let data_blocks = data_len / BLOCK;
        let mut sizes = Vec::new();
        let mut below = data_blocks;
        while below > 1 {
            below = below.div_ceil(FAN_OUT);
            sizes.push(below);
        }
        let mut next = 1;
        let mut levels: Vec<(u64, u64)> = Vec::with_capacity(sizes.len());
        for &size in sizes.iter().rev() {
            levels.push((next, size));
            next += size;
        }
        levels.reverse();
        Layout { data_blocks, levels, blocks: next }
    }

    /// Length of the partition. Bytes.
    pub(crate) fn len(&self) -> u64 {
        self.blocks * BLOCK
    }

    /// Hashes the data at `data` in `disk` and writes the tree to `tree` in it. Gives the root hash.
    pub(crate) fn write(
        &self,
        disk: &File,
        data: u64,
        tree: u64,
        salt: &Hash,
        uuid: &[u8; 16],
        threads: NonZeroUsize,
    ) -> io::Result<Hash> {
        disk.write_all_at(&self.superblock(salt, uuid), tree)?;
        let mut below = (data, self.data_blocks);
        for &(first, blocks) in &self.levels {
            let above = tree + first * BLOCK;
            hash_level(disk, below, above, salt, threads)?;
            below = (above, blocks);
        }
        let mut top = [0; BLOCK as usize];
        disk.read_exact_at(&mut top, below.0)?;
        Ok(hash(&seeded(salt), &top))
    }

    /// On-disk header, 512 bytes.
    fn superblock(&self, salt: &Hash, uuid: &[u8; 16]) -> [u8; 512] {
        let mut out = [0; 512];
        out[..8].copy_from_slice(b"verity\0\0");
        // Version of the superblock, then of the hashing.
        out[8..12].copy_from_slice(&1_u32.to_le_bytes());
        out[12..16].copy_from_slice(&1_u32.to_le_bytes());
        out[16..32].copy_from_slice(uuid);
        out[32..38].copy_from_slice(b"sha256");
        out[64..68].copy_from_slice(&(BLOCK as u32).to_le_bytes());
        out[68..72].copy_from_slice(&(BLOCK as u32).to_le_bytes());
        out[72..80].copy_from_slice(&self.data_blocks.to_le_bytes());
        out[80..82].copy_from_slice(&(DIGEST as u16).to_le_bytes());
        out[88..88 + salt.len()].copy_from_slice(salt);
        out
    }
}

/// Hashes the blocks of one level (its place in bytes and their number) into the one above.
fn hash_level(
    disk: &File,
    (from, blocks): (u64, u64),
    to: u64,
    salt: &Hash,
    threads: NonZeroUsize,
) -> io::Result<()> {
    let groups = blocks.div_ceil(FAN_OUT);
    let next = AtomicU64::new(0);
    let work = || -> io::Result<()> {
        let seeded = seeded(salt);
        let mut data = vec![0; (FAN_OUT * BLOCK) as usize];
        loop {
            let group = next.fetch_add(1, Ordering::Relaxed);
            if group >= groups {
                return Ok(());
            }
            let first = group * FAN_OUT;
            let here = (blocks - first).min(FAN_OUT);
            let data = &mut data[..(here * BLOCK) as usize];
            disk.read_exact_at(data, from + first * BLOCK)?;
            // The rest of a block that isn't full is zeros.
            let mut above = [0; BLOCK as usize];
            for (place, block) in
                above.chunks_exact_mut(DIGEST as usize).zip(data.chunks_exact(BLOCK as usize))
            {
                place.copy_from_slice(&hash(&seeded, block));
            }
            disk.write_all_at(&above, to + group * BLOCK)?;
        }
    };
    let useful = usize::try_from(groups).unwrap_or(usize::MAX).min(threads.get());
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..useful).map(|_| scope.spawn(work)).collect();
        let own = work();
        others.into_iter().fold(own, |sum, thread| {
            let result = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            sum.and(result)
        })
    })
}

fn seeded(salt: &Hash) -> Sha256 {
    let mut hash = Sha256::new();
    hash.update(salt);
    hash
}

fn hash(seeded: &Sha256, block: &[u8]) -> Hash {
    let mut hash = seeded.clone();
    hash.update(block);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_have_the_levels_of_their_data() {
        for (data_blocks, levels, blocks) in [
            (1, vec![], 1),
            (2, vec![(1, 1)], 2),
            (128, vec![(1, 1)], 2),
            (129, vec![(2, 2), (1, 1)], 4),
            (128 * 128, vec![(2, 128), (1, 1)], 130),
            (128 * 128 + 1, vec![(4, 129), (2, 2), (1, 1)], 133),
        ] {
            let layout = Layout::new(data_blocks * BLOCK);
            assert_eq!(layout, Layout { data_blocks, levels, blocks });
        }
    }
}
