//! The result, read again and held against the original.

use object::elf;
use tree::Content;

use super::model::Model;
use super::{Edit, needed};
use crate::layout::Layout;
use crate::raw::{Phdr, Shdr};
use crate::source::Source;
use crate::{Elf, ElfError};

/// How a result differs from what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// It can't be read again.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// A property that has to hold doesn't.
    #[error("{0}")]
    Broken(&'static str),
    /// A dynamic entry has another value, or its table has other bytes.
    #[error("dynamic entry {0:#x} doesn't lead to what it led to before")]
    Dynamic(i64),
    /// A section header points elsewhere than its address.
    #[error("section {0} is not in a PT_LOAD at its address")]
    Section(usize),
}

fn ensure(holds: bool, what: &'static str) -> Result<(), CheckError> {
    if holds { Ok(()) } else { Err(CheckError::Broken(what)) }
}

pub(super) fn check(old: &Model<'_, '_>, edit: &Edit, content: &Content) -> Result<(), CheckError> {
    let source = Source::new(content);
    let layout = Layout::read(&source)?.ok_or(CheckError::Broken("it is no ELF file"))?;
    let elf = Elf::from_layout(&source, &layout)?;
    what_it_says(&old.elf, edit, &elf)?;
    segments(old, &layout, source.len())?;
    ensure(notes(old.source, &old.layout)? == notes(&source, &layout)?, "the notes changed")?;
    tables(old, edit, &source, &layout)?;
    sections(old, &layout)
}

/// All but what the edit names is as before.
fn what_it_says(old: &Elf, edit: &Edit, new: &Elf) -> Result<(), CheckError> {
    let interpreter = edit.interpreter.as_ref().or(old.interpreter.as_ref());
    ensure(new.interpreter.as_ref() == interpreter, "PT_INTERP is not what was asked for")?;
    match edit.runpath.as_ref() {
        Some(path) => {
            let path = Some(path).filter(|p| !p.is_empty());
            let (rpath, runpath) = if edit.force_rpath { (path, None) } else { (None, path) };
            ensure(
                new.rpath.as_ref() == rpath && new.runpath.as_ref() == runpath,
                "the run path is not what was asked for",
            )?;
        }
        None => ensure(new.rpath == old.rpath && new.runpath == old.runpath, "the run path changed")?,
    }
    let nodeflib = if edit.nodeflib { elf::DF_1_NODEFLIB.0 } else { 0 };
    ensure(new.flags_1 == old.flags_1 | nodeflib, "DT_FLAGS_1 is not what was asked for")?;
    ensure(new.kind == old.kind, "its kind changed")?;
    ensure(new.flags == old.flags, "DT_FLAGS changed")?;
    ensure(new.soname == old.soname, "DT_SONAME changed")?;
    ensure(needed::is_done(old, edit, new), "DT_NEEDED or DT_VERNEED is not what was asked for")?;
    ensure(
        new.dlopen == old.dlopen && new.defects.len() == old.defects.len(),
        "notes or section headers changed",
    )
}

fn segments(old: &Model<'_, '_>, layout: &Layout, len: u64) -> Result<(), CheckError> {
    let maps = |p: &Phdr| matches!(layout.offset_of(p.p_vaddr), Some((at, left)) if at == p.p_offset && left >= p.p_filesz);
    let mut end = 0;
    let mut page_end = 0;
    let mut before = old.layout.loads();
    for p in layout.loads() {
        ensure(
            p.file_end() <= len && p.p_filesz <= p.p_memsz,
            "a PT_LOAD reaches behind the end of the file",
        )?;
        ensure(p.p_vaddr >= end, "PT_LOADs overlap or are not sorted")?;
        match before.next() {
            Some(o) => {
                let same = (p.p_flags, p.p_offset, p.p_vaddr, p.p_paddr, p.p_align)
                    == (o.p_flags, o.p_offset, o.p_vaddr, o.p_paddr, o.p_align);
                let grown = (o.p_filesz == p.p_filesz && o.p_memsz == p.p_memsz)
                    || (o.p_filesz == o.p_memsz && p.p_filesz == p.p_memsz && p.p_filesz > o.p_filesz);
                ensure(same && grown, "a PT_LOAD of the original changed")?;
                // Only segments that grew are new neighbours in a page.
                if p.p_vaddr & !(old.page - 1) < page_end {
                    return Err(CheckError::Broken("a grown PT_LOAD reaches into the next one's page"));
                }
                page_end = if o.p_filesz == p.p_filesz { 0 } else { p.mem_end() };
            }
            None => {
                let align = p.p_align.max(1);
                ensure(
                    p.p_offset % align == p.p_vaddr % align,
                    "the new PT_LOAD is not congruent modulo p_align",
                )?;
                let last = old.layout.loads().map(Phdr::mem_end).max().unwrap_or(0).max(end);
                ensure(
                    p.p_vaddr & !(old.page - 1) >= last.next_multiple_of(old.page),
                    "the new PT_LOAD shares a page with another one",
                )?;
            }
        }
        end = p.mem_end();
    }
    ensure(before.next().is_none(), "a PT_LOAD is missing")?;
    // The slot of a PT_NULL may have been used, and one PT_NOTE may stand for two.
    let gone = [elf::PT_LOAD, elf::PT_NULL, elf::PT_NOTE];
    let kept = |p: &&Phdr| gone.iter().all(|t| t.0 != p.p_type);
    let mut rest = layout.phdrs.iter().filter(kept);
    for o in old.layout.phdrs.iter().filter(kept) {
        let p = rest.next().ok_or(CheckError::Broken("a program header is missing"))?;
        ensure(p.p_type == o.p_type && p.p_flags == o.p_flags, "program headers changed their order")?;
        if p != o && !old.is_mapped(o) {
            return Err(CheckError::Broken("a program header changed that wasn't mapped"));
        }
    }
    ensure(rest.next().is_none(), "there is a program header too many")?;
    named_segments(layout, &maps)
}

