//! What a file says about itself, from its program headers and dynamic entries alone: section headers may be missing.

use object::elf;

use crate::layout::{Layout, Sections};
use crate::notes::{self, DlopenNote};
use crate::packed::{self, Packed};
use crate::raw::{Class, Endian};
use crate::source::Source;
use crate::{Defect, ElfError};
use tree::{Content, Machine};

/// Longest string that is read: PT_INTERP, DT_NEEDED, a run path. Bytes.
const MAX_STRING: u64 = 64 << 10;
/// Most entries of DT_VERNEED, files and versions together.
pub(crate) const MAX_VERSIONS: usize = 1 << 16;

/// What kind of ELF file it is, as far as loading goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElfKind {
    /// An executable at fixed addresses that needs no loader.
    StaticExecutable,
    /// A position-independent executable that relocates itself.
    StaticPie,
    /// An executable with a PT_INTERP; position-independent or not.
    DynamicExecutable,
    /// A shared library or a plugin. It may have a PT_INTERP and run, too (libc.so.6).
    SharedObject,
    /// The program loader, or a library that neither has a name nor needs anything: nothing to relocate.
    Loader,
    /// Object files, core files, separate debug information: nothing that is loaded.
    Other,
}

/// A C library, by the names of its loader and of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Libc {
    /// The GNU C library.
    Glibc,
    /// musl.
    Musl,
}

/// A library whose symbols stand for those of the file that names it. ld(1), `--filter` and `--auxiliary`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filtee {
    /// Its name, looked for as a DT_NEEDED is.
    pub name: Vec<u8>,
    /// DT_FILTER: nothing is loaded without it. DT_AUXILIARY: the file does without.
    pub required: bool,
}

/// Versions that a file wants of one library. DT_VERNEED.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionNeed {
    /// The library, one of the DT_NEEDED.
    pub file: Vec<u8>,
    /// The versions (`GLIBC_2.34`), in the file's order.
    pub versions: Vec<Vec<u8>>,
}

/// What an ELF file says about itself.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Elf {
    /// Address width.
    pub class: Class,
    /// Byte order.
    pub endian: Endian,
    /// e_machine, an EM_* number.
    pub machine: u16,
    /// e_flags: what parts of the architecture's ABI it follows.
    pub(crate) e_flags: u32,
    /// What it is.
    pub kind: ElfKind,
    /// PT_INTERP, without its NUL.
    pub interpreter: Option<Vec<u8>>,
    /// DT_SONAME.
    pub soname: Option<Vec<u8>>,
    /// DT_NEEDED, in order.
    pub needed: Vec<Vec<u8>>,
    /// DT_FILTER and DT_AUXILIARY, in order. musl knows neither.
    pub(crate) filtees: Vec<Filtee>,
    /// DT_RPATH.
    pub rpath: Option<Vec<u8>>,
    /// DT_RUNPATH.
    pub runpath: Option<Vec<u8>>,
    /// DT_FLAGS.
    pub flags: u64,
    /// DT_FLAGS_1.
    pub flags_1: u64,
    /// What it may open by dlopen.
    pub dlopen: Vec<DlopenNote>,
    /// DT_VERNEED.
    pub version_needs: Vec<VersionNeed>,
    /// The program that it carries inside, if it is packed.
    pub packed: Option<Packed>,
    /// What is wrong with it and doesn't keep it from being loaded.
    pub defects: Vec<Defect>,
}

impl Elf {
    /// Reads the tables of a file, not the file. `None` if it doesn't begin as an ELF file does.
    ///
    /// # Errors
    /// Tables that lie outside of the file, are too large or contradict each other; bytes that can't be read.
    pub fn parse(content: &Content) -> Result<Option<Elf>, ElfError> {
        // Most files of a system are none, which costs them one short read.
        if !content.head(elf::ELFMAG.len())?.starts_with(&elf::ELFMAG) {
            return Ok(None);
        }
        let content = content.opened()?;
        let source = Source::new(&content);
        match Layout::read(&source)? {
            None => Ok(None),
            Some(layout) => Self::from_layout(&source, &layout).map(Some),
        }
    }

