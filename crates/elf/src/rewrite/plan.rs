//! Where everything goes. Pure: what comes out is a list of patches and the file's new length.

use object::elf;
use tree::{Content, Patch};

use super::RewriteError;
use super::blocks::{BlockKind, Map};
use super::changes::Changes;
use super::gaps::{Gap, find_gaps};
use super::model::Model;
use crate::layout::SMALLEST_PAGE;
use crate::raw::Phdr;

mod emit;

mod notes;

/// The program header table grows over blocks up to this size before two PT_NOTEs are made one. Bytes.
const CHEAP_EVICTION: u64 = 4 << 10;
/// The program header table grows over blocks up to this size before the table itself is moved. Bytes.
const DEAR_EVICTION: u64 = 8 << 20;
/// Largest hole that moving the program header table may leave in the file. Bytes.
const MAX_HOLE: u64 = 16 << 20;
/// Largest string table that is copied. Bytes.
const MAX_COPY: u64 = 32 << 20;

/// Something that needs a new place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// The program header table.
    Phdrs,
    /// A block as it is.
    Block(usize),
    Interpreter,
    /// The whole string table with its new end.
    Strings,
    Dynamic,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    what: What,
    size: u64,
    align: u64,
}

/// An item and its new place.
#[derive(Debug, Clone, Copy)]
struct Placed {
    item: Item,
    offset: u64,
    address: u64,
}

/// The decisions, before they are written down as bytes.
#[derive(Debug)]
struct Arrangement {
    placed: Vec<Placed>,
    /// Gaps, with what is taken of them.
    gaps: Vec<Gap>,
    new_load: Option<Phdr>,
    /// The program header whose slot the new PT_LOAD takes: a PT_NULL, a stale PT_NOTE, or one that the one before takes in.
    gives_slot: Option<usize>,
    /// Where the section header table goes, if it leaves its place.
    section_table: Option<u64>,
}

/// What to do to the file.
#[derive(Debug)]
pub(super) struct Plan {
    patches: Vec<Patch>,
    len: u64,
}

impl Plan {
    pub(super) fn new(model: &Model<'_, '_>, changes: &Changes) -> Result<Plan, RewriteError> {
        let map = Map::new(model);
        let arrangement = Arranger { model, changes, map: &map }.arrange()?;
        emit::emit(model, changes, &map, &arrangement)
    }

    pub(super) fn apply(self, content: &Content) -> Result<Content, RewriteError> {
        Ok(content.patched(self.len, self.patches).map_err(crate::ElfError::from)?)
    }
}

/// Where the program header table gets room for one more entry.
enum Slot {
    /// This header is not needed.
    Reuse(usize),
    /// The blocks that stand behind the table leave.
    Evict(Vec<usize>),
    Move,
}

struct Arranger<'a, 's, 'c> {
    model: &'a Model<'s, 'c>,
    changes: &'a Changes,
    map: &'a Map,
}

fn align_up(value: u64, align: u64) -> Option<u64> {
    value.checked_next_multiple_of(align)
}