/// The bytes of all PT_NOTEs, which have to be where their addresses say.
fn notes(source: &Source<'_>, layout: &Layout) -> Result<Option<Vec<u8>>, ElfError> {
    let mut out = Vec::new();
    for p in layout.phdrs.iter().filter(|p| p.p_type == elf::PT_NOTE.0 && !layout.is_stale(p)) {
        match layout.offset_of(p.p_vaddr) {
            Some((at, left)) if at == p.p_offset && left >= p.p_filesz => {}
            // As it may have been; then nothing could be moved either.
            _ => return Ok(None),
        }
        out.extend(source.bytes("PT_NOTE", p.p_offset, p.p_filesz)?);
    }
    Ok(Some(out))
}

fn named_segments(layout: &Layout, maps: &dyn Fn(&Phdr) -> bool) -> Result<(), CheckError> {
    for p in &layout.phdrs {
        match elf::ProgramType(p.p_type) {
            elf::PT_INTERP => ensure(maps(p), "PT_INTERP is not in a PT_LOAD at its address")?,
            elf::PT_DYNAMIC => ensure(maps(p), "PT_DYNAMIC is not in a PT_LOAD at its address")?,
            elf::PT_GNU_PROPERTY => ensure(maps(p), "PT_GNU_PROPERTY is not in a PT_LOAD at its address")?,
            elf::PT_PHDR => {
                let size = (layout.phdrs.len() * layout.format.phdr_size()) as u64;
                ensure(maps(p), "PT_PHDR is not in a PT_LOAD at its address")?;
                ensure(p.p_offset == layout.ehdr.e_phoff && p.p_filesz == size, "PT_PHDR is not the table")?;
                // What kernels before 5.18 and qemu-user take for AT_PHDR.
                let first = layout.loads().next().map(|l| l.p_vaddr.wrapping_sub(l.p_offset));
                ensure(first == Some(p.p_vaddr.wrapping_sub(p.p_offset)), "AT_PHDR would be wrong")?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Each dynamic entry has its value, or points at a table with the same bytes.
fn tables(old: &Model<'_, '_>, edit: &Edit, source: &Source<'_>, layout: &Layout) -> Result<(), CheckError> {
    let old_entries = old.layout.dynamic.as_deref().unwrap_or_default();
    let new_entries = layout.dynamic.as_deref().unwrap_or_default();
    ensure(layout.dynamic_slots > new_entries.len(), "PT_DYNAMIC has no DT_NULL at its end")?;
    let is_path = |tag: i64| tag == elf::DT_RPATH.0 || tag == elf::DT_RUNPATH.0;
    // Compared above.
    let skip = |tag: i64| {
        (is_path(tag) && edit.runpath.is_some())
            || (needed::is_library(tag) && !(edit.needed.is_empty() && edit.add_needed.is_empty()))
            || tag == elf::DT_FLAGS_1.0
            || tag == elf::DT_STRSZ.0
    };
    let mut news = new_entries.iter().filter(|d| !skip(d.d_tag));
    for o in old_entries.iter().filter(|d| !skip(d.d_tag)) {
        let changed = CheckError::Dynamic(o.d_tag);
        let Some(n) = news.next().filter(|n| n.d_tag == o.d_tag) else { return Err(changed) };
        if n.d_val == o.d_val {
            continue;
        }
        if o.d_tag == elf::DT_VERNEED.0 && !edit.needed.is_empty() {
            continue;
        }
        // The debugger's map moved by as much as its entry.
        if o.d_tag >= elf::DT_LOPROC && o.d_tag < elf::DT_AUXILIARY.0 {
            continue;
        }
        let from = old.layout.offset_of(o.d_val);
        let to = layout.offset_of(n.d_val);
        let (Some((from, a)), Some((to, b))) = (from, to) else { return Err(changed) };
        let size = table_size(old, o.d_tag, o.d_val).filter(|&s| s <= a && s <= b);
        let same = match size {
            Some(size) if o.d_tag == elf::DT_SYMTAB.0 => {
                same_symbols(&Side(old.source, &old.layout, from), &Side(source, layout, to), size)
            }
            Some(size) => same_bytes(old.source, from, source, to, size),
            None => Ok(false),
        };
        if !same.unwrap_or(false) {
            return Err(changed);
        }
    }
    ensure(news.next().is_none(), "there are more dynamic entries than expected")
}

/// Bytes of a table that are to be found at its new place. The string table may have lost an old run path at its end.
fn table_size(old: &Model<'_, '_>, tag: i64, address: u64) -> Option<u64> {
    let size_of = |t: elf::DynamicTag| old.layout.tag(t);
    match elf::DynamicTag(tag) {
        elf::DT_STRTAB => {
            let paths = [elf::DT_RPATH, elf::DT_RUNPATH].into_iter().filter_map(size_of);
            let own = paths.filter_map(|d| d.checked_sub(super::changes::MARK.len() as u64)).min();
            let size = size_of(elf::DT_STRSZ)?;
            Some(own.map_or(size, |own| own.min(size)))
        }
        elf::DT_RELA => size_of(elf::DT_RELASZ),
        elf::DT_REL => size_of(elf::DT_RELSZ),
        elf::DT_JMPREL => size_of(elf::DT_PLTRELSZ),
        elf::DT_RELR => size_of(elf::DT_RELRSZ),
        _ => old.sections.iter().find(|s| s.is_alloc() && s.sh_addr == address).map(|s| s.sh_size),
    }
}

/// A file and the offset of its table.
struct Side<'a>(&'a Source<'a>, &'a Layout, u64);

/// Whether the symbols are the same, but for those of notes that moved (Dart's build id): they lead to the same bytes.
fn same_symbols(old: &Side<'_>, new: &Side<'_>, size: u64) -> Result<bool, ElfError> {
    let format = old.1.format;
    let step = format.sym_size() as u64;
    let word = format.word() as usize;
    let at = format.sym_value_at() as usize;
    for n in 0..size / step {
        let mut a = old.0.bytes("symbol", old.2 + n * step, step)?;
        let mut b = new.0.bytes("symbol", new.2 + n * step, step)?;
        if a == b {
            continue;
        }
        let (Some((from, _)), Some((to, _))) = (format.sym(&a), format.sym(&b)) else { return Ok(false) };
        let (Some((from, left)), Some((to, right))) = (old.1.offset_of(from), new.1.offset_of(to)) else {
            return Ok(false);
        };
        a[at..at + word].fill(0);
        b[at..at + word].fill(0);
        if a != b || !same_bytes(old.0, from, new.0, to, left.min(right).min(8))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_bytes(a: &Source<'_>, a_at: u64, b: &Source<'_>, b_at: u64, size: u64) -> Result<bool, ElfError> {
    let mut done = 0;
    while done < size {
        let step = (size - done).min(64 << 10);
        if a.bytes("table", a_at + done, step)? != b.bytes("table", b_at + done, step)? {
            return Ok(false);
        }
        done += step;
    }
    Ok(true)
}

/// Section headers say where things are, as far as they did before; no two lie over each other.
fn sections(old: &Model<'_, '_>, layout: &Layout) -> Result<(), CheckError> {
    let new = layout.sections.list();
    ensure(new.len() == old.sections.len(), "section headers are missing")?;
    if !old.trusted {
        return Ok(());
    }
    let mut ranges = Vec::new();
    for (i, s) in new.iter().enumerate().filter(|(_, s)| s.is_alloc() && s.file_size() > 0) {
        match layout.offset_of(s.sh_addr) {
            Some((at, left)) if at == s.sh_offset && left >= s.sh_size => {}
            _ => return Err(CheckError::Section(i)),
        }
        ranges.push((s.sh_offset, s.sh_offset.saturating_add(s.sh_size), i));
    }
    let overlap = |list: &[(u64, u64, usize)]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list.windows(2).any(|w| w[1].0 < w[0].1)
    };
    let before = |s: &&Shdr| s.is_alloc() && s.file_size() > 0;
    let old_ranges: Vec<_> = (old.sections.iter().filter(before))
        .map(|s| (s.sh_offset, s.sh_offset.saturating_add(s.sh_size), 0))
        .collect();
    ensure(!overlap(&ranges) || overlap(&old_ranges), "sections overlap")
}
