//! Sparse files: GNU's old format and the three versions within PAX. GNU tar manual, "Storing Sparse Files".

use super::header::{BLOCK, Header, size};
use super::pax::{self, decimal};
use super::{Limits, Problem};
use crate::Extent;

/// Where the data of a sparse file goes: flat pairs of offset and length, and the file's size.
pub(super) struct Map {
    pub pairs: Vec<u64>,
    pub size: u64,
    /// Bytes of the archive's data area that the map itself takes.
    pub(crate) map_len: u64,
}

/// Reads a block of the archive at an offset behind the header.
pub(super) type ReadBlock<'a> = dyn FnMut(u64) -> Result<[u8; BLOCK], Problem> + 'a;

fn check_count(pairs: &[u64], limits: &Limits) -> Result<(), Problem> {
    if pairs.len() / 2 > limits.extents {
        return Err(Problem::Limit { what: "number of data runs", limit: limits.extents as u64 });
    }
    Ok(())
}

/// Old GNU format (type `S`). The extension blocks stand in front of the data and don't count in the header's size.
pub(super) fn old_gnu(
    header: &Header<'_>,
    limits: &Limits,
    read: &mut ReadBlock<'_>,
) -> Result<Map, Problem> {
    let (first, mut more, real_size) = header.gnu_sparse()?;
    let mut pairs = Vec::new();
    let mut map_len = 0;
    let mut add = |entries: &[u8]| -> Result<(), Problem> {
        for entry in entries.chunks_exact(24) {
            if entry[0] == 0 {
                break;
            }
            pairs.push(size("sparse offset", &entry[..12])?);
            pairs.push(size("sparse length", &entry[12..])?);
        }
        check_count(&pairs, limits)
    };
    add(first)?;
    let mut blocks = limits.extents / 21 + 2;
    while more {
        let block = read(map_len)?;
        map_len += BLOCK as u64;
        add(&block[..504])?;
        more = block[504] != 0;
        // Blocks without entries are no reason to go on for ever.
        blocks = blocks.checked_sub(1).ok_or(Problem::Sparse("map has empty blocks"))?;
    }
    Ok(Map { pairs, size: real_size, map_len })
}

/// The PAX versions. None if the file isn't sparse.
pub(super) fn pax(
    sparse: &pax::Sparse,
    data_len: u64,
    limits: &Limits,
    read: &mut ReadBlock<'_>,
) -> Result<Option<Map>, Problem> {
    let version = (sparse.major.as_deref(), sparse.minor.as_deref());
    let in_header = match version {
        (Some(b"1"), Some(b"0")) => false,
        (Some(b"0"), Some(b"0" | b"1")) => true,
        (None, None) if sparse.map.is_some() || sparse.blocks == Some(0) => true,
        (None, None) => return Ok(None),
        _ => return Err(Problem::Sparse("its version is not 0.0, 0.1 or 1.0")),
    };
    let size = sparse.size.ok_or(Problem::Sparse("its size is missing"))?;
    if in_header {
        let pairs = sparse.map.clone().unwrap_or_default();
        if !pairs.len().is_multiple_of(2) || sparse.blocks.is_some_and(|n| n != pairs.len() as u64 / 2) {
            return Err(Problem::Sparse("its map has another length than it says"));
        }
        check_count(&pairs, limits)?;
        return Ok(Some(Map { pairs, size, map_len: 0 }));
    }
    // Decimal numbers, a newline behind each: their count in pairs, then the pairs; padded to a block.
    let mut map_len = 0;
    let mut pending: Vec<u8> = Vec::new();
    let mut expected = None;
    let mut pairs: Vec<u64> = Vec::new();
    loop {
        if map_len + BLOCK as u64 > data_len.next_multiple_of(BLOCK as u64) {
            return Err(Problem::Sparse("its map is longer than its data"));
        }
        let block = read(map_len)?;
        map_len += BLOCK as u64;
        for &b in &block {
            if b != b'\n' {
                pending.push(b);
                if pending.len() > 20 {
                    return Err(Problem::Sparse("its map is not a list of numbers"));
                }
                continue;
            }
            let number = decimal("sparse map", &std::mem::take(&mut pending))?;
            match expected {
                None => {
                    let count = usize::try_from(number).ok().filter(|&n| n <= limits.extents);
                    let limit = limits.extents as u64;
                    let count = count.ok_or(Problem::Limit { what: "number of data runs", limit })?;
                    expected = Some(2 * count);
                }
                Some(_) => pairs.push(number),
            }
            if expected == Some(pairs.len()) {
                return Ok(Some(Map { pairs, size, map_len }));
            }
        }
    }
}

/// The extents of a file whose stored data starts at `offset` and has `stored` bytes.
pub(super) fn extents(map: &Map, offset: u64, stored: u64) -> Result<Vec<Extent>, Problem> {
    let mut extents: Vec<Extent> = Vec::new();
    let (mut end, mut used) = (0, 0u64);
    for pair in map.pairs.chunks_exact(2) {
        let (at, len) = (pair[0], pair[1]);
        let next = at.checked_add(len).filter(|&n| at >= end && n <= map.size);
        end = next.ok_or(Problem::Sparse("its data runs overlap, are out of order or reach past its end"))?;
        let from = used;
        let next = used.checked_add(len).filter(|&u| u <= stored);
        used = next.ok_or(Problem::Sparse("its data runs are longer than the data"))?;
        // The last pair is often an empty one at the end of the file, which only says how long it is.
        if len > 0 {
            extents.push(Extent { at, offset: offset + from, len });
        }
    }
    Ok(extents)
}
