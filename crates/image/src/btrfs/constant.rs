//! Makes constant what mkfs.btrfs draws at random or takes from the clock.
//!
//! These are the UUIDs of the file system, the device, the chunk tree and the subvolume, the times of inodes and roots, and a field
//! that it doesn't set at all. Every
//! metadata block is found by its header (the file system's UUID and a checksum that holds), changed, and given its new
//! checksum. On-disk format: <https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html>.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::crc32c::crc32c;
use crate::sha256::Sha256;
use crate::uuid::as_uuid;

type Uuid = [u8; 16];

/// Bytes. All metadata is aligned to this.
const SECTOR: usize = 4096;
/// Places of the superblock and its copies.
const SUPERBLOCKS: [u64; 3] = [64 << 10, 64 << 20, 256 << 30];
const SUPER_LEN: usize = 4096;
const MAGIC: &[u8; 8] = b"_BHRfS_M";

/// Offsets in a superblock.
mod sb {
    pub(super) const FSID: usize = 0x20;
    pub(super) const MAGIC: usize = 0x40;
    pub(super) const NODESIZE: usize = 0x94;
    pub(super) const SYS_CHUNK_ARRAY_SIZE: usize = 0xa0;
    pub(super) const CSUM_TYPE: usize = 0xc4;
    pub(super) const DEV_ITEM: usize = 0xc9;
    pub(super) const SYS_CHUNK_ARRAY: usize = 0x32b;
    pub(super) const SYS_CHUNK_ARRAY_MAX: usize = 2048;
}

/// Offsets in the header of a tree block.
mod header {
    pub(super) const FSID: usize = 0x20;
    pub(super) const CHUNK_TREE_UUID: usize = 0x40;
    pub(super) const GENERATION: usize = 0x50;
    pub(super) const NRITEMS: usize = 0x60;
    pub(super) const LEVEL: usize = 0x64;
    pub(super) const LEN: usize = 0x65;
}

/// Item types, and where in them is what we change.
const INODE_ITEM: u8 = 1;
const INODE_TIMES: usize = 112;
const XATTR_ITEM: u8 = 24;
const DIR_ITEM: u8 = 84;
const DIR_INDEX: u8 = 96;
/// An entry of a directory: key, transid (8 bytes), data_len (2), name_len (2), type (1); then name and data.
const ENTRY: usize = 30;
const ENTRY_TRANSID: usize = 17;
const ENTRY_DATA_LEN: usize = 25;
const ENTRY_NAME_LEN: usize = 27;
const ROOT_ITEM: u8 = 132;
const ROOT_UUID: usize = 247;
const ROOT_TIMES: usize = 327;
const DEV_EXTENT: u8 = 204;
const DEV_EXTENT_UUID: usize = 32;
const DEV_ITEM: u8 = 216;
const DEV_ITEM_UUID: usize = 66;
const DEV_ITEM_FSID: usize = 82;
const CHUNK_ITEM: u8 = 228;
const UUID_SUBVOL: u8 = 251;
/// A time: seconds in 8 bytes, nanoseconds in 4.
const TIME: usize = 12;
/// Header of an item: key (objectid, type, offset), place and size of its data.
const ITEM: usize = 25;
const KEY: usize = 17;
/// An entry of an inner node: a key, the block's address and generation.
const KEY_POINTER: usize = 33;
/// A chunk's fixed part, and each of its stripes.
const CHUNK: usize = 48;
const CHUNK_NUM_STRIPES: usize = 44;
const STRIPE: usize = 32;
const STRIPE_UUID: usize = 16;

fn corrupt() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "mkfs.btrfs wrote metadata of an unknown form")
}

fn get<const N: usize>(bytes: &[u8], at: usize) -> io::Result<[u8; N]> {
    bytes.get(at..).and_then(|b| b.first_chunk()).copied().ok_or_else(corrupt)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> io::Result<()> {
    bytes.get_mut(at..at + value.len()).ok_or_else(corrupt)?.copy_from_slice(value);
    Ok(())
}

fn u32_at(bytes: &[u8], at: usize) -> io::Result<usize> {
    Ok(u32::from_le_bytes(get(bytes, at)?) as usize)
}

/// What stands for each random UUID.
struct Uuids<'a> {
    seed: &'a Uuid,
    map: HashMap<Uuid, Uuid>,
}

impl Uuids<'_> {
    fn learn(&mut self, old: Uuid, what: &str) {
        if old != [0; 16] {
            let mut new = [0; 16];
            new.copy_from_slice(&Sha256::of([self.seed, what.as_bytes()])[..16]);
            self.map.insert(old, as_uuid(new));
        }
    }

    fn replace(&self, bytes: &mut [u8], at: usize) -> io::Result<()> {
        match self.map.get(&get::<16>(bytes, at)?) {
            Some(new) => put(bytes, at, new),
            None => Ok(()),
        }
    }
}

