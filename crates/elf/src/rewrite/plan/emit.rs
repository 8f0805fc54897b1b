//! The bytes of an arrangement.

use object::elf;

use super::super::RewriteError;
use super::super::blocks::{BlockKind, Map, is_movable_segment};
use super::super::changes::Changes;
use super::super::model::Model;
use super::super::patches::PatchSet;
use super::{Arrangement, Placed, Plan, What, notes};
use crate::layout::Layout;
use crate::raw::{Dyn, Phdr, Shdr};

/// Rooms up to this size are zeroed when their block has left. Bytes.
const MAX_ZEROED: u64 = 64 << 10;
/// Symbols that are read at a time.
const SYMBOLS_AT_ONCE: u64 = 4096;
/// The address of the debugger's map relative to the entry itself. MIPS psABI supplement; binutils include/elf/mips.h.
const DT_MIPS_RLD_MAP_REL: i64 = 0x7000_0035;

/// The tables as they are going to be.
struct Emitter<'a, 's, 'c> {
    model: &'a Model<'s, 'c>,
    patches: PatchSet,
    phdrs: Vec<Phdr>,
    sections: Vec<Shdr>,
    entries: Vec<Dyn>,
}

pub(super) fn emit(
    model: &Model<'_, '_>,
    changes: &Changes,
    map: &Map,
    arrangement: &Arrangement,
) -> Result<Plan, RewriteError> {
    let mut e = Emitter {
        model,
        patches: PatchSet::default(),
        phdrs: model.layout.phdrs.clone(),
        sections: model.sections.clone(),
        entries: changes.entries.iter().map(|e| e.value).collect(),
    };
    // Old rooms are zeroed first; what is written into them comes after.
    for p in &arrangement.placed {
        match p.item.what {
            What::Block(i) => e.zero(map.blocks[i].offset, map.blocks[i].size),
            What::Strings => model.layout.strtab()?.into_iter().for_each(|(at, size)| e.zero(at, size)),
            What::Interpreter => {
                let old = model.layout.segment(elf::PT_INTERP);
                old.into_iter().for_each(|p| e.zero(p.p_offset, p.p_filesz));
            }
            What::Dynamic | What::Phdrs => {}
        }
    }
    if let (Some(_), Some((at, count))) = (arrangement.section_table, model.section_table) {
        e.zero(at, count * model.layout.format.shdr_size() as u64);
    }
    let find = |what: What| arrangement.placed.iter().find(|p| p.item.what == what);
    e.interpreter(changes, find(What::Interpreter))?;
    e.strings(changes, find(What::Strings))?;
    for p in &arrangement.placed {
        if let What::Block(i) = p.item.what {
            e.block(map, i, p)?;
        }
    }
    e.dynamic(changes, find(What::Dynamic))?;
    for gap in &arrangement.gaps {
        let p = &mut e.phdrs[gap.load];
        if gap.at > p.file_end() {
            p.p_filesz = gap.at - p.p_offset;
            p.p_memsz = p.p_filesz;
        }
    }
    e.program_headers(arrangement, find(What::Phdrs))?;
    e.symbols()?;
    e.section_headers(arrangement.section_table)?;
    let patches = e.patches.into_patches();
    let end = patches.last().map_or(0, |p| p.at + p.bytes.len() as u64);
    Ok(Plan { len: end.max(model.source.len()), patches })
}

fn too_wide() -> RewriteError {
    RewriteError::NoRoom("a field of a 32-bit file overflows")
}

