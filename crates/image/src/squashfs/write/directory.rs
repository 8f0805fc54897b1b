//! Directory listings and their index.

use std::io::{self, Write};

use super::metadata::MetadataWriter;
use crate::squashfs::layout::{
    DIR_COUNT, DirEntry, DirHeader, DirIndex, METADATA_SIZE, MetadataPlace, Record as _,
};

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'t> {
    pub(super) name: &'t [u8],
    pub(super) inode: MetadataPlace,
    pub(super) number: u32,
    /// The basic inode type, also where the inode is an extended one.
    pub(super) kind: u16,
}

#[derive(Debug)]
pub(super) struct Listing {
    pub(super) place: MetadataPlace,
    /// Bytes, uncompressed.
    pub(super) len: u64,
    /// [`DirIndex`] and name, one after the other.
    pub(super) index: Vec<u8>,
    pub(super) index_count: usize,
}

/// Writes the listing of one directory, whose entries are in the order of their names.
pub(super) fn write<'t, W: Write>(
    out: &mut MetadataWriter<W>,
    entries: impl Iterator<Item = Name<'t>>,
) -> io::Result<Listing> {
    let mut listing = Listing { place: out.place(), len: 0, index: Vec::new(), index_count: 0 };
    let mut run: Vec<Name<'t>> = Vec::with_capacity(DIR_COUNT);
    // Bytes of the run, and where in the listing the index last pointed.
    let mut run_len = 0u64;
    let mut indexed = 0u64;
    for entry in entries {
        let size = (DirEntry::SIZE + entry.name.len()) as u64;
        if let Some(first) = run.first() {
            let delta = i64::from(entry.number) - i64::from(first.number);
            // One metadata block of listing for each step of the index, so that a look-up reads one block.
            let far = listing.len + run_len + size - indexed > METADATA_SIZE as u64;
            if run.len() == DIR_COUNT
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
            run_len = DirHeader::SIZE as u64;
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

fn push_index(listing: &mut Listing, place: MetadataPlace, name: &[u8]) {
    // The caller checks that the length fits its field; block positions are 32 bits in the format.
    let (index, start_block) = (listing.len as u32, place.block as u32);
    DirIndex { index, start_block, size: name.len() as u32 - 1 }.put(&mut listing.index);
    listing.index.extend_from_slice(name);
    listing.index_count += 1;
}

/// A header and its entries.
fn write_run(out: &mut MetadataWriter<impl Write>, run: &[Name<'_>]) -> io::Result<()> {
    let Some(first) = run.first() else { return Ok(()) };
    let mut bytes = Vec::with_capacity(12 + run.len() * 24);
    let (count, start_block) = (run.len() as u32 - 1, first.inode.block as u32);
    DirHeader { count, start_block, inode_number: first.number }.put(&mut bytes);
    for entry in run {
        let inode_delta = entry.number.wrapping_sub(first.number) as u16;
        let (kind, size) = (entry.kind, entry.name.len() as u16 - 1);
        DirEntry { offset: entry.inode.offset, inode_delta, kind, size }.put(&mut bytes);
        bytes.extend_from_slice(entry.name);
    }
    out.write(&bytes)
}
