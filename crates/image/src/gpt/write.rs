//! Writing a table.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::{ENTRY, Entry, Guid, Header, Partition, SECTOR};

const ENTRIES: u64 = 128;
/// Sectors that the entries take.
const ENTRIES_SECTORS: u64 = ENTRIES * ENTRY as u64 / SECTOR;

/// Partitions begin at multiples of this; the first where systemd-repart puts it. Bytes.
pub(crate) const ALIGN: u64 = 4096;

/// Where the first partition begins. Bytes.
pub(crate) const FIRST: u64 = ((2 + ENTRIES_SECTORS) * SECTOR).next_multiple_of(ALIGN);

/// The length of a disk whose last partition ends at `end`. Bytes.
pub(crate) fn disk_len(end: u64) -> Option<u64> {
    end.checked_add((1 + ENTRIES_SECTORS) * SECTOR)?.checked_next_multiple_of(ALIGN)
}

/// Writes both tables to a disk of that length, the second one at its end. Partitions are numbered in their order, and lie
/// at multiples of [`ALIGN`].
pub(crate) fn write(disk: &File, len: u64, guid: &Guid, partitions: &[Partition]) -> io::Result<()> {
    let last = len / SECTOR - 1;
    let mut entries = vec![0; ENTRIES as usize * ENTRY];
    for (place, partition) in entries.chunks_exact_mut(ENTRY).zip(partitions) {
        place.copy_from_slice(&entry(partition).to_bytes());
    }
    let entries_sum = crc32fast::hash(&entries);
    let second_entries = last - ENTRIES_SECTORS;
    let header = |own, other, entries_at| {
        let header = Header {
            own,
            other,
            first_usable: 2 + ENTRIES_SECTORS,
            last_usable: second_entries - 1,
            guid: *guid,
            entries_at,
            entries: ENTRIES as u32,
            entry_size: ENTRY as u32,
            entries_sum,
        };
        header.to_bytes()
    };

    disk.write_all_at(&protective(last), 0)?;
    disk.write_all_at(&header(1, last, 2), SECTOR)?;
    disk.write_all_at(&entries, 2 * SECTOR)?;
    disk.write_all_at(&entries, second_entries * SECTOR)?;
    disk.write_all_at(&header(last, 1, second_entries), last * SECTOR)
}

fn entry(partition: &Partition) -> Entry {
    let first = partition.offset / SECTOR;
    Entry {
        kind: partition.kind,
        guid: partition.guid,
        first,
        last: first + partition.size / SECTOR - 1,
        attributes: partition.attributes,
        name: partition.name.clone(),
    }
}

/// The master boot record that keeps others off, 5.2.3: one partition over the whole disk.
fn protective(last: u64) -> [u8; SECTOR as usize] {
    let mut out = [0; SECTOR as usize];
    let entry = &mut out[446..462];
    entry[1..4].copy_from_slice(&[0x00, 0x02, 0x00]);
    entry[4] = 0xee;
    entry[5..8].copy_from_slice(&[0xff, 0xff, 0xff]);
    entry[8..12].copy_from_slice(&1_u32.to_le_bytes());
    entry[12..16].copy_from_slice(&u32::try_from(last).unwrap_or(u32::MAX).to_le_bytes());
    out[510..].copy_from_slice(&[0x55, 0xaa]);
    out
}
