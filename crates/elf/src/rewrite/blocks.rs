//! Which bytes are whose, and which of them can stand elsewhere: notes, the interpreter's path, and the tables that only a
//! dynamic entry and a section header point at. No code refers to them by address.

use object::elf;

use super::model::{Model, PADDING};
use crate::ElfError;
use crate::raw::{Phdr, is_address};

/// Largest gap between two blocks that is taken for alignment where there are no section headers to tell. Bytes.
const ALIGNMENT_GAP: u64 = 15;

/// What a movable block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// PT_INTERP's string.
    Interpreter,
    /// Notes that belong together by a PT_NOTE or PT_GNU_PROPERTY.
    Notes,
    /// The table that this dynamic entry points at.
    Table(elf::DynamicTag),
    /// The section header table, which Go's linker puts right behind the program headers. It needs no place in memory.
    Sections,
}

/// A run of bytes that can be moved as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub kind: BlockKind,
    pub offset: u64,
    pub address: u64,
    pub size: u64,
    pub(crate) align: u64,
}

impl Block {
    pub(super) fn end(&self) -> u64 {
        self.offset + self.size
    }

    fn overlaps(&self, start: u64, end: u64) -> bool {
        self.offset < end && start < self.end()
    }
}

/// All ranges of the file that something owns.
#[derive(Debug)]
pub(super) struct Map {
    /// Movable, sorted by offset, without overlaps.
    pub blocks: Vec<Block>,
    /// Immovable: start and end, unsorted.
    fixed: Vec<(u64, u64)>,
    trusted: bool,
}

/// A dynamic entry's table, the section that holds it, and the entry that has its size.
const TABLES: [(elf::DynamicTag, elf::SectionType, Option<elf::DynamicTag>); 11] = [
    (elf::DT_VERSYM, elf::SHT_GNU_VERSYM, None),
    (elf::DT_VERNEED, elf::SHT_GNU_VERNEED, None),
    (elf::DT_VERDEF, elf::SHT_GNU_VERDEF, None),
    (elf::DT_HASH, elf::SHT_HASH, None),
    (elf::DT_GNU_HASH, elf::SHT_GNU_HASH, None),
    (elf::DT_SYMTAB, elf::SHT_DYNSYM, None),
    (elf::DT_STRTAB, elf::SHT_STRTAB, Some(elf::DT_STRSZ)),
    (elf::DT_RELA, elf::SHT_RELA, Some(elf::DT_RELASZ)),
    (elf::DT_REL, elf::SHT_REL, Some(elf::DT_RELSZ)),
    (elf::DT_JMPREL, elf::SHT_NULL, Some(elf::DT_PLTRELSZ)),
    (elf::DT_RELR, elf::SHT_RELR, Some(elf::DT_RELRSZ)),
];

/// Whether a segment only names bytes and nothing is harmed if they stand elsewhere.
pub(super) fn is_movable_segment(p: &Phdr) -> bool {
    let types = [elf::PT_INTERP, elf::PT_NOTE, elf::PT_GNU_PROPERTY];
    types.iter().any(|t| t.0 == p.p_type)
}

impl Map {
    pub(super) fn new(model: &Model<'_, '_>) -> Map {
        let mut candidates = note_blocks(model);
        candidates.extend(table_blocks(model));
        candidates.extend(section_table(model));
        candidates.retain(|b| is_movable(model, b));
        candidates.sort_by_key(|b| (b.offset, b.size));
        candidates.dedup();
        let clash = |b: &Block| candidates.iter().any(|o| o != b && o.overlaps(b.offset, b.end()));
        let blocks: Vec<Block> = candidates.iter().filter(|b| !clash(b)).copied().collect();
        let fixed = fixed_ranges(model, &blocks);
        Map { blocks, fixed, trusted: model.trusted }
    }

    /// The block of a kind.
    pub(super) fn find(&self, kind: BlockKind) -> Option<usize> {
        self.blocks.iter().position(|b| b.kind == kind)
    }

