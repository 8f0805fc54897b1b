//! Directory listings and their index.

use std::io::{self, Write};

use super::metadata::{METADATA_SIZE, MetadataWriter, Place};

/// Entries under one header. SQUASHFS_DIR_COUNT.
const HEADER_ENTRIES: usize = 256;

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'t> {
    pub(super) name: &'t [u8],
    pub(super) inode: Place,
    pub(super) number: u32,
    /// The basic inode type, also where the inode is an extended one.
    pub(super) kind: u16,
}

/// A written listing.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) place: Place,
    /// Bytes, uncompressed.
    pub(super) len: u64,
    /// `struct squashfs_dir_index`, one after the other.
    pub(super) index: Vec<u8>,
    pub(super) index_count: usize,
}

/// Writes the listing of one directory, whose entries are in the order of their names.
pub(super) fn write<'t, W: Write>(
    out: &mut MetadataWriter<W>,
    entries: impl Iterator<Item = Entry<'t>>,
) -> io::Result<Listing> {
    let mut listing = Listing { place: out.place(), len: 0, index: Vec::new(), index_count: 0 };
    let mut run: Vec<Entry<'t>> = Vec::with_capacity(HEADER_ENTRIES);
    // Bytes of the run, and where in the listing the index last pointed.
    let mut run_len = 0u64;
    let mut indexed = 0u64;
    for entry in entries {
        let size = 8 + entry.name.len() as u64;
        if let Some(first) = run.first() {
            let delta = i64::from(entry.number) - i64::from(first.number);
            // One metadata block of listing for each step of the index, so that a look-up reads one block.
            let far = listing.len + run_len + size - indexed > METADATA_SIZE as u64;
            if run.len() == HEADER_ENTRIES
                || first.inode.block != entry.inode.block
                || i16::try_from(delta).is_err()
                || far
            {
                write_run(out, &run)?;
                listing.len += run_len;
                run.clear();
                if far {
                    indexed = listing.len;
                    push_index(&mut listing, out.place(), entry.name);
                }
            }
        }
        if run.is_empty() {
            run_len = 12;
        }
        run_len += size;
        run.push(entry);
    }
    if !run.is_empty() {
        write_run(out, &run)?;
        listing.len += run_len;
    }
    Ok(listing)
}

fn push_index(listing: &mut Listing, place: Place, name: &[u8]) {
    // The caller checks that the length fits its field; block positions are 32 bits in the format.
    listing.index.extend_from_slice(&(listing.len as u32).to_le_bytes());
    listing.index.extend_from_slice(&(place.block as u32).to_le_bytes());
    listing.index.extend_from_slice(&(name.len() as u32 - 1).to_le_bytes());
    listing.index.extend_from_slice(name);
    listing.index_count += 1;
}

/// `struct squashfs_dir_header` and its entries, `struct squashfs_dir_entry`.
fn write_run(out: &mut MetadataWriter<impl Write>, run: &[Entry<'_>]) -> io::Result<()> {
    let Some(first) = run.first() else { return Ok(()) };
    let mut bytes = Vec::with_capacity(12 + run.len() * 24);
    bytes.extend_from_slice(&(run.len() as u32 - 1).to_le_bytes());
    bytes.extend_from_slice(&(first.inode.block as u32).to_le_bytes());
    bytes.extend_from_slice(&first.number.to_le_bytes());
    for entry in run {
        let delta = entry.number.wrapping_sub(first.number) as u16;
        bytes.extend_from_slice(&entry.inode.offset.to_le_bytes());
        bytes.extend_from_slice(&delta.to_le_bytes());
        bytes.extend_from_slice(&entry.kind.to_le_bytes());
        bytes.extend_from_slice(&(entry.name.len() as u16 - 1).to_le_bytes());
        bytes.extend_from_slice(entry.name);
    }
    out.write(&bytes)
}
