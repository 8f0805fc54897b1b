//! GUID partition tables. UEFI specification 2.10, chapter 5.
//!
//! The layout is declared here; [`read()`] and `write()` stand on it.

mod read;
pub use read::{GptError, named, read};

mod types;
pub(crate) use types::root_types;

mod write;
pub(crate) use write::{ALIGN, FIRST, disk_len, write};

/// Bytes. Flatcar's images have this sector size, and ours.
pub const SECTOR: u64 = 512;

/// What a header begins with.
pub(crate) const SIGNATURE: &[u8; 8] = b"EFI PART";

/// Bytes of a header that its checksum covers, in version 1.0.
const HEADER: usize = 92;
/// Bytes of an entry; a header may say that they are longer.
const ENTRY: usize = 128;
/// "Read-only". UAPI.2, "Partition flags".
pub(crate) const READ_ONLY: u64 = 1 << 60;

/// A GUID in the order of its text's digits.
pub(crate) type Guid = [u8; 16];

/// A partition of a disk image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// From 1, as in `/dev/sda1`.
    pub number: u32,
    /// What it is for: the partition type.
    pub kind: Guid,
    pub(crate) guid: Guid,
    /// "ROOT", "OEM": at most 36 UTF-16 units.
    pub name: String,
    /// `READ_ONLY` and others.
    pub attributes: u64,
    /// Bytes from the start of the image.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// 5.3.2. Sectors all, but for the GUID, the number and size of the entries and their checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    own: u64,
    other: u64,
    first_usable: u64,
    last_usable: u64,
    guid: Guid,
    entries_at: u64,
    entries: u32,
    /// Bytes.
    entry_size: u32,
    entries_sum: u32,
}

/// Where the header's length and checksum are in it.
const HEADER_SIZE_AT: usize = 12;
const HEADER_SUM_AT: usize = 16;

impl Header {
    fn to_bytes(self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(SIGNATURE);
        out[8..12].copy_from_slice(&0x0001_0000_u32.to_le_bytes());
        out[HEADER_SIZE_AT..16].copy_from_slice(&(HEADER as u32).to_le_bytes());
        out[24..32].copy_from_slice(&self.own.to_le_bytes());
        out[32..40].copy_from_slice(&self.other.to_le_bytes());
        out[40..48].copy_from_slice(&self.first_usable.to_le_bytes());
        out[48..56].copy_from_slice(&self.last_usable.to_le_bytes());
        out[56..72].copy_from_slice(&mixed(&self.guid));
        out[72..80].copy_from_slice(&self.entries_at.to_le_bytes());
        out[80..84].copy_from_slice(&self.entries.to_le_bytes());
        out[84..88].copy_from_slice(&self.entry_size.to_le_bytes());
        out[88..92].copy_from_slice(&self.entries_sum.to_le_bytes());
        let sum = crc32fast::hash(&out);
        out[HEADER_SUM_AT..20].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// The fields as they are; the caller checks them.
    fn from_bytes(bytes: &[u8; HEADER]) -> Header {
        Header {
            own: u64_at(bytes, 24),
            other: u64_at(bytes, 32),
            first_usable: u64_at(bytes, 40),
            last_usable: u64_at(bytes, 48),
            guid: mixed(&guid_at(bytes, 56)),
            entries_at: u64_at(bytes, 72),
            entries: u32_at(bytes, 80),
            entry_size: u32_at(bytes, 84),
            entries_sum: u32_at(bytes, 88),
        }
    }
}

/// 5.3.3: an entry as it is stored. Sectors, the last one included.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    kind: Guid,
    guid: Guid,
    first: u64,
    last: u64,
    attributes: u64,
    name: String,
}

impl Entry {
    fn to_bytes(&self) -> [u8; ENTRY] {
        let mut out = [0; ENTRY];
        out[..16].copy_from_slice(&mixed(&self.kind));
        out[16..32].copy_from_slice(&mixed(&self.guid));
        out[32..40].copy_from_slice(&self.first.to_le_bytes());
        out[40..48].copy_from_slice(&self.last.to_le_bytes());
        out[48..56].copy_from_slice(&self.attributes.to_le_bytes());
        for (place, unit) in out[56..].chunks_exact_mut(2).zip(self.name.encode_utf16()) {
            place.copy_from_slice(&unit.to_le_bytes());
        }
        out
    }

    /// None if the entry isn't used, which an all-zero type says.
    fn from_bytes(bytes: &[u8; ENTRY]) -> Option<Entry> {
        let kind = mixed(&guid_at(bytes, 0));
        if kind == [0; 16] {
            return None;
        }
        let units: Vec<u16> = bytes[56..].chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect();
        let end = units.iter().position(|&u| u == 0).unwrap_or(units.len());
        Some(Entry {
            kind,
            guid: mixed(&guid_at(bytes, 16)),
            first: u64_at(bytes, 32),
            last: u64_at(bytes, 40),
            attributes: u64_at(bytes, 48),
            name: String::from_utf16_lossy(&units[..end]),
        })
    }
}

/// On disk the first three fields are little endian. Appendix A.
fn mixed(guid: &Guid) -> Guid {
    let mut out = *guid;
    out[..4].reverse();
    out[4..6].reverse();
    out[6..8].reverse();
    out
}

fn guid_at(bytes: &[u8], at: usize) -> Guid {
    let mut guid = [0; 16];
    guid.copy_from_slice(&bytes[at..at + 16]);
    guid
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let partition = |number, name: &str, offset, size| Partition {
            number,
            kind: [7; 16],
            guid: [number as u8; 16],
            name: name.into(),
            attributes: READ_ONLY,
            offset,
            size,
        };
        let partitions = [
            partition(1, "root", FIRST, 3 * ALIGN),
            partition(2, &"\u{e4}".repeat(36), FIRST + 4 * ALIGN, ALIGN),
        ];
        let disk = tempfile::tempfile().unwrap();
        let len = disk_len(FIRST + 5 * ALIGN).unwrap();
        disk.set_len(len).unwrap();
        write(&disk, len, &[9; 16], &partitions).unwrap();
        assert_eq!(read(&disk).unwrap(), partitions);
        let header = Header {
            own: 1,
            other: 2,
            first_usable: 3,
            last_usable: 4,
            guid: [5; 16],
            entries_at: 6,
            entries: 7,
            entry_size: 8,
            entries_sum: 9,
        };
        assert_eq!(Header::from_bytes(&header.to_bytes()), header);
    }
}
