//! A file's tables: header, program headers, dynamic entries and, on request, section headers.

use object::elf;

use crate::ElfError;
use crate::raw::{Dyn, EHDR_MAX, Ehdr, Format, Phdr, Shdr};
use crate::source::Source;

mod pages;
pub(crate) use pages::{SMALLEST_PAGE, largest_page};

/// Most dynamic entries that are believed. A linker writes some thirty and one for each DT_NEEDED.
const MAX_DYNAMIC: u64 = 1 << 16;
/// Most section headers that are believed. Files with more than 65,279 exist (-ffunction-sections).
const MAX_SECTIONS: u64 = 1 << 18;

/// What the file's headers say.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub format: Format,
    pub(crate) ehdr: Ehdr,
    pub(crate) phdrs: Vec<Phdr>,
    /// PT_DYNAMIC's entries up to the first DT_NULL; `None` without PT_DYNAMIC.
    pub dynamic: Option<Vec<Dyn>>,
    /// Entries that fit PT_DYNAMIC, DT_NULLs included.
    pub(crate) dynamic_slots: usize,
    pub sections: Sections,
    /// objcopy --only-keep-debug keeps the program headers and takes the bytes away.
    pub(crate) is_debug_file: bool,
}

/// The section headers, if the file has usable ones.
#[derive(Debug, Clone)]
pub(crate) enum Sections {
    None,
    /// There is a table, but it can't be right: the word for people.
    Bad(&'static str),
    Some(Vec<Shdr>),
}

impl Sections {
    pub(crate) fn list(&self) -> &[Shdr] {
        match self {
            Sections::Some(list) => list,
            _ => &[],
        }
    }
}

impl Layout {
    /// `None` without the ELF magic.
    pub(crate) fn read(source: &Source<'_>) -> Result<Option<Layout>, ElfError> {
        let head = source.bytes("e_ident", 0, source.len().min(EHDR_MAX as u64))?;
        if !head.starts_with(&elf::ELFMAG) || head.len() < 16 {
            return Ok(None);
        }
        let format = Format::from_ident(&head).ok_or(ElfError::Ident { class: head[4], data: head[5] })?;
        let ehdr = format.ehdr(&head).ok_or(ElfError::Short { len: source.len() })?;
        let mut layout = Layout {
            format,
            ehdr,
            phdrs: Vec::new(),
            dynamic: None,
            dynamic_slots: 0,
            sections: Sections::None,
            is_debug_file: false,
        };
        if ehdr.e_phnum == 0 || ehdr.e_phoff == 0 {
            return Ok(Some(layout));
        }
        if usize::from(ehdr.e_phentsize) != format.phdr_size() {
            return Err(ElfError::EntrySize {
                what: "e_phentsize",
                got: ehdr.e_phentsize,
                expected: format.phdr_size() as u16,
            });
        }
        if !matches!(elf::FileType(ehdr.e_type), elf::ET_EXEC | elf::ET_DYN) {
            // A core file's segments are a dead program's memory, and more than 65,534 of them take section 0.
            return Ok(Some(layout));
        }
        if ehdr.e_phnum == elf::PN_XNUM {
            return Err(ElfError::TooMany { what: "program headers", limit: u64::from(elf::PN_XNUM) - 1 });
        }
        let size = format.phdr_size();
        let table = source.bytes("program headers", ehdr.e_phoff, u64::from(ehdr.e_phnum) * size as u64)?;
        layout.phdrs = table.chunks_exact(size).filter_map(|b| format.phdr(b)).collect();
        layout.sections = layout.read_sections(source)?;
        layout.is_debug_file = layout.has_no_bytes();
        if !layout.is_debug_file {
            layout.read_dynamic(source)?;
            pages::extend(&mut layout, source.len());
        }
        Ok(Some(layout))
    }

    /// Whether a segment names notes and lies over the file's headers: patchelf up to 0.11 lets the program header table
    /// grow over the notes of a library, moves their sections and leaves the segment behind (NixOS/patchelf#218).
    pub(crate) fn is_stale(&self, p: &Phdr) -> bool {
        let table = self.ehdr.e_phoff;
        let end = table.saturating_add((self.phdrs.len() * self.format.phdr_size()) as u64);
        let over = |start: u64, end: u64| p.p_offset < end && start < p.file_end();
        matches!(elf::ProgramType(p.p_type), elf::PT_NOTE | elf::PT_GNU_PROPERTY)
            && (over(table, end) || over(0, self.format.ehdr_size() as u64))
    }

    fn has_no_bytes(&self) -> bool {
        let sections = self.sections.list();
        if let Some(dynamic) = self.segment(elf::PT_DYNAMIC) {
            let bare = |s: &Shdr| s.sh_type == elf::SHT_NOBITS.0 && s.sh_addr == dynamic.p_vaddr;
            return dynamic.p_filesz == 0 || sections.iter().any(|s| bare(s) && s.sh_size == dynamic.p_memsz);
        }
        let is_code = |s: &&Shdr| s.is_alloc() && s.sh_flags & elf::SHF_EXECINSTR.0 != 0;
        let mut code = sections.iter().filter(is_code).peekable();
        code.peek().is_some() && code.all(|s| s.sh_type == elf::SHT_NOBITS.0)
    }

