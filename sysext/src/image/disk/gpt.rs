//! GUID partition tables. UEFI specification, chapter 5.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Bytes.
const SECTOR: u64 = 512;
const ENTRIES: u64 = 128;
/// Bytes.
const ENTRY: u64 = 128;
/// Sectors that the entries take.
const ENTRIES_SECTORS: u64 = ENTRIES * ENTRY / SECTOR;
/// Bytes of the header that its checksum covers.
const HEADER: usize = 92;

/// Partitions begin at multiples of this; the first where systemd-repart puts it. Bytes.
pub(super) const ALIGN: u64 = 4096;

/// Where the first partition begins. Bytes.
pub(super) const FIRST: u64 = ((2 + ENTRIES_SECTORS) * SECTOR).next_multiple_of(ALIGN);

/// A GUID in the order of its text's digits.
pub(super) type Guid = [u8; 16];

/// "Read-only". UAPI.2, "Partition flags".
pub(super) const READ_ONLY: u64 = 1 << 60;

/// One partition.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) kind: Guid,
    pub(super) guid: Guid,
    /// At most 36 UTF-16 units.
    pub(super) name: String,
    pub(super) attributes: u64,
    /// Both in bytes, multiples of [`ALIGN`].
    pub(super) start: u64,
    pub(super) len: u64,
}

/// The length of a disk whose last partition ends at `end`. Bytes.
pub(super) fn disk_len(end: u64) -> Option<u64> {
    end.checked_add((1 + ENTRIES_SECTORS) * SECTOR)?.checked_next_multiple_of(ALIGN)
}

/// Writes both tables to a disk of that length, the second one at its end.
pub(super) fn write(disk: &File, len: u64, guid: &Guid, partitions: &[Partition]) -> io::Result<()> {
    let last = len / SECTOR - 1;
    let mut entries = vec![0; (ENTRIES * ENTRY) as usize];
    for (entry, partition) in entries.chunks_exact_mut(ENTRY as usize).zip(partitions) {
        partition.write(entry);
    }
    let sum = crc32(&entries);
    let second_entries = last - ENTRIES_SECTORS;
    let header = |own, other, entries_at| header(own, other, entries_at, second_entries - 1, guid, sum);

    disk.write_all_at(&protective(last), 0)?;
    disk.write_all_at(&header(1, last, 2), SECTOR)?;
    disk.write_all_at(&entries, 2 * SECTOR)?;
    disk.write_all_at(&entries, second_entries * SECTOR)?;
    disk.write_all_at(&header(last, 1, second_entries), last * SECTOR)
}

impl Partition {
    fn write(&self, entry: &mut [u8]) {
        let first = self.start / SECTOR;
        entry[..16].copy_from_slice(&mixed(&self.kind));
        entry[16..32].copy_from_slice(&mixed(&self.guid));
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&(first + self.len / SECTOR - 1).to_le_bytes());
        entry[48..56].copy_from_slice(&self.attributes.to_le_bytes());
        for (place, unit) in entry[56..].chunks_exact_mut(2).zip(self.name.encode_utf16()) {
            place.copy_from_slice(&unit.to_le_bytes());
        }
    }
}

/// 5.3.2. Sectors all, but for the GUID and the checksum of the entries.
fn header(own: u64, other: u64, entries: u64, last_usable: u64, guid: &Guid, sum: u32) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(b"EFI PART");
    out[8..12].copy_from_slice(&0x0001_0000_u32.to_le_bytes());
    out[12..16].copy_from_slice(&(HEADER as u32).to_le_bytes());
    out[24..32].copy_from_slice(&own.to_le_bytes());
    out[32..40].copy_from_slice(&other.to_le_bytes());
    out[40..48].copy_from_slice(&(2 + ENTRIES_SECTORS).to_le_bytes());
    out[48..56].copy_from_slice(&last_usable.to_le_bytes());
    out[56..72].copy_from_slice(&mixed(guid));
    out[72..80].copy_from_slice(&entries.to_le_bytes());
    out[80..84].copy_from_slice(&(ENTRIES as u32).to_le_bytes());
    out[84..88].copy_from_slice(&(ENTRY as u32).to_le_bytes());
    out[88..92].copy_from_slice(&sum.to_le_bytes());
    let own_sum = crc32(&out);
    out[16..20].copy_from_slice(&own_sum.to_le_bytes());
    out
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

/// On disk the first three fields are little endian. Appendix A.
fn mixed(guid: &Guid) -> Guid {
    let mut out = *guid;
    out[..4].reverse();
    out[4..6].reverse();
    out[6..8].reverse();
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