    /// The blocks that have to go so that a range is free; `None` if something else stands there. `gone` went already.
    pub(crate) fn in_the_way(
        &self,
        model: &Model<'_, '_>,
        (start, end): (u64, u64),
        gone: &[usize],
    ) -> Result<Option<Vec<usize>>, ElfError> {
        if end > model.source.len() || self.fixed.iter().any(|&(s, e)| s < end && start < e) {
            return Ok(None);
        }
        let mut at = start;
        let mut out = Vec::new();
        for (i, b) in self.blocks.iter().enumerate().filter(|(_, b)| b.overlaps(start, end)) {
            if b.offset > at && !self.is_gap(model, at, b.offset)? {
                return Ok(None);
            }
            if !gone.contains(&i) {
                out.push(i);
            }
            at = b.end();
        }
        if at < end && !self.is_gap(model, at, end)? {
            return Ok(None);
        }
        Ok(Some(out))
    }

    /// Whether bytes that no block has are nobody's.
    fn is_gap(&self, model: &Model<'_, '_>, start: u64, end: u64) -> Result<bool, ElfError> {
        Ok((self.trusted || end - start <= ALIGNMENT_GAP) && model.source.is_filled(start, end, PADDING)?)
    }

    /// Where the next thing in the file begins that somebody owns, from `offset` on.
    pub(crate) fn next_owned(&self, offset: u64) -> Option<u64> {
        let blocks = self.blocks.iter().map(|b| (b.offset, b.end()));
        let ranges = blocks.chain(self.fixed.iter().copied());
        ranges.filter(|&(s, e)| s < e && e > offset).map(|(s, _)| s.max(offset)).min()
    }
}

/// PT_INTERP; the PT_NOTEs and PT_GNU_PROPERTYs, those that overlap as one; note sections without any.
fn note_blocks(model: &Model<'_, '_>) -> Vec<Block> {
    let mut out: Vec<Block> = Vec::new();
    let mut segments: Vec<&Phdr> = model.layout.phdrs.iter().filter(|p| is_movable_segment(p)).collect();
    segments.retain(|p| p.p_filesz > 0 && model.is_mapped(p) && !model.layout.is_stale(p));
    segments.sort_by_key(|p| (p.p_offset, std::cmp::Reverse(p.p_filesz)));
    for p in segments {
        let interp = p.p_type == elf::PT_INTERP.0;
        let align = if interp { 1 } else { p.p_align.clamp(4, 16).next_power_of_two() };
        match out.last_mut() {
            Some(last) if !interp && last.kind == BlockKind::Notes && p.p_offset < last.end() => {
                last.size = last.end().max(p.file_end()) - last.offset;
                last.align = last.align.max(align);
            }
            _ => out.push(Block {
                kind: if interp { BlockKind::Interpreter } else { BlockKind::Notes },
                offset: p.p_offset,
                address: p.p_vaddr,
                size: p.p_filesz,
                align,
            }),
        }
    }
    let notes = model.sections.iter().filter(|s| s.is_alloc() && s.sh_type == elf::SHT_NOTE.0);
    for s in notes.filter(|s| model.trusted && s.file_size() > 0) {
        if !out.iter().any(|b| b.overlaps(s.sh_offset, s.sh_offset.saturating_add(s.sh_size))) {
            out.push(Block {
                kind: BlockKind::Notes,
                offset: s.sh_offset,
                address: s.sh_addr,
                size: s.sh_size,
                align: s.sh_addralign.clamp(4, 16).next_power_of_two(),
            });
        }
    }
    out
}

fn section_table(model: &Model<'_, '_>) -> Option<Block> {
    let (offset, count) = model.section_table?;
    let size = count.checked_mul(model.layout.format.shdr_size() as u64)?;
    let load = model.layout.phdrs.get(model.load_at(offset, size)?)?;
    let address = load.p_vaddr.checked_add(offset - load.p_offset)?;
    Some(Block { kind: BlockKind::Sections, offset, address, size, align: model.layout.format.word() })
}