    fn read_dynamic(&mut self, source: &Source<'_>) -> Result<(), ElfError> {
        let Some(segment) = self.segment(elf::PT_DYNAMIC) else { return Ok(()) };
        let size = self.format.dyn_size();
        let slots = segment.p_filesz / size as u64;
        if slots > MAX_DYNAMIC {
            return Err(ElfError::TooMany { what: "dynamic entries", limit: MAX_DYNAMIC });
        }
        let table = source.bytes("PT_DYNAMIC", segment.p_offset, slots * size as u64)?;
        let entries = table.chunks_exact(size).filter_map(|b| self.format.dynamic(b));
        self.dynamic = Some(entries.take_while(|d| d.d_tag != elf::DT_NULL.0).collect());
        self.dynamic_slots = slots as usize;
        Ok(())
    }

    /// The first segment of a type.
    pub(crate) fn segment(&self, p_type: elf::ProgramType) -> Option<&Phdr> {
        self.phdrs.iter().find(|p| p.p_type == p_type.0)
    }

    /// All PT_LOADs, in the table's order.
    pub(crate) fn loads(&self) -> impl Iterator<Item = &Phdr> {
        self.phdrs.iter().filter(|p| p.p_type == elf::PT_LOAD.0)
    }

    /// The last entry with this tag: what a loader that fills an array by tag sees.
    pub(crate) fn tag(&self, tag: elf::DynamicTag) -> Option<u64> {
        self.dynamic.as_deref()?.iter().rev().find(|d| d.d_tag == tag.0).map(|d| d.d_val)
    }

    /// File offset of an address and the number of bytes that the file has from there on, up to the end of the PT_LOAD or of
    /// those that go on where it ends, in memory and in the file. patchelf up to 0.14 puts a PT_LOAD of one page before the
    /// first of a program at fixed addresses, and a string table that is longer reaches into the next.
    pub(crate) fn offset_of(&self, address: u64) -> Option<(u64, u64)> {
        let mut loads = self.loads();
        let (offset, mut left, mut last) = loads.by_ref().find_map(|p| {
            let skip = address.checked_sub(p.p_vaddr)?;
            let left = p.p_filesz.checked_sub(skip).filter(|&left| left > 0)?;
            Some((p.p_offset.checked_add(skip)?, left, p))
        })?;
        // They are in ascending order. gABI, "Program Header".
        for next in loads {
            let goes_on = next.p_vaddr == last.mem_end() && next.p_offset == last.file_end();
            if last.p_filesz != last.p_memsz || !goes_on {
                break;
            }
            left = left.saturating_add(next.p_filesz);
            last = next;
        }
        Some((offset, left))
    }

    /// File offset and size of DT_STRTAB.
    pub(crate) fn strtab(&self) -> Result<Option<(u64, u64)>, ElfError> {
        let Some(address) = self.tag(elf::DT_STRTAB) else { return Ok(None) };
        let size = self.tag(elf::DT_STRSZ).unwrap_or(u64::MAX);
        let (offset, left) =
            self.offset_of(address).ok_or(ElfError::Unmapped { what: "DT_STRTAB", address })?;
        Ok(Some((offset, size.min(left))))
    }

    /// Where the section header table is and how many entries it has; `None` without one.
    pub(crate) fn section_table(&self, source: &Source<'_>) -> Result<Option<(u64, u64)>, &'static str> {
        let e = &self.ehdr;
        if e.e_shoff == 0 {
            return Ok(None);
        }
        let size = self.format.shdr_size() as u64;
        if u64::from(e.e_shentsize) != size {
            // Tools that cut the table away leave e_shoff or e_shentsize behind.
            return if e.e_shnum == 0 { Ok(None) } else { Err("e_shentsize is not the size of an entry") };
        }
        let first = source.bytes("section header 0", e.e_shoff, size);
        let count = match (e.e_shnum, first) {
            (_, Err(_)) => return Err("section headers lie outside of the file"),
            // gABI: the count is in the first entry if it doesn't fit e_shnum.
            (0, Ok(bytes)) => self.format.shdr(&bytes).map_or(0, |s| s.sh_size),
            (n, Ok(_)) => n.into(),
        };
        if count == 0 {
            return Ok(None);
        }
        if count > MAX_SECTIONS {
            return Err("too many section headers");
        }
        match e.e_shoff.checked_add(count * size) {
            Some(end) if end <= source.len() => Ok(Some((e.e_shoff, count))),
            _ => Err("section headers lie outside of the file"),
        }
    }

    fn read_sections(&self, source: &Source<'_>) -> Result<Sections, ElfError> {
        let (offset, count) = match self.section_table(source) {
            Ok(Some(place)) => place,
            Ok(None) => return Ok(Sections::None),
            Err(why) => return Ok(Sections::Bad(why)),
        };
        let size = self.format.shdr_size();
        let table = source.bytes("section headers", offset, count * size as u64)?;
        Ok(Sections::Some(table.chunks_exact(size).filter_map(|b| self.format.shdr(b)).collect()))
    }
}
