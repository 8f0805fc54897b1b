//! Room that is there already: padding between a PT_LOAD's end and what follows in the file and in memory.

use object::elf;

use super::blocks::Map;
use super::model::{Model, PADDING};
use crate::ElfError;
use crate::raw::Phdr;

/// Room behind a PT_LOAD.
#[derive(Debug, Clone)]
pub(super) struct Gap {
    /// Index among the program headers.
    pub load: usize,
    /// The first free byte of the file.
    pub at: u64,
    /// Where the room ends; `u64::MAX` at the end of the file.
    pub end: u64,
    /// p_vaddr - p_offset, wrapping.
    pub delta: u64,
    flags: u32,
    /// Whether something stands here that has left.
    vacated: bool,
}

impl Gap {
    /// The room that a table of a PT_LOAD leaves behind.
    pub(crate) fn vacated(model: &Model<'_, '_>, load: usize, offset: u64, size: u64) -> Option<Gap> {
        let p = model.layout.phdrs.get(load)?;
        let delta = p.p_vaddr.wrapping_sub(p.p_offset);
        Some(Gap { load, at: offset, end: offset.checked_add(size)?, delta, flags: p.p_flags, vacated: true })
    }

    /// Bytes from `at` on that aligning takes.
    fn pad(&self, align: u64) -> u64 {
        let address = self.at.wrapping_add(self.delta);
        address.wrapping_neg() & (align - 1)
    }

    /// Takes room; its offset.
    pub(super) fn take(
        &mut self,
        model: &Model<'_, '_>,
        size: u64,
        align: u64,
    ) -> Result<Option<u64>, ElfError> {
        let Some(start) = self.at.checked_add(self.pad(align)) else { return Ok(None) };
        let Some(end) = start.checked_add(size).filter(|&e| e <= self.end) else { return Ok(None) };
        // Padding is zero; anything else is somebody's, whoever that is.
        let stored = end.min(model.source.len());
        if !self.vacated && self.at < stored && !model.source.is_filled(self.at, stored, PADDING)? {
            return Ok(None);
        }
        self.at = end;
        Ok(Some(start))
    }

    /// The address of an offset in this gap.
    pub(super) fn address(&self, offset: u64) -> u64 {
        offset.wrapping_add(self.delta)
    }

    pub(crate) fn is_vacated(&self) -> bool {
        self.vacated
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.flags & elf::PF_W.0 != 0
    }
}

fn page_floor(address: u64, page: u64) -> u64 {
    address & !(page - 1)
}

/// The gaps of a file, those that only add to read-only memory first.
pub(super) fn find_gaps(model: &Model<'_, '_>, map: &Map) -> Vec<Gap> {
    let layout = &model.layout;
    let loads: Vec<(usize, &Phdr)> =
        layout.phdrs.iter().enumerate().filter(|(_, p)| p.p_type == elf::PT_LOAD.0).collect();
    let mut out = Vec::new();
    for (n, &(i, p)) in loads.iter().enumerate() {
        // Behind p_filesz there is memory that has to be zero.
        if p.p_filesz != p.p_memsz || p.p_filesz == 0 || p.p_flags & elf::PF_R.0 == 0 {
            continue;
        }
        let at = p.file_end();
        let top = if layout.format.is_64() { u64::MAX } else { u64::from(u32::MAX) };
        let memory = match loads.get(n + 1) {
            Some((_, next)) => page_floor(next.p_vaddr, model.page),
            None => top,
        };
        let Some(room) = memory.checked_sub(p.mem_end()) else { continue };
        let others = loads.iter().filter(|(j, _)| *j != i).map(|(_, o)| o);
        // Another PT_LOAD may map the same bytes; what it maps is not to change.
        let next_load =
            others.filter(|o| o.file_end() > at && o.p_filesz > 0).map(|o| o.p_offset.max(at)).min();
        let len = model.source.len();
        let stop = match (next_load, map.next_owned(at), model.payload) {
            // The file may grow. Padding up to its end is looked at when it is taken.
            (None, None, None) => u64::MAX,
            (a, b, c) => [a, b, c, Some(len)].into_iter().flatten().min().unwrap_or(at),
        };
        let end = stop.min(at.saturating_add(room));
        if end > at {
            let delta = p.p_vaddr.wrapping_sub(p.p_offset);
            out.push(Gap { load: i, at, end, delta, flags: p.p_flags, vacated: false });
        }
    }
    out.sort_by_key(|h| (h.is_writable(), h.flags & elf::PF_X.0 != 0, h.at));
    out
}
