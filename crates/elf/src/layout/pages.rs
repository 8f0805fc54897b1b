//! What stands behind a PT_LOAD's p_filesz and is mapped all the same: kernels map whole pages. patchelf 0.12 to 0.18 cuts
//! the first PT_LOAD of a program at fixed addresses off behind the program headers and leaves the interpreter, .dynamic and
//! .dynstr to the rest of the page (NixOS/patchelf#403).

use object::elf;

use super::Layout;
use crate::raw::{Phdr, is_address};

/// The smallest page of any machine. Bytes.
pub(crate) const SMALLEST_PAGE: u64 = 4 << 10;

/// The largest page that kernels of an architecture use. Bytes.
pub(crate) fn largest_page(machine: u16) -> u64 {
    match elf::Machine(machine) {
        elf::EM_386 | elf::EM_X86_64 | elf::EM_S390 | elf::EM_RISCV => SMALLEST_PAGE,
        _ => 64 << 10,
    }
}

/// Lets each PT_LOAD that something relies on in this way end with its page, in the table as it was read: what is written
/// is right then, too. Where p_memsz is larger than p_filesz, the rest of the page is zero in memory and stays out of it.
pub(super) fn extend(layout: &mut Layout, file: u64) {
    let mut used: Vec<(u64, u64)> = Vec::new();
    for p in &layout.phdrs {
        if matches!(elf::ProgramType(p.p_type), elf::PT_INTERP | elf::PT_DYNAMIC) {
            used.push((p.p_vaddr, p.p_filesz));
        }
    }
    let sizes = [
        (elf::DT_STRTAB, elf::DT_STRSZ),
        (elf::DT_RELA, elf::DT_RELASZ),
        (elf::DT_REL, elf::DT_RELSZ),
        (elf::DT_JMPREL, elf::DT_PLTRELSZ),
    ];
    for d in layout.dynamic.iter().flatten().filter(|d| is_address(d.d_tag)) {
        let size = sizes.iter().find(|(tag, _)| tag.0 == d.d_tag).and_then(|(_, size)| layout.tag(*size));
        used.push((d.d_val, size.unwrap_or(1)));
    }
    let sections = layout.sections.list().iter().filter(|s| s.is_alloc() && s.file_size() > 0);
    used.extend(sections.map(|s| (s.sh_addr, s.sh_size)));

    let page = largest_page(layout.ehdr.e_machine);
    let loads: Vec<Phdr> = layout.loads().copied().collect();
    for p in layout.phdrs.iter_mut().filter(|p| p.p_type == elf::PT_LOAD.0) {
        if p.p_filesz != p.p_memsz || p.p_filesz == 0 || p.file_end() > file {
            continue;
        }
        let page = page.min(p.p_align.max(SMALLEST_PAGE));
        if !page.is_power_of_two() {
            continue;
        }
        let end = p.mem_end();
        let next = loads.iter().filter(|l| l.p_vaddr >= end).map(|l| l.p_vaddr & !(page - 1)).min();
        let stored = end.saturating_add(file - p.file_end());
        let Some(top) = end.checked_next_multiple_of(page) else { continue };
        let top = top.min(stored).min(next.unwrap_or(u64::MAX));
        let relied_on =
            |&(at, size): &(u64, u64)| at >= p.p_vaddr && at < top && at.saturating_add(size) > end;
        if top > end && used.iter().any(relied_on) {
            p.p_filesz += top - end;
            p.p_memsz = p.p_filesz;
        }
    }
}