impl Emitter<'_, '_, '_> {
    fn layout(&self) -> &Layout {
        &self.model.layout
    }

    fn zero(&mut self, offset: u64, size: u64) {
        if size <= MAX_ZEROED {
            self.patches.write(offset, vec![0; size as usize]);
        }
    }

    fn interpreter(&mut self, changes: &Changes, placed: Option<&Placed>) -> Result<(), RewriteError> {
        let Some(path) = &changes.interpreter else { return Ok(()) };
        let Some(index) = self.phdrs.iter().position(|p| p.p_type == elf::PT_INTERP.0) else { return Ok(()) };
        let old = self.phdrs[index];
        let Some(placed) = placed else {
            // The room stays as large as it was, the rest zero: the next edit may need it. The kernel wants a NUL at
            // its end (fs/binfmt_elf.c) and reads up to the first.
            self.zero(old.p_offset, old.p_filesz);
            self.patches.write(old.p_offset, path.clone());
            return Ok(());
        };
        self.patches.write(placed.offset, path.clone());
        let p = &mut self.phdrs[index];
        p.p_offset = placed.offset;
        p.p_vaddr = placed.address;
        p.p_paddr = placed.address;
        p.p_filesz = placed.item.size;
        p.p_memsz = placed.item.size;
        for s in &mut self.sections {
            if s.is_alloc()
                && s.sh_offset == old.p_offset
                && s.sh_addr == old.p_vaddr
                && s.sh_size == old.p_filesz
            {
                (s.sh_offset, s.sh_addr, s.sh_size) = (placed.offset, placed.address, placed.item.size);
            }
        }
        Ok(())
    }

    fn strings(&mut self, changes: &Changes, placed: Option<&Placed>) -> Result<(), RewriteError> {
        let Some(new) = &changes.strings else { return Ok(()) };
        let Some((offset, size)) = self.layout().strtab()? else { return Ok(()) };
        let address = self.layout().tag(elf::DT_STRTAB).unwrap_or(0);
        let (new_offset, new_address) = match placed {
            Some(placed) => {
                let mut bytes = self.model.source.bytes("DT_STRTAB", offset, new.keep)?;
                bytes.extend_from_slice(&new.tail);
                self.patches.write(placed.offset, bytes);
                self.set_address(elf::DT_STRTAB, placed.address);
                (placed.offset, placed.address)
            }
            None => {
                let mut bytes = new.tail.clone();
                // A shorter path leaves nothing of the longer one.
                bytes.resize(bytes.len().max((size - new.keep) as usize), 0);
                self.patches.write(offset + new.keep, bytes);
                (offset, address)
            }
        };
        for s in &mut self.sections {
            let is_it = s.is_alloc() && s.sh_offset == offset && s.sh_addr == address;
            if is_it && s.sh_type == elf::SHT_STRTAB.0 && s.sh_size >= size {
                (s.sh_offset, s.sh_addr, s.sh_size) = (new_offset, new_address, new.size);
            }
        }
        Ok(())
    }

    fn set_address(&mut self, tag: elf::DynamicTag, address: u64) {
        for d in self.entries.iter_mut().filter(|d| d.d_tag == tag.0) {
            d.d_val = address;
        }
    }

    /// A block moves with all that stands in it.
    fn block(&mut self, map: &Map, index: usize, placed: &Placed) -> Result<(), RewriteError> {
        let block = map.blocks[index];
        let bytes = self.model.source.bytes("block", block.offset, block.size)?;
        self.patches.write(placed.offset, bytes);
        let inside =
            |offset: u64, size: u64| offset >= block.offset && offset.saturating_add(size) <= block.end();
        for p in self.phdrs.iter_mut().filter(|p| is_movable_segment(p) && inside(p.p_offset, p.p_filesz)) {
            let skip = p.p_offset - block.offset;
            p.p_offset = placed.offset + skip;
            p.p_vaddr = placed.address + skip;
            p.p_paddr = p.p_vaddr;
        }
        for s in self.sections.iter_mut().filter(|s| s.is_alloc() && inside(s.sh_offset, s.file_size())) {
            let skip = s.sh_offset - block.offset;
            if s.sh_addr == block.address.wrapping_add(skip) && s.file_size() > 0 {
                s.sh_offset = placed.offset + skip;
                s.sh_addr = placed.address + skip;
            }
        }
        if let BlockKind::Table(tag) = block.kind {
            self.set_address(tag, placed.address);
        }
        Ok(())
    }

    fn dynamic(&mut self, changes: &Changes, placed: Option<&Placed>) -> Result<(), RewriteError> {
        let Some(index) = self.phdrs.iter().position(|p| p.p_type == elf::PT_DYNAMIC.0) else {
            return Ok(());
        };
        let format = self.layout().format;
        let old = self.phdrs[index];
        let size = format.dyn_size();
        let (offset, address, slots) = match placed {
            Some(p) => (p.offset, p.address, self.entries.len() + 1),
            None => (old.p_offset, old.p_vaddr, self.layout().dynamic_slots),
        };
        let is_mips = self.layout().ehdr.e_machine == elf::EM_MIPS.0;
        let mut bytes = Vec::with_capacity(slots * size);
        for (i, (d, entry)) in self.entries.iter().zip(&changes.entries).enumerate() {
            let mut d = *d;
            if let (true, DT_MIPS_RLD_MAP_REL, Some(was)) = (is_mips, d.d_tag, entry.old) {
                let from = old.p_vaddr.wrapping_add((was * size) as u64);
                let to = address.wrapping_add((i * size) as u64);
                d.d_val = d.d_val.wrapping_add(from).wrapping_sub(to);
                if !format.is_64() {
                    d.d_val &= u64::from(u32::MAX);
                }
            }
            bytes.extend(format.dyn_bytes(&d).ok_or_else(too_wide)?);
        }
        bytes.resize(slots * size, 0);
        self.patches.write(offset, bytes);
        if placed.is_some() {
            // The old entries stay: a program may refer to _DYNAMIC, and in the file they are only dead bytes.
            let new_size = (slots * size) as u64;
            let p = &mut self.phdrs[index];
            (p.p_offset, p.p_vaddr, p.p_paddr, p.p_filesz, p.p_memsz) =
                (offset, address, address, new_size, new_size);
            for s in &mut self.sections {
                if s.sh_type == elf::SHT_DYNAMIC.0 && s.sh_offset == old.p_offset {
                    (s.sh_offset, s.sh_addr, s.sh_size) = (offset, address, new_size);
                }
            }
        }
        Ok(())
    }

    fn program_headers(
        &mut self,
        arrangement: &Arrangement,
        moved: Option<&Placed>,
    ) -> Result<(), RewriteError> {
        let format = self.layout().format;
        let ehdr = self.layout().ehdr;
        let old_size = (self.phdrs.len() * format.phdr_size()) as u64;
        if let Some(i) = arrangement.gives_slot {
            let gone = self.phdrs.remove(i);
            if gone.p_type == elf::PT_NOTE.0
                && !self.model.layout.is_stale(&gone)
                && let Some(p) = self.phdrs.iter_mut().find(|p| notes::continues(p, &gone))
            {
                p.p_filesz += gone.p_filesz;
                p.p_memsz = p.p_filesz;
                // The last note's end is padded to 4 only.
                p.p_align = p.p_align.min(gone.p_align);
            }
        }
        if let Some(load) = arrangement.new_load {
            // gABI: PT_LOADs are sorted by p_vaddr; this one is the highest.
            let after = self.phdrs.iter().rposition(|p| p.p_type == elf::PT_LOAD.0).map_or(0, |i| i + 1);
            self.phdrs.insert(after, load);
        }
        let new_size = (self.phdrs.len() * format.phdr_size()) as u64;
        let offset = moved.map_or(ehdr.e_phoff, |p| p.offset);
        for p in self.phdrs.iter_mut().filter(|p| p.p_type == elf::PT_PHDR.0) {
            (p.p_filesz, p.p_memsz) = (new_size, new_size);
            if let Some(placed) = moved {
                (p.p_offset, p.p_vaddr, p.p_paddr) = (placed.offset, placed.address, placed.address);
            }
        }
        if moved.is_some() {
            self.zero(ehdr.e_phoff, old_size);
            // e_phoff follows e_entry, an address.
            let e_phoff = 24 + format.word();
            self.patches.write(e_phoff, format.address_bytes(offset).ok_or_else(too_wide)?);
        }
        let mut bytes = Vec::with_capacity(new_size as usize);
        for p in &self.phdrs {
            bytes.extend(format.phdr_bytes(p).ok_or_else(too_wide)?);
        }
        self.patches.write(offset, bytes);
        let count =
            u16::try_from(self.phdrs.len()).map_err(|_| RewriteError::NoRoom("e_phnum can't count more"))?;
        // Behind e_entry, e_phoff, e_shoff (addresses), e_flags (4), e_ehsize (2), e_phentsize (2).
        let e_phnum = 24 + 3 * format.word() + 8;
        self.patches.write(e_phnum, format.u16_bytes(count));
        Ok(())
    }

    /// Symbols of the sections that moved (_DYNAMIC, a note's label, the sections' own) move along. Nothing that is loaded
    /// refers to them; debuggers and linkers do.
    fn symbols(&mut self) -> Result<(), RewriteError> {
        let format = self.layout().format;
        let size = format.sym_size();
        let pairs = self.sections.iter().zip(&self.model.sections);
        let moves: Vec<Option<u64>> = pairs
            .map(|(new, old)| (new.sh_addr != old.sh_addr).then(|| new.sh_addr.wrapping_sub(old.sh_addr)))
            .collect();
        if moves.iter().all(Option::is_none) {
            return Ok(());
        }
        // Some linkers (aarch64's) call _DYNAMIC absolute.
        let dynamic = self.model.sections.iter().position(|s| s.sh_type == elf::SHT_DYNAMIC.0);
        let absolute =
            |value: u64| dynamic.filter(|&i| self.model.sections.get(i).is_some_and(|s| s.sh_addr == value));
        for (i, table) in self.model.sections.iter().enumerate() {
            if !matches!(elf::SectionType(table.sh_type), elf::SHT_SYMTAB | elf::SHT_DYNSYM) {
                continue;
            }
            let to = self.sections[i].sh_offset;
            let mut done = 0;
            while done + size as u64 <= table.sh_size {
                let step = (table.sh_size - done).min(SYMBOLS_AT_ONCE * size as u64);
                let bytes = self.model.source.bytes("symbols", table.sh_offset.saturating_add(done), step)?;
                for (n, symbol) in bytes.chunks_exact(size).enumerate() {
                    let Some((st_value, st_shndx)) = format.sym(symbol) else { continue };
                    let moved =
                        if st_shndx == elf::SHN_ABS.0 { absolute(st_value) } else { Some(st_shndx.into()) };
                    let Some(Some(delta)) = moved.and_then(|i| moves.get(i)) else { continue };
                    let value = st_value.wrapping_add(*delta);
                    let at = to + done + (n * size) as u64 + format.sym_value_at();
                    self.patches.write(at, format.address_bytes(value).ok_or_else(too_wide)?);
                }
                done += step / size as u64 * size as u64;
            }
        }
        Ok(())
    }

    fn section_headers(&mut self, moved: Option<u64>) -> Result<(), RewriteError> {
        let Some((old_offset, count)) = self.model.section_table else { return Ok(()) };
        let format = self.layout().format;
        let size = format.shdr_size() as u64;
        let offset = moved.unwrap_or(old_offset);
        if moved.is_some() {
            // e_shoff follows two addresses, e_entry and e_phoff.
            let e_shoff = 24 + 2 * format.word();
            self.patches.write(e_shoff, format.address_bytes(offset).ok_or_else(too_wide)?);
            self.patches.write(offset, self.model.source.bytes("section headers", old_offset, count * size)?);
        }
        for (i, (new, old)) in self.sections.iter().zip(&self.model.sections).enumerate() {
            if new != old {
                let bytes = format.shdr_bytes(new).ok_or_else(too_wide)?;
                self.patches.write(offset + i as u64 * size, bytes);
            }
        }
        Ok(())
    }
}
