//! Reading a table, and trusting nothing of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::{
    ENTRY, Entry, HEADER, HEADER_SIZE_AT, HEADER_SUM_AT, Header, Partition, SECTOR, SIGNATURE, u32_at,
};

/// Bytes. Disks with such sectors have everything elsewhere.
const LARGE_SECTOR: u64 = 4096;

/// Why a file has no partition table that could be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub enum GptError {
    #[error("partition table: {0}")]
    Io(#[from] io::Error),
    /// Its sectors have another size.
    #[error("the disk image has sectors of {0} bytes, expected 512")]
    Sectors(u64),
    /// The older kind of table.
    #[error("the disk image has an MBR partition table, expected a GPT")]
    Mbr,
    #[error("the file is no disk image with a GPT: got {got:02x?} at byte 512, expected \"EFI PART\"")]
    NoTable {
        /// What stands in the signature's place.
        got: [u8; 8],
    },
    /// A checksum doesn't hold.
    #[error("GPT {part}: checksum is {got:08x}, expected {expected:08x}: the image is damaged")]
    Checksum { part: &'static str, got: u32, expected: u32 },
    /// A field has a value that can't be.
    #[error("GPT: {what} is {got}")]
    Value { what: &'static str, got: u64 },
    /// A partition lies outside the file or over another.
    #[error("partition {number} ({name}) reaches from byte {start} to {end}: {problem}")]
    Range {
        /// From 1.
        number: u32,
        name: String,
        /// Bytes.
        start: u64,
        /// Bytes, exclusive.
        end: u64,
        /// What is wrong with that.
        problem: &'static str,
    },
    /// The image has no such partition, or more than one.
    #[error("the image has {found} partitions named {wanted}, expected one; it has {all}")]
    Name {
        /// Which was looked for.
        wanted: String,
        /// How many there are.
        found: usize,
        /// The names of all.
        all: String,
    },
}

/// Partitions of a disk image, by number. Checks the checksums and that all lie in the file, apart from each other.
///
/// # Errors
/// [`GptError`].
pub fn read(image: &File) -> Result<Vec<Partition>, GptError> {
    let length = image.metadata()?.len();
    let mut header = [0; SECTOR as usize];
    read_at(image, &mut header, SECTOR, length)?;
    if &header[..8] != SIGNATURE {
        let mut large = [0; 8];
        if read_at(image, &mut large, LARGE_SECTOR, length).is_ok() && large == *SIGNATURE {
            return Err(GptError::Sectors(LARGE_SECTOR));
        }
        let mut first = [0; SECTOR as usize];
        image.read_exact_at(&mut first, 0)?;
        if is_mbr(&first) {
            return Err(GptError::Mbr);
        }
        let mut got = [0; 8];
        got.copy_from_slice(&header[..8]);
        return Err(GptError::NoTable { got });
    }
    let size = u32_at(&header, HEADER_SIZE_AT);
    if !(HEADER as u32..=SECTOR as u32).contains(&size) {
        return Err(GptError::Value { what: "header size", got: size.into() });
    }
    let expected = u32_at(&header, HEADER_SUM_AT);
    let mut covered = header[..size as usize].to_vec();
    covered[HEADER_SUM_AT..20].fill(0);
    check("header", &covered, expected)?;

    let mut fixed = [0; HEADER];
    fixed.copy_from_slice(&header[..HEADER]);
    let header = Header::from_bytes(&fixed);
    let (start, count, size) = (header.entries_at, header.entries, header.entry_size);
    if !(ENTRY as u32..=4096).contains(&size) || !size.is_power_of_two() {
        return Err(GptError::Value { what: "size of an entry", got: size.into() });
    }
    // 128 is usual, and more than 1,024 nobody needs: the table is read into memory.
    if count > 1024 {
        return Err(GptError::Value { what: "number of entries", got: count.into() });
    }
    let place =
        start.checked_mul(SECTOR).ok_or(GptError::Value { what: "place of the entries", got: start })?;
    let mut entries = vec![0; count as usize * size as usize];
    read_at(image, &mut entries, place, length)?;
    check("entries", &entries, header.entries_sum)?;

    let mut partitions = Vec::new();
    for (bytes, number) in entries.chunks_exact(size as usize).zip(1..) {
        if let Some(entry) = bytes.first_chunk().and_then(Entry::from_bytes) {
            partitions.push(partition(entry, number, length)?);
        }
    }
    apart(&partitions)?;
    Ok(partitions)
}

/// A boot record with partitions, of which none protects a GPT: that one is damaged then, and not missing. UEFI specification
/// 2.10, section 5.2.
fn is_mbr(sector: &[u8; SECTOR as usize]) -> bool {
    let types = [446, 462, 478, 494].map(|at| sector[at + 4]);
    sector[510..] == [0x55, 0xaa] && types.iter().any(|&t| t != 0) && !types.contains(&0xee)
}

/// The one partition of this name.
///
/// # Errors
/// [`GptError::Name`].
pub fn named<'a>(partitions: &'a [Partition], name: &str) -> Result<&'a Partition, GptError> {
    let found: Vec<&Partition> = partitions.iter().filter(|p| p.name == name).collect();
    match found[..] {
        [only] => Ok(only),
        _ => {
            let all: Vec<&str> = partitions.iter().map(|p| p.name.as_str()).collect();
            let all = if all.is_empty() { "none at all".into() } else { all.join(", ") };
            Err(GptError::Name { wanted: name.into(), found: found.len(), all })
        }
    }
}

fn partition(entry: Entry, number: u32, length: u64) -> Result<Partition, GptError> {
    let Entry { kind, guid, first, last, attributes, name } = entry;
    let start = first.checked_mul(SECTOR);
    let end = last.checked_add(1).and_then(|l| l.checked_mul(SECTOR));
    match (start, end) {
        (Some(start), Some(end)) if start < end && end <= length => {
            Ok(Partition { number, kind, guid, name, attributes, offset: start, size: end - start })
        }
        (start, end) => Err(GptError::Range {
            number,
            name,
            start: start.unwrap_or(u64::MAX),
            end: end.unwrap_or(u64::MAX),
            problem: "no place in the file",
        }),
    }
}

fn apart(partitions: &[Partition]) -> Result<(), GptError> {
    let mut sorted: Vec<&Partition> = partitions.iter().collect();
    sorted.sort_by_key(|p| p.offset);
    for pair in sorted.windows(2) {
        if pair[0].offset + pair[0].size > pair[1].offset {
            return Err(GptError::Range {
                number: pair[1].number,
                name: pair[1].name.clone(),
                start: pair[1].offset,
                end: pair[1].offset + pair[1].size,
                problem: "another partition lies there, too",
            });
        }
    }
    Ok(())
}

fn read_at(image: &File, buffer: &mut [u8], place: u64, length: u64) -> Result<(), GptError> {
    // Said before reading, since the end of a file is no I/O error that would explain itself.
    if place.checked_add(buffer.len() as u64).is_none_or(|end| end > length) {
        return Err(GptError::Value { what: "length of the file", got: length });
    }
    image.read_exact_at(buffer, place).map_err(GptError::Io)
}

fn check(part: &'static str, bytes: &[u8], expected: u32) -> Result<(), GptError> {
    let got = crc32fast::hash(bytes);
    if got == expected { Ok(()) } else { Err(GptError::Checksum { part, got, expected }) }
}