/// Rewrites `image`, whose file system becomes one of the UUID `fsid`. mkfs.btrfs can't be given that one: it refuses what another
/// device of the machine has, such as the same image where it is mounted.
pub(super) fn make_constant(image: &File, fsid: &Uuid, epoch: i64) -> io::Result<()> {
    let mut superblock = vec![0; SUPER_LEN];
    image.read_exact_at(&mut superblock, SUPERBLOCKS[0])?;
    let nodesize = u32_at(&superblock, sb::NODESIZE)?;
    // csum_type 0 is crc32c.
    let known = superblock[sb::MAGIC..].starts_with(MAGIC)
        && get::<2>(&superblock, sb::CSUM_TYPE)? == [0, 0]
        && (SECTOR..=1 << 16).contains(&nodesize)
        && nodesize.is_power_of_two();
    if !known {
        return Err(corrupt());
    }
    let drawn: Uuid = get(&superblock, sb::FSID)?;
    let nodes = find_nodes(image, &drawn, nodesize)?;
    let mut uuids = Uuids { seed: fsid, map: HashMap::from([(drawn, *fsid)]) };
    uuids.learn(get(&superblock, sb::DEV_ITEM + DEV_ITEM_UUID)?, "device");
    let mut node = vec![0; nodesize];
    for &at in &nodes {
        image.read_exact_at(&mut node, at)?;
        uuids.learn(get(&node, header::CHUNK_TREE_UUID)?, "chunk tree");
        for (key, data) in items(&node)? {
            if key[8] == ROOT_ITEM && data.len() >= ROOT_UUID + 16 {
                let root = u64::from_le_bytes(get(&key, 0)?);
                uuids.learn(get(&node, data.start + ROOT_UUID)?, &format!("root {root}"));
            }
        }
    }
    for &at in &nodes {
        image.read_exact_at(&mut node, at)?;
        change_node(&mut node, &uuids, epoch)?;
        seal(&mut node);
        image.write_all_at(&node, at)?;
    }
    let len = image.metadata()?.len();
    for at in SUPERBLOCKS.into_iter().filter(|at| at + SUPER_LEN as u64 <= len) {
        image.read_exact_at(&mut superblock, at)?;
        if superblock[sb::MAGIC..].starts_with(MAGIC) {
            change_superblock(&mut superblock, &uuids)?;
            seal(&mut superblock);
            image.write_all_at(&superblock, at)?;
        }
    }
    Ok(())
}

/// The places of all tree blocks, also of those that later generations left behind.
fn find_nodes(image: &File, fsid: &Uuid, nodesize: usize) -> io::Result<Vec<u64>> {
    let len = image.metadata()?.len();
    let mut out = Vec::new();
    let mut head = [0; header::LEN];
    let mut node = vec![0; nodesize];
    let mut at = 0;
    while at + nodesize as u64 <= len {
        image.read_exact_at(&mut head, at)?;
        let mut step = SECTOR;
        if head[header::FSID..].starts_with(fsid) && !head[sb::MAGIC..].starts_with(MAGIC) {
            image.read_exact_at(&mut node, at)?;
            if node[..4] == crc32c(&node[32..]).to_le_bytes() {
                out.push(at);
                step = nodesize;
            }
        }
        at += step as u64;
    }
    Ok(out)
}

/// Keys and the places of their data; none in an inner node.
fn items(node: &[u8]) -> io::Result<Vec<([u8; KEY], std::ops::Range<usize>)>> {
    if node[header::LEVEL] != 0 {
        return Ok(Vec::new());
    }
    let count = u32_at(node, header::NRITEMS)?;
    (0..count)
        .map(|i| {
            let item = header::LEN + i * ITEM;
            let start = header::LEN + u32_at(node, item + KEY)?;
            let end = start + u32_at(node, item + KEY + 4)?;
            if end > node.len() {
                return Err(corrupt());
            }
            Ok((get(node, item)?, start..end))
        })
        .collect()
}