fn table_blocks(model: &Model<'_, '_>) -> Vec<Block> {
    let layout = &model.layout;
    let mut out = Vec::new();
    for (tag, sh_type, size_tag) in TABLES {
        let Some(address) = layout.tag(tag) else { continue };
        let Some((offset, left)) = layout.offset_of(address) else { continue };
        let types = [sh_type, elf::SHT_RELA, elf::SHT_REL];
        // DT_JMPREL's section is of either type.
        let types = if tag == elf::DT_JMPREL { &types[1..] } else { &types[..1] };
        let section = model.sections.iter().find(|s| {
            s.is_alloc()
                && s.sh_addr == address
                && s.sh_offset == offset
                && types.iter().any(|t| t.0 == s.sh_type)
        });
        let stored = size_tag.and_then(|t| layout.tag(t));
        let size = match (section, stored) {
            (Some(s), Some(size)) if s.sh_size == size => size,
            (Some(s), None) if size_tag.is_none() => s.sh_size,
            (None, Some(size)) if !model.trusted => size,
            _ => continue,
        };
        let align = section.map_or(0, |s| s.sh_addralign.min(64)).max(layout.format.word());
        if size > 0 && size <= left {
            let align = align.next_power_of_two();
            out.push(Block { kind: BlockKind::Table(tag), offset, address, size, align });
        }
    }
    out
}

/// Whether nothing else has a part of the block or stands across its borders.
fn is_movable(model: &Model<'_, '_>, block: &Block) -> bool {
    let (start, end) = (block.offset, block.end());
    let inside = |s: u64, e: u64| start <= s && e <= end;
    let own = |p: &Phdr| is_movable_segment(p) && inside(p.p_offset, p.file_end());
    let segments = model.naming_segments();
    let sections = model.sections.iter().filter(|s| s.file_size() > 0);
    // An address tag that points into the block, other than the block's own at its start.
    let ranges = model.layout.dynamic.iter().flatten().filter(|d| is_address(d.d_tag));
    let pointed = |d: &&crate::raw::Dyn| {
        let inside = d.d_val >= block.address && d.d_val - block.address < block.size;
        let own = matches!(block.kind, BlockKind::Table(t) if t.0 == d.d_tag) && d.d_val == block.address;
        inside && !own
    };
    segments.filter(|p| block.overlaps(p.p_offset, p.file_end())).all(own)
        && sections
            .filter(|s| block.overlaps(s.sh_offset, s.sh_offset.saturating_add(s.sh_size)))
            .all(|s| inside(s.sh_offset, s.sh_offset.saturating_add(s.sh_size)))
        && !ranges.into_iter().any(|d| pointed(&d))
        && model.load_at(block.offset, block.size).is_some()
}

fn fixed_ranges(model: &Model<'_, '_>, blocks: &[Block]) -> Vec<(u64, u64)> {
    let layout = &model.layout;
    let movable = |s: u64, e: u64| blocks.iter().any(|b| b.offset <= s && e <= b.end());
    let phdrs = (layout.phdrs.len() * layout.format.phdr_size()) as u64;
    let mut out = vec![
        (0, layout.format.ehdr_size() as u64),
        (layout.ehdr.e_phoff, layout.ehdr.e_phoff.saturating_add(phdrs)),
    ];
    if let Some((at, n)) = model.section_table {
        out.push((at, at.saturating_add(n * layout.format.shdr_size() as u64)));
    }
    let sections = model.sections.iter().filter(|s| s.file_size() > 0);
    out.extend(sections.map(|s| (s.sh_offset, s.sh_offset.saturating_add(s.sh_size))));
    let segments = model.naming_segments();
    // PT_GNU_RELRO and PT_TLS lie over sections; without those, what they cover is still not to be touched. PT_PHDR is
    // the program header table.
    let naming = segments.filter(|p| p.p_type != elf::PT_PHDR.0);
    out.extend(naming.map(|p| (p.p_offset, p.file_end())));
    out.retain(|&(s, e)| s < e && !movable(s, e));
    out
}
