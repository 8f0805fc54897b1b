//! The file as the rewriter sees it: tables, and what they say about which bytes are whose.

use object::elf;

use super::RewriteError;
use crate::layout::{Layout, SMALLEST_PAGE, largest_page};
use crate::raw::{Phdr, Shdr};
use crate::source::Source;
use crate::{Elf, ElfKind};

/// Zeros behind the last thing in the file that are taken for padding, not for a payload. Bytes.
const MAX_TAIL_PADDING: u64 = 64 << 10;

/// Bytes that stand where nothing is: a linker's, and what patchelf leaves in the place of what it moved.
pub(super) const PADDING: &[u8] = b"\0XZ";

/// An ELF file that was read and whose segments make sense.
#[derive(Debug)]
pub(super) struct Model<'s, 'c> {
    pub source: &'s Source<'c>,
    pub layout: Layout,
    pub elf: Elf,
    pub sections: Vec<Shdr>,
    /// Offset and number of entries of the section header table.
    pub(crate) section_table: Option<(u64, u64)>,
    /// Whether the section headers agree with the program headers and the dynamic entries, so that bytes of a PT_LOAD
    /// without a section are nobody's.
    pub trusted: bool,
    /// The page size to keep segments apart by. Bytes.
    pub page: u64,
    /// p_align for a new PT_LOAD. Bytes.
    pub(crate) align: u64,
    /// Where appended data begins that is not part of the ELF file.
    pub payload: Option<u64>,
}

impl<'s, 'c> Model<'s, 'c> {
    pub(super) fn read(source: &'s Source<'c>) -> Result<Self, RewriteError> {
        let layout = Layout::read(source)?.ok_or(RewriteError::NotElf)?;
        let elf = Elf::from_layout(source, &layout)?;
        let section_table = layout.section_table(source).ok().flatten();
        let sections = layout.sections.list().to_vec();
        let mut model = Model {
            source,
            layout,
            elf,
            sections,
            section_table,
            trusted: false,
            page: 0,
            align: 0,
            payload: None,
        };
        if !model.elf.is_dynamic() {
            return Ok(model);
        }
        model.check_loads()?;
        let most = model.layout.loads().map(|p| p.p_align).max().unwrap_or(0);
        model.align = most.max(4 << 10);
        model.page = largest_page(model.layout.ehdr.e_machine).min(model.align);
        model.trusted = model.sections_agree();
        model.payload = model.find_payload()?;
        Ok(model)
    }

    fn check_loads(&self) -> Result<(), RewriteError> {
        let malformed = |why| Err(RewriteError::Malformed(why));
        let mut end = 0;
        let top = if self.layout.format.is_64() { u64::MAX } else { u64::from(u32::MAX) };
        for p in self.layout.loads() {
            let align = p.p_align.max(1);
            if !align.is_power_of_two() {
                return malformed("p_align of a PT_LOAD is not a power of two");
            }
            // What is mapped are pages. glibc before 2.35 wants it modulo p_align, of libraries (elf/dl-load.c), but
            // kernels and newer loaders don't, and patchelf 0.18 writes files that rely on it.
            let page = align.min(SMALLEST_PAGE);
            if p.p_offset % page != p.p_vaddr % page {
                return malformed("p_offset and p_vaddr of a PT_LOAD differ modulo the page");
            }
            if p.p_filesz > p.p_memsz {
                return malformed("p_filesz of a PT_LOAD is larger than p_memsz");
            }
            if p.p_vaddr.checked_add(p.p_memsz).is_none_or(|e| e > top) {
                return malformed("PT_LOAD reaches behind the end of the address space");
            }
            if p.p_offset.checked_add(p.p_filesz).is_none_or(|e| e > self.source.len()) {
                return malformed("PT_LOAD reaches behind the end of the file");
            }
            if p.p_vaddr < end {
                return malformed("PT_LOADs overlap or are not sorted by p_vaddr");
            }
            end = p.mem_end();
        }
        if self.layout.loads().next().is_none() {
            return malformed("there is no PT_LOAD");
        }
        for p_type in [elf::PT_INTERP, elf::PT_DYNAMIC, elf::PT_PHDR] {
            if self.layout.phdrs.iter().filter(|p| p.p_type == p_type.0).count() > 1 {
                return malformed("PT_INTERP, PT_DYNAMIC or PT_PHDR is there more than once");
            }
        }
        let Some(dynamic) = self.layout.segment(elf::PT_DYNAMIC) else {
            return malformed("there is no PT_DYNAMIC");
        };
        for p in self.layout.segment(elf::PT_INTERP).into_iter().chain([dynamic]) {
            if !self.is_mapped(p) {
                return malformed("PT_INTERP or PT_DYNAMIC is not in a PT_LOAD at its address");
            }
        }
        Ok(())
    }