impl Arranger<'_, '_, '_> {
    fn arrange(&self) -> Result<Arrangement, RewriteError> {
        let mut gaps = find_gaps(self.model, self.map);
        let items = self.items(&[], &mut gaps)?;
        self.add_vacated(&items, &[], &mut gaps)?;
        let (placed, left) = self.place(items, &mut gaps)?;
        if left.is_empty() {
            return Ok(Arrangement { placed, gaps, new_load: None, gives_slot: None, section_table: None });
        }
        if let Some(at) = self.model.payload {
            let needed = left.iter().map(|i| i.size).sum();
            return Err(RewriteError::Payload { at, len: self.model.source.len() - at, needed });
        }
        let slot = self.slot()?;
        let mut gone = if let Slot::Evict(blocks) = &slot { blocks.clone() } else { Vec::new() };
        let mut gaps = super::gaps::find_gaps(self.model, self.map);
        let mut end = self.model.source.len();
        let mut section_table = None;
        if let Some(i) = self.map.find(BlockKind::Sections).filter(|i| gone.contains(i)) {
            // Before the new segment, which is the one to grow at the next edit.
            gone.retain(|&g| g != i);
            let block = &self.map.blocks[i];
            let at = align_up(end, block.align).ok_or(RewriteError::NoRoom("the file is too large"))?;
            section_table = Some(at);
            gaps.iter_mut().for_each(|h| h.end = h.end.min(end));
            end = at.saturating_add(block.size);
        }
        let items = self.items(&gone, &mut gaps)?;
        self.add_vacated(&items, &gone, &mut gaps)?;
        let (mut placed, mut left) = self.place(items, &mut gaps)?;
        if matches!(slot, Slot::Move) {
            left.insert(0, Item { what: What::Phdrs, size: self.phdrs_size(1), align: 8 });
        }
        let new_load = match left.is_empty() {
            true => None,
            false => Some(self.new_load(end, &left, &mut placed)?),
        };
        let gives_slot = match slot {
            Slot::Reuse(index) if new_load.is_some() => Some(index),
            _ => None,
        };
        let section_table = section_table.filter(|_| new_load.is_some());
        Ok(Arrangement { placed, gaps, new_load, gives_slot, section_table })
    }

    /// Bytes of the program header table with some more entries.
    fn phdrs_size(&self, more: usize) -> u64 {
        let layout = &self.model.layout;
        ((layout.phdrs.len() + more) * layout.format.phdr_size()) as u64
    }

    /// What needs a new place if the blocks `gone` have to leave theirs.
    fn items(&self, gone: &[usize], gaps: &mut [Gap]) -> Result<Vec<Item>, RewriteError> {
        let mut gone = gone.to_vec();
        let mut items = Vec::new();
        let strings = BlockKind::Table(elf::DT_STRTAB);
        let moved = self.map.find(strings).is_some_and(|i| gone.contains(&i));
        if let Some(size) = self.strings_to_move(moved, &mut gone, gaps)? {
            if size > MAX_COPY {
                return Err(RewriteError::NoRoom("the dynamic string table is too large to be copied"));
            }
            gone.retain(|&i| self.map.blocks[i].kind != strings);
            items.push(Item { what: What::Strings, size, align: 1 });
        }
        let interp = self.map.find(BlockKind::Interpreter);
        let evicted = interp.is_some_and(|i| gone.contains(&i));
        if let Some(path) = &self.changes.interpreter {
            let room = self.model.layout.segment(elf::PT_INTERP).map_or(0, |p| p.p_filesz);
            if evicted || path.len() as u64 > room {
                gone.retain(|&i| Some(i) != interp);
                items.push(Item { what: What::Interpreter, size: path.len() as u64, align: 1 });
            }
        }
        let slots = self.changes.entries.len() + 1;
        if slots > self.model.layout.dynamic_slots {
            let size = (slots * self.model.layout.format.dyn_size()) as u64;
            items.push(Item { what: What::Dynamic, size, align: 16 });
        }
        items.extend(gone.iter().map(|&i| {
            let block = &self.map.blocks[i];
            Item { what: What::Block(i), size: block.size, align: block.align }
        }));
        // Strings last: they are what grows at the next edit, and can do so in place there.
        items.sort_by_key(|i| {
            (i.what == What::Strings, std::cmp::Reverse(i.align), std::cmp::Reverse(i.size))
        });
        Ok(items)
    }

    /// The size of the string table if it can't stay where it is. Blocks that move out of its way are added to `gone`.
    fn strings_to_move(
        &self,
        evicted: bool,
        gone: &mut Vec<usize>,
        gaps: &mut [Gap],
    ) -> Result<Option<u64>, RewriteError> {
        let Some(new) = &self.changes.strings else { return Ok(None) };
        let missing = RewriteError::Malformed("there is no DT_STRTAB");
        let (offset, size) = self.model.layout.strtab()?.ok_or(missing)?;
        if evicted {
            return Ok(Some(new.size));
        }
        if new.size <= size {
            return Ok(None);
        }
        let end = offset + size;
        let Some(load) = self.model.load_at(offset, size) else { return Ok(Some(new.size)) };
        let load_end = self.model.layout.phdrs[load].file_end();
        let range = (end, offset + new.size);
        // Nothing but padding up to the PT_LOAD's end: it grows with the table. A table that leaves may have been all that
        // stood in the PT_LOAD, as patchelf has it, and strip then writes one that loaders refuse.
        let is_last = end <= load_end
            && (end == load_end
                || self.map.in_the_way(self.model, (end, load_end), &[])?.is_some_and(|b| b.is_empty()));
        if is_last && range.1 > load_end {
            let gap = gaps.iter_mut().find(|h| h.load == load && h.at == load_end);
            let grown = gap.map(|h| h.take(self.model, range.1 - load_end, 1)).transpose()?.flatten();
            return Ok(grown.is_none().then_some(new.size));
        }
        if range.1 > load_end {
            return Ok(Some(new.size));
        }
        let section_table = self.map.find(BlockKind::Sections);
        match self.map.in_the_way(self.model, range, gone)? {
            Some(blocks) if blocks.iter().any(|&i| Some(i) == section_table) => Ok(Some(new.size)),
            Some(blocks) if blocks.iter().map(|&i| self.map.blocks[i].size).sum::<u64>() <= new.size => {
                gone.extend(blocks);
                Ok(None)
            }
            _ => Ok(Some(new.size)),
        }
    }

    /// Where the string table leaves its place as a whole, and not for the program headers, that place is a gap.
    fn add_vacated(&self, items: &[Item], gone: &[usize], gaps: &mut Vec<Gap>) -> Result<(), RewriteError> {
        let whole = items.iter().any(|i| i.what == What::Strings);
        let evicted = self.map.find(BlockKind::Table(elf::DT_STRTAB));
        // Only a table of its own: one that shares its bytes is not in the map.
        let (true, Some(block)) = (whole, evicted.filter(|i| !gone.contains(i))) else { return Ok(()) };
        let block = &self.map.blocks[block];
        let load = self.model.load_at(block.offset, block.size);
        let gap = load.and_then(|load| Gap::vacated(self.model, load, block.offset, block.size));
        gaps.splice(0..0, gap);
        Ok(())
    }

    /// Puts items where there is room; the rest comes back.
    fn place(&self, items: Vec<Item>, gaps: &mut [Gap]) -> Result<(Vec<Placed>, Vec<Item>), RewriteError> {
        let mut placed = Vec::new();
        let mut left = Vec::new();
        'items: for item in items {
            for gap in gaps.iter_mut() {
                // Loaders store into the dynamic entries.
                if item.what == What::Dynamic && !gap.is_writable()
                    || item.what == What::Strings && gap.is_vacated()
                {
                    continue;
                }
                if let Some(offset) = gap.take(self.model, item.size, item.align)? {
                    placed.push(Placed { item, offset, address: gap.address(offset) });
                    continue 'items;
                }
            }
            left.push(item);
        }
        Ok((placed, left))
    }

    fn slot(&self) -> Result<Slot, RewriteError> {
        let layout = &self.model.layout;
        let is_spare =
            |p: &Phdr| p.p_type == elf::PT_NULL.0 || (p.p_type == elf::PT_NOTE.0 && layout.is_stale(p));
        if let Some(i) = layout.phdrs.iter().position(is_spare) {
            return Ok(Slot::Reuse(i));
        }
        if layout.phdrs.len() + 1 >= usize::from(elf::PN_XNUM) {
            return Err(RewriteError::NoRoom("e_phnum can't count more"));
        }
        let (start, size) = (layout.ehdr.e_phoff, self.phdrs_size(0));
        let range = (start + size, start + self.phdrs_size(1));
        let has_phdr = layout.segment(elf::PT_PHDR).is_some();
        let load = self.model.load_at(start, size);
        let fits = match load {
            Some(i) => layout.phdrs[i].file_end() >= range.1,
            None => !has_phdr,
        };
        let blocks = if fits { self.map.in_the_way(self.model, range, &[])? } else { None };
        let price = blocks.as_ref().map(|b| b.iter().map(|&i| self.map.blocks[i].size).sum::<u64>());
        let hole = self.moved_start().map(|(offset, _)| offset.saturating_sub(self.model.source.len()));
        match (blocks, price, hole) {
            (Some(blocks), Some(price), _) if price <= CHEAP_EVICTION => Ok(Slot::Evict(blocks)),
            // Before the table is moved: binutils' strip puts a moved table back to where there is no room for it.
            _ if let Some(i) = notes::redundant(self.model)? => Ok(Slot::Reuse(i)),
            (Some(blocks), Some(price), _) if price <= DEAR_EVICTION => Ok(Slot::Evict(blocks)),
            (_, _, Some(hole)) if hole <= MAX_HOLE => Ok(Slot::Move),
            (Some(blocks), _, _) => Ok(Slot::Evict(blocks)),
            (None, _, Some(_)) => {
                Err(RewriteError::NoRoom("a moved table would leave a hole of over 16 MiB"))
            }
            (None, _, None) => Err(RewriteError::NoRoom("the address space ends")),
        }
    }

    /// The first page behind all PT_LOADs.
    fn free_address(&self) -> Option<u64> {
        let end = self.model.layout.loads().map(Phdr::mem_end).max()?;
        align_up(end, self.model.page)
    }

    /// Offset and address of a new segment that differ by as much as the first PT_LOAD's.
    fn moved_start(&self) -> Option<(u64, u64)> {
        let first = self.model.layout.loads().next()?;
        let delta = first.p_vaddr.checked_sub(first.p_offset)?;
        let by_memory = self.free_address()?.checked_sub(delta)?;
        let offset = align_up(self.model.source.len(), 16)?.max(by_memory);
        Some((offset, offset.checked_add(delta)?))
    }

    /// One PT_LOAD behind `end`, the end of the file, for all items that found no room.
    fn new_load(&self, end: u64, items: &[Item], placed: &mut Vec<Placed>) -> Result<Phdr, RewriteError> {
        let no_room = RewriteError::NoRoom("the address space ends");
        let layout = &self.model.layout;
        let mut align = self.model.align;
        let moves_phdrs = items.iter().any(|i| i.what == What::Phdrs);
        let start = if moves_phdrs {
            self.moved_start()
        } else {
            let most = items.iter().map(|i| i.align).max().unwrap_or(1);
            align_up(end, most).zip(self.free_address()).and_then(|(offset, base)| {
                // The lowest address that is congruent to the offset, so that the file needs no padding.
                Some((offset, base.checked_add(offset.wrapping_sub(base) & (align - 1))?))
            })
        };
        let Some((offset, address)) = start else { return Err(no_room) };
        if offset % align != address % align {
            // A moved table follows the first PT_LOAD, which may be congruent modulo the page only.
            align = self.model.page.min(SMALLEST_PAGE);
        }
        let mut size = 0u64;
        let mut writable = 0;
        for &item in items {
            let at =
                align_up(address + size, item.align).ok_or(RewriteError::NoRoom("the address space ends"))?;
            size = at - address;
            placed.push(Placed { item, offset: offset + size, address: at });
            size += item.size;
            if item.what == What::Dynamic {
                writable = elf::PF_W.0;
            }
        }
        let top = if layout.format.is_64() { u64::MAX } else { u64::from(u32::MAX) };
        if address.checked_add(size).is_none_or(|e| e > top)
            || offset.checked_add(size).is_none_or(|e| e > top)
        {
            return Err(no_room);
        }
        Ok(Phdr {
            p_type: elf::PT_LOAD.0,
            p_flags: elf::PF_R.0 | writable,
            p_offset: offset,
            p_vaddr: address,
            p_paddr: address,
            p_filesz: size,
            p_memsz: size,
            p_align: align,
        })
    }
}