    pub(crate) fn from_layout(source: &Source<'_>, layout: &Layout) -> Result<Elf, ElfError> {
        let mut elf = Elf {
            class: layout.format.class,
            endian: layout.format.endian,
            machine: layout.ehdr.e_machine,
            e_flags: layout.ehdr.e_flags,
            kind: ElfKind::Other,
            interpreter: None,
            soname: None,
            needed: Vec::new(),
            filtees: Vec::new(),
            rpath: None,
            runpath: None,
            flags: layout.tag(elf::DT_FLAGS).unwrap_or(0),
            flags_1: layout.tag(elf::DT_FLAGS_1).unwrap_or(0),
            dlopen: Vec::new(),
            version_needs: Vec::new(),
            packed: packed::find(source, layout)?,
            defects: Vec::new(),
        };
        if let Sections::Bad(why) = layout.sections {
            elf.defects.push(Defect::Sections(why));
        }
        if layout.phdrs.is_empty() || layout.is_debug_file {
            return Ok(elf);
        }
        if let Some(p) = layout.segment(elf::PT_INTERP) {
            elf.interpreter = Some(source.string("PT_INTERP", p.p_offset, p.file_end(), MAX_STRING)?);
        }
        elf.read_strings(source, layout)?;
        elf.kind = elf.classify(layout);
        elf.version_needs = version_needs(source, layout)?;
        let (notes, defects) = notes::dlopen(source, layout)?;
        elf.dlopen = notes;
        elf.defects.extend(defects);
        Ok(elf)
    }

    fn read_strings(&mut self, source: &Source<'_>, layout: &Layout) -> Result<(), ElfError> {
        let Some(entries) = &layout.dynamic else { return Ok(()) };
        let strtab = layout.strtab()?;
        for d in entries {
            let what = match elf::DynamicTag(d.d_tag) {
                elf::DT_NEEDED => "DT_NEEDED",
                elf::DT_SONAME => "DT_SONAME",
                elf::DT_RPATH => "DT_RPATH",
                elf::DT_RUNPATH => "DT_RUNPATH",
                elf::DT_FILTER => "DT_FILTER",
                elf::DT_AUXILIARY => "DT_AUXILIARY",
                _ => continue,
            };
            let string = dynamic_string(source, strtab, what, d.d_val)?;
            match elf::DynamicTag(d.d_tag) {
                elf::DT_NEEDED => self.needed.push(string),
                elf::DT_SONAME => self.soname = Some(string),
                elf::DT_RPATH => self.rpath = Some(string),
                elf::DT_FILTER => self.filtees.push(Filtee { name: string, required: true }),
                elf::DT_AUXILIARY => self.filtees.push(Filtee { name: string, required: false }),
                _ => self.runpath = Some(string),
            }
        }
        Ok(())
    }

    fn classify(&self, layout: &Layout) -> ElfKind {
        let has_entry = layout.ehdr.e_entry != 0;
        // Only executables get a DT_DEBUG. DF_1_PIE is younger (binutils 2.26).
        let is_pie = self.flags_1 & elf::DF_1_PIE.0 != 0;
        let is_executable = is_pie || layout.tag(elf::DT_DEBUG).is_some();
        let is_exec = layout.ehdr.e_type == elf::ET_EXEC.0;
        if self.interpreter.is_none() && layout.dynamic.is_some() && layout.tag(elf::DT_STRTAB).is_none() {
            // Guile's compiled code: ELF for a loader of its own.
            return ElfKind::Other;
        }
        match (&self.interpreter, is_exec, &layout.dynamic) {
            (Some(_), true, _) => ElfKind::DynamicExecutable,
            (None, true, _) => ElfKind::StaticExecutable,
            (Some(_), false, _) if is_executable || self.soname.is_none() => ElfKind::DynamicExecutable,
            (Some(_), false, _) => ElfKind::SharedObject,
            (None, false, None) => ElfKind::StaticPie,
            (None, false, Some(_)) if is_loader_name(self.soname.as_deref()) => ElfKind::Loader,
            // musl's, where its build gives it a SONAME.
            (None, false, Some(_))
                if self.soname.as_deref() == Some(b"libc.so") && self.needed.is_empty() =>
            {
                ElfKind::Loader
            }
            (None, false, Some(_)) if !self.needed.is_empty() || self.soname.is_some() => match is_pie {
                // A program linked with --no-dynamic-linker runs under an explicitly called loader only.
                true if self.needed.is_empty() => ElfKind::StaticPie,
                _ => ElfKind::SharedObject,
            },
            (None, false, Some(_)) if is_executable && has_entry => ElfKind::StaticPie,
            (None, false, Some(_)) if has_entry => ElfKind::Loader,
            (None, false, Some(_)) => ElfKind::SharedObject,
        }
    }