fn change_node(node: &mut [u8], uuids: &Uuids<'_>, epoch: i64) -> io::Result<()> {
    uuids.replace(node, header::FSID)?;
    uuids.replace(node, header::CHUNK_TREE_UUID)?;
    clear_unused(node)?;
    for (i, (key, data)) in items(node)?.into_iter().enumerate() {
        match key[8] {
            INODE_ITEM => set_times(node, data.start + INODE_TIMES, epoch)?,
            ROOT_ITEM => {
                set_times(node, data.start + INODE_TIMES, epoch)?;
                // The older, shorter form ends before. linux/btrfs_tree.h.
                if data.len() >= ROOT_TIMES + 4 * TIME {
                    uuids.replace(node, data.start + ROOT_UUID)?;
                    // Of the four only those that are set: change and creation.
                    for time in 0..4 {
                        let at = data.start + ROOT_TIMES + time * TIME;
                        if get::<TIME>(node, at)? != [0; TIME] {
                            set_time(node, at, epoch)?;
                        }
                    }
                }
            }
            XATTR_ITEM | DIR_ITEM | DIR_INDEX => {
                let generation: [u8; 8] = get(node, header::GENERATION)?;
                change_entries(&mut node[data], &generation)?;
            }
            DEV_EXTENT => uuids.replace(node, data.start + DEV_EXTENT_UUID)?,
            DEV_ITEM => {
                uuids.replace(node, data.start + DEV_ITEM_UUID)?;
                uuids.replace(node, data.start + DEV_ITEM_FSID)?;
            }
            CHUNK_ITEM => {
                change_chunk(&mut node[data], uuids)?;
            }
            UUID_SUBVOL => {
                // The key itself is the UUID: half before the type, half behind.
                let at = header::LEN + i * ITEM;
                let mut uuid = [0; 16];
                uuid[..8].copy_from_slice(&key[..8]);
                uuid[8..].copy_from_slice(&key[9..]);
                uuids.replace(&mut uuid, 0)?;
                put(node, at, &uuid[..8])?;
                put(node, at + 9, &uuid[8..])?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Zeroes what no item stands in: when a node is split, the half that moved stays there, with the times of today.
fn clear_unused(node: &mut [u8]) -> io::Result<()> {
    let count = u32_at(node, header::NRITEMS)?;
    let leaf = node[header::LEVEL] == 0;
    let used = header::LEN + count * if leaf { ITEM } else { KEY_POINTER };
    // Data grow from the end of a leaf towards its items.
    let data = items(node)?.into_iter().map(|(_, data)| data.start).min().unwrap_or(node.len());
    node.get_mut(used..data).ok_or_else(corrupt)?.fill(0);
    Ok(())
}

/// mkfs.btrfs leaves in `transid` what was in memory; the kernel would write the generation. Names of one hash share an
/// item.
fn change_entries(item: &mut [u8], generation: &[u8; 8]) -> io::Result<()> {
    let mut at = 0;
    while at < item.len() {
        put(item, at + ENTRY_TRANSID, generation)?;
        let len = |field| Ok::<_, io::Error>(usize::from(u16::from_le_bytes(get(item, at + field)?)));
        at += ENTRY + len(ENTRY_DATA_LEN)? + len(ENTRY_NAME_LEN)?;
    }
    Ok(())
}

/// Changes the stripes of a chunk; says how long it is.
fn change_chunk(chunk: &mut [u8], uuids: &Uuids<'_>) -> io::Result<usize> {
    let stripes = usize::from(u16::from_le_bytes(get(chunk, CHUNK_NUM_STRIPES)?));
    for i in 0..stripes {
        uuids.replace(chunk, CHUNK + i * STRIPE + STRIPE_UUID)?;
    }
    Ok(CHUNK + stripes * STRIPE)
}

fn change_superblock(superblock: &mut [u8], uuids: &Uuids<'_>) -> io::Result<()> {
    for at in [sb::FSID, sb::DEV_ITEM + DEV_ITEM_UUID, sb::DEV_ITEM + DEV_ITEM_FSID] {
        uuids.replace(superblock, at)?;
    }
    let len = u32_at(superblock, sb::SYS_CHUNK_ARRAY_SIZE)?;
    if len > sb::SYS_CHUNK_ARRAY_MAX {
        return Err(corrupt());
    }
    let array = superblock.get_mut(sb::SYS_CHUNK_ARRAY..sb::SYS_CHUNK_ARRAY + len).ok_or_else(corrupt)?;
    let mut at = 0;
    while at < array.len() {
        let chunk = array.get_mut(at + KEY..).ok_or_else(corrupt)?;
        at += KEY + change_chunk(chunk, uuids)?;
    }
    Ok(())
}

/// Access, change, modification and creation.
fn set_times(bytes: &mut [u8], at: usize, epoch: i64) -> io::Result<()> {
    (0..4).try_for_each(|i| set_time(bytes, at + i * TIME, epoch))
}

fn set_time(bytes: &mut [u8], at: usize, epoch: i64) -> io::Result<()> {
    put(bytes, at, &epoch.to_le_bytes())?;
    put(bytes, at + 8, &[0; 4])
}

/// The checksum stands in the first 4 of 32 bytes and covers the rest.
fn seal(block: &mut [u8]) {
    let sum = crc32c(&block[32..]).to_le_bytes();
    block[..4].copy_from_slice(&sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_bytes_are_refused() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        assert!(make_constant(&file, &[1; 16], 0).is_err());
    }
}
