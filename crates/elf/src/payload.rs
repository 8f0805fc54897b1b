//! Data that a program carries for itself, behind what a linker has put into the file.

use object::elf;
use tree::Content;

use crate::ElfError;
use crate::layout::Layout;
use crate::source::Source;

/// Longest name of a section that is looked at. Bytes.
const MAX_NAME: u64 = 256;

/// Bytes of the file that neither the loader nor tools have a use for: appended ones, and those of sections that aren't
/// loaded and don't have a dot at the start of their names, as all sections of compilers, linkers and debuggers do.
///
/// # Errors
/// As [`Elf::parse`](crate::Elf::parse).
pub(crate) fn payload(content: &Content) -> Result<u64, ElfError> {
    let source = Source::new(content);
    let Some(layout) = Layout::read(&source)? else { return Ok(0) };
    let sections = layout.sections.list();
    let mut end = layout.phdrs.iter().map(crate::raw::Phdr::file_end).max().unwrap_or(0);
    if let Ok(Some((offset, count))) = layout.section_table(&source) {
        end = end.max(offset.saturating_add(count.saturating_mul(layout.format.shdr_size() as u64)));
    }
    let names = sections.get(usize::from(layout.ehdr.e_shstrndx));
    let mut bytes = 0u64;
    for section in sections {
        if section.sh_type == elf::SHT_NOBITS.0 || section.sh_type == elf::SHT_NULL.0 {
            continue;
        }
        end = end.max(section.sh_offset.saturating_add(section.sh_size));
        let Some(names) = names.filter(|_| section.sh_type == elf::SHT_PROGBITS.0 && !section.is_alloc())
        else {
            continue;
        };
        let Some(at) = names.sh_offset.checked_add(section.sh_name.into()) else { continue };
        let names_end = names.sh_offset.saturating_add(names.sh_size);
        // Names that can't be read are no reason to refuse the file.
        let name = source.string("section name", at, names_end, MAX_NAME).unwrap_or_default();
        if !name.is_empty() && !name.starts_with(b".") {
            bytes = bytes.saturating_add(section.sh_size);
        }
    }
    Ok(bytes.saturating_add(source.len().saturating_sub(end)))
}