    /// The names for which a loader looks on its behalf.
    pub fn asks_for(&self) -> impl Iterator<Item = &[u8]> {
        self.needed.iter().chain(self.filtees.iter().map(|filtee| &filtee.name)).map(Vec::as_slice)
    }

    /// Whether it takes an interpreter or a run path; all else is left as it is.
    pub fn is_dynamic(&self) -> bool {
        matches!(self.kind, ElfKind::DynamicExecutable | ElfKind::SharedObject)
    }

    /// What it is for.
    pub fn built_for(&self) -> Machine {
        Machine {
            number: self.machine,
            wide: self.class == Class::Elf64,
            little: self.endian == Endian::Little,
        }
    }

    /// Whether a process of `other` could load this file: class, byte order, machine and, on ARM, the float ABI.
    pub fn is_compatible(&self, other: &Elf) -> bool {
        self.class == other.class
            && self.endian == other.endian
            && self.machine == other.machine
            && match (self.arm_float(), other.arm_float()) {
                (Some(a), Some(b)) => a == b,
                _ => true,
            }
    }

    /// EF_ARM_ABI_FLOAT_HARD (true) or EF_ARM_ABI_FLOAT_SOFT (false), where an ARM file says so.
    fn arm_float(&self) -> Option<bool> {
        if self.machine != elf::EM_ARM.0 {
            return None;
        }
        match (self.e_flags & elf::EF_ARM_ABI_FLOAT_HARD != 0, self.e_flags & elf::EF_ARM_ABI_FLOAT_SOFT != 0)
        {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    }

    /// The C library it is made for, by the name of its loader, else of the libraries it needs.
    pub fn libc(&self) -> Option<Libc> {
        let of_name = |name: &[u8]| {
            let base = name.rsplit(|&b| b == b'/').next().unwrap_or(name);
            if base.starts_with(b"ld-musl-") || base.starts_with(b"libc.musl-") || base == b"libc.so" {
                Some(Libc::Musl)
            } else if base.starts_with(b"ld-linux")
                || base.starts_with(b"ld64.so")
                || base == b"ld.so.1"
                || base == b"libc.so.6"
            {
                Some(Libc::Glibc)
            } else {
                None
            }
        };
        let own = self.interpreter.iter().chain(&self.soname);
        own.chain(&self.needed).find_map(|name| of_name(name))
    }
}

fn is_loader_name(soname: Option<&[u8]>) -> bool {
    let Some(name) = soname else { return false };
    let prefixes: [&[u8]; 5] = [b"ld-linux", b"ld64.so.", b"ld.so.", b"ld-musl-", b"libc.musl-"];
    prefixes.iter().any(|p| name.starts_with(p))
}

/// A string of DT_STRTAB (its file offset and size).
pub(crate) fn dynamic_string(
    source: &Source<'_>,
    strtab: Option<(u64, u64)>,
    what: &'static str,
    index: u64,
) -> Result<Vec<u8>, ElfError> {
    let (offset, size) = strtab.ok_or(ElfError::Missing { what: "DT_STRTAB", wanted_by: what })?;
    if index >= size {
        return Err(ElfError::OutOfTable { what, index, size });
    }
    source.string(what, offset + index, offset.saturating_add(size), MAX_STRING)
}

/// DT_VERNEED: a chain of libraries, each with a chain of versions. LSB, "Symbol Versioning".
fn version_needs(source: &Source<'_>, layout: &Layout) -> Result<Vec<VersionNeed>, ElfError> {
    let Some(address) = layout.tag(elf::DT_VERNEED) else { return Ok(Vec::new()) };
    let unmapped = ElfError::Unmapped { what: "DT_VERNEED", address };
    let (start, left) = layout.offset_of(address).ok_or(unmapped)?;
    let end = start.saturating_add(left);
    let strtab = layout.strtab()?;
    let record = |at: u64| -> Result<Vec<u8>, ElfError> {
        if at.checked_add(16).is_none_or(|e| e > end) {
            return Err(ElfError::OutOfTable { what: "DT_VERNEED", index: at - start, size: left });
        }
        source.bytes("DT_VERNEED", at, 16)
    };
    let field = |bytes: &[u8], i: usize| layout.format.u32(&bytes[i..]).map_or(0, u64::from);
    let mut out = Vec::new();
    let mut budget = MAX_VERSIONS;
    let mut at = start;
    for _ in 0..layout.tag(elf::DT_VERNEEDNUM).unwrap_or(0) {
        budget = budget
            .checked_sub(1)
            .ok_or(ElfError::TooMany { what: "versions", limit: MAX_VERSIONS as u64 })?;
        // vn_version, vn_cnt: u16; vn_file, vn_aux, vn_next: u32.
        let need = record(at)?;
        let count = layout.format.u16(&need[2..]).unwrap_or(0);
        let file = dynamic_string(source, strtab, "vn_file", field(&need, 4))?;
        let mut versions = Vec::new();
        let mut aux_at = at.saturating_add(field(&need, 8));
        for _ in 0..count {
            budget = budget
                .checked_sub(1)
                .ok_or(ElfError::TooMany { what: "versions", limit: MAX_VERSIONS as u64 })?;
            // vna_hash: u32; vna_flags, vna_other: u16; vna_name, vna_next: u32.
            let aux = record(aux_at)?;
            versions.push(dynamic_string(source, strtab, "vna_name", field(&aux, 8))?);
            match field(&aux, 12) {
                0 => break,
                next => aux_at = aux_at.saturating_add(next),
            }
        }
        out.push(VersionNeed { file, versions });
        match field(&need, 12) {
            0 => break,
            next => at = at.saturating_add(next),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::Blob;

    fn own() -> Content {
        let path = std::env::current_exe().unwrap();
        let len = path.metadata().unwrap().len();
        Content::in_blob(Blob::at_path(path), 0, len)
    }

    #[test]
    fn this_program() {
        let elf = Elf::parse(&own()).unwrap().unwrap();
        assert_eq!(elf.kind, ElfKind::DynamicExecutable);
        assert!(elf.interpreter.is_some() && elf.is_dynamic());
        assert!(elf.needed.iter().any(|n| n.starts_with(b"libc.")));
        assert!(elf.version_needs.iter().all(|n| elf.needed.contains(&n.file)));
    }

    #[test]
    fn other_files() {
        for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fEL", b"\x7fELF"] {
            assert!(Elf::parse(&bytes.into()).unwrap().is_none());
        }
        let mut ident = b"\x7fELF\x03\x01\x01".to_vec();
        ident.resize(64, 0);
        assert!(matches!(Elf::parse(&ident.into()), Err(ElfError::Ident { class: 3, data: 1 })));
    }

    #[test]
    fn cut_off_at_every_place_of_its_headers() {
        let head = own().head(4096).unwrap();
        for n in 16..head.len() {
            // An error or a reduced view; what counts is that nothing panics and nothing outside is believed.
            let _ = Elf::parse(&head[..n].into());
        }
        assert!(Elf::parse(&head.as_slice().into()).is_err());
    }
}
