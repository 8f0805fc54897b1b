//! rpm's own database: slots that say where the headers are. rpm's lib/backend/ndb/rpmpkg.c; numbers are little-endian.

use super::Stop;
use crate::DatabaseError;

/// `RpmP` at the start, `Slot` before each slot, `BlbS` before each header.
const DATABASE: u32 = u32::from_le_bytes(*b"RpmP");
const SLOT: u32 = u32::from_le_bytes(*b"Slot");
const BLOB: u32 = u32::from_le_bytes(*b"BlbS");

/// Bytes.
const PAGE: usize = 4096;
const DATABASE_HEADER: usize = 32;
const SLOT_SIZE: usize = 16;
/// Places are counted in blocks of this size. Bytes.
const BLOCK: usize = 16;
const BLOB_HEADER: usize = 16;

/// Hands over each header.
pub(super) fn blobs(
    bytes: &[u8],
    take: &mut dyn FnMut(&[u8]) -> Result<(), DatabaseError>,
) -> Result<(), Stop> {
    if number(bytes, 0) != Some(DATABASE) {
        return Err("not an ndb database".into());
    }
    let pages = number(bytes, 12).unwrap_or_default() as usize;
    let end = pages.saturating_mul(PAGE).min(bytes.len());
    let slots = bytes.get(DATABASE_HEADER..end).unwrap_or_default();
    // Slots that share their bytes would make much of little.
    let mut budget = bytes.len();
    for slot in slots.as_chunks::<SLOT_SIZE>().0 {
        let package = number(slot, 4);
        if number(slot, 0) != Some(SLOT) || package == Some(0) {
            continue;
        }
        let at = (number(slot, 8).unwrap_or_default() as usize).saturating_mul(BLOCK);
        let Some(head) = bytes.get(at..) else { continue };
        if number(head, 0) != Some(BLOB) || number(head, 4) != package {
            continue;
        }
        let len = number(head, 12).unwrap_or_default() as usize;
        let Some(blob) = head.get(BLOB_HEADER..).and_then(|b| b.get(..len)) else { continue };
        budget = budget.checked_sub(len).ok_or("headers overlap")?;
        take(blob).map_err(Stop::Taken)?;
    }
    Ok(())
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub(in crate::rpm) fn database(headers: &[Vec<u8>]) -> Vec<u8> {
        let mut out: Vec<u8> = [DATABASE, 0, 1, 1, 2, 0, 0, 0].iter().flat_map(|n| n.to_le_bytes()).collect();
        let mut blobs = Vec::new();
        for (i, header) in headers.iter().enumerate() {
            let package = i as u32 + 1;
            let at = ((PAGE + blobs.len()) / BLOCK) as u32;
            out.extend([SLOT, package, at, 0].iter().flat_map(|n| n.to_le_bytes()));
            blobs.extend([BLOB, package, 1, header.len() as u32].iter().flat_map(|n| n.to_le_bytes()));
            blobs.extend(header);
            blobs.resize(blobs.len().next_multiple_of(BLOCK), 0);
        }
        while out.len() < PAGE {
            out.extend([SLOT, 0, 0, 0].iter().flat_map(|n| n.to_le_bytes()));
        }
        out.extend(blobs);
        out
    }
}