    /// Whether one PT_LOAD holds all of a segment's bytes at the segment's address.
    pub(crate) fn is_mapped(&self, p: &Phdr) -> bool {
        matches!(self.layout.offset_of(p.p_vaddr), Some((at, left)) if at == p.p_offset && left >= p.p_filesz)
    }

    /// The segments that say what some bytes of the file are.
    pub(crate) fn naming_segments(&self) -> impl Iterator<Item = &Phdr> {
        let layout = &self.layout;
        layout.phdrs.iter().filter(|p| p.p_type != elf::PT_LOAD.0 && p.p_filesz > 0 && !layout.is_stale(p))
    }

    /// The PT_LOAD that holds a range of the file, by its index among the program headers.
    pub(crate) fn load_at(&self, offset: u64, size: u64) -> Option<usize> {
        let end = offset.checked_add(size)?;
        let holds = |p: &Phdr| p.p_type == elf::PT_LOAD.0 && p.p_offset <= offset && end <= p.file_end();
        self.layout.phdrs.iter().position(holds)
    }

    fn sections_agree(&self) -> bool {
        let sections: Vec<&Shdr> = self.sections.iter().filter(|s| s.is_alloc()).collect();
        let at_offset =
            |p: Option<&Phdr>| p.is_none_or(|p| sections.iter().any(|s| s.sh_offset == p.p_offset));
        let tag_is = |tag: elf::DynamicTag, sh_type: elf::SectionType| {
            let address = self.layout.tag(tag);
            address.is_none_or(|a| sections.iter().any(|s| s.sh_addr == a && s.sh_type == sh_type.0))
        };
        let entry = self.layout.ehdr.e_entry;
        let holds_entry = |s: &&Shdr| s.sh_addr <= entry && entry < s.sh_addr.saturating_add(s.sh_size);
        let mapped = |s: &&Shdr| {
            s.file_size() == 0
                || matches!(self.layout.offset_of(s.sh_addr),
                    Some((at, left)) if at == s.sh_offset && left >= s.sh_size)
        };
        at_offset(self.layout.segment(elf::PT_DYNAMIC))
            && at_offset(self.layout.segment(elf::PT_INTERP))
            && tag_is(elf::DT_STRTAB, elf::SHT_STRTAB)
            && tag_is(elf::DT_SYMTAB, elf::SHT_DYNSYM)
            // Some linkers point e_entry of a library at the start of its code, others at 0.
            && (self.elf.kind != ElfKind::DynamicExecutable || sections.iter().any(holds_entry))
            && sections.iter().all(mapped)
    }

    fn find_payload(&self) -> Result<Option<u64>, RewriteError> {
        let layout = &self.layout;
        let phdrs_end = layout.ehdr.e_phoff + (layout.phdrs.len() * layout.format.phdr_size()) as u64;
        let table_end = self.section_table.map(|(at, n)| at + n * layout.format.shdr_size() as u64);
        let sections = self.sections.iter().map(|s| s.sh_offset.saturating_add(s.file_size()));
        let segments = layout.phdrs.iter().map(Phdr::file_end);
        let len = self.source.len();
        let ends = sections.chain(segments).chain(table_end).chain([phdrs_end]);
        let end = ends.filter(|&e| e <= len).max().unwrap_or(0);
        if end == len || (len - end <= MAX_TAIL_PADDING && self.source.is_filled(end, len, &[0])?) {
            return Ok(None);
        }
        Ok(Some(end))
    }
}
