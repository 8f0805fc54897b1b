//! The structures of the format with their fields widened to 64 bits, so that one code serves both classes and byte
//! orders. The layouts are those of the `object` crate.

use object::elf;
use object::endian::{Endianness, I32, I64, U32, U64};
use object::pod::{Pod, bytes_of, from_bytes};

/// ELFCLASS32 or ELFCLASS64: the width of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// ELFCLASS32.
    Elf32,
    /// ELFCLASS64.
    Elf64,
}

/// ELFDATA2LSB or ELFDATA2MSB: the byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endian {
    /// ELFDATA2LSB.
    Little,
    /// ELFDATA2MSB.
    Big,
}

impl Endian {
    fn object(self) -> Endianness {
        match self {
            Endian::Little => Endianness::Little,
            Endian::Big => Endianness::Big,
        }
    }
}

/// How the structures of a file are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    pub class: Class,
    pub endian: Endian,
}

/// The file header's fields that matter here. Sizes and counts as stored, without the escapes for large files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ehdr {
    pub(crate) os_abi: u8,
    pub(crate) e_type: u16,
    pub(crate) e_machine: u16,
    pub(crate) e_entry: u64,
    pub(crate) e_phoff: u64,
    pub(crate) e_shoff: u64,
    pub(crate) e_flags: u32,
    pub(crate) e_ehsize: u16,
    pub(crate) e_phentsize: u16,
    pub(crate) e_phnum: u16,
    pub(crate) e_shentsize: u16,
    pub e_shnum: u16,
    pub(crate) e_shstrndx: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Phdr {
    pub p_type: u32,
    pub(crate) p_flags: u32,
    pub(crate) p_offset: u64,
    pub p_vaddr: u64,
    pub(crate) p_paddr: u64,
    pub p_filesz: u64,
    pub(crate) p_memsz: u64,
    pub(crate) p_align: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shdr {
    pub(crate) sh_name: u32,
    pub(crate) sh_type: u32,
    pub(crate) sh_flags: u64,
    pub(crate) sh_addr: u64,
    pub(crate) sh_offset: u64,
    pub(crate) sh_size: u64,
    pub(crate) sh_link: u32,
    pub(crate) sh_info: u32,
    pub(crate) sh_addralign: u64,
    pub(crate) sh_entsize: u64,
}

/// An entry of the dynamic table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dyn {
    pub(crate) d_tag: i64,
    pub(crate) d_val: u64,
}

/// Whether an entry's value is an address. The generic ABI's odd ones out are listed; above DT_ENCODING even tags are
/// addresses, but for the ranges that name it.
pub(crate) fn is_address(tag: i64) -> bool {
    let listed = [
        elf::DT_PLTGOT,
        elf::DT_HASH,
        elf::DT_STRTAB,
        elf::DT_SYMTAB,
        elf::DT_RELA,
        elf::DT_INIT,
        elf::DT_FINI,
        elf::DT_REL,
        elf::DT_JMPREL,
        elf::DT_INIT_ARRAY,
        elf::DT_FINI_ARRAY,
        elf::DT_PREINIT_ARRAY,
        elf::DT_SYMTAB_SHNDX,
        elf::DT_RELR,
        elf::DT_VERSYM,
        elf::DT_VERDEF,
        elf::DT_VERNEED,
    ];
    listed.iter().any(|t| t.0 == tag) || (elf::DT_ADDRRNGLO..=elf::DT_ADDRRNGHI).contains(&tag)
}

impl Phdr {
    /// End of the bytes in the file; the sum saturates, which no valid file reaches.
    pub(crate) fn file_end(&self) -> u64 {
        self.p_offset.saturating_add(self.p_filesz)
    }

    /// End of the bytes in memory.
    pub(crate) fn mem_end(&self) -> u64 {
        self.p_vaddr.saturating_add(self.p_memsz)
    }
}

impl Shdr {
    /// Bytes that the section takes in the file.
    pub(crate) fn file_size(&self) -> u64 {
        if self.sh_type == elf::SHT_NOBITS.0 || self.sh_type == elf::SHT_NULL.0 { 0 } else { self.sh_size }
    }

    /// Whether it is part of the program's memory.
    pub(crate) fn is_alloc(&self) -> bool {
        self.sh_flags & elf::SHF_ALLOC.0 != 0
    }
}

fn view<T: Pod>(bytes: &[u8]) -> Option<&T> {
    from_bytes::<T>(bytes).ok().map(|(t, _)| t)
}

macro_rules! read_ehdr {
    ($h:expr, $e:expr) => {{
        let (h, e) = ($h, $e);
        Ehdr {
            os_abi: h.e_ident.os_abi.0,
            e_type: h.e_type.get(e).0,
            e_machine: h.e_machine.get(e).0,
            e_entry: h.e_entry.get(e).into(),
            e_phoff: h.e_phoff.get(e).into(),
            e_shoff: h.e_shoff.get(e).into(),
            e_flags: h.e_flags.get(e).0,
            e_ehsize: h.e_ehsize.get(e),
            e_phentsize: h.e_phentsize.get(e),
            e_phnum: h.e_phnum.get(e),
            e_shentsize: h.e_shentsize.get(e),
            e_shnum: h.e_shnum.get(e),
            e_shstrndx: h.e_shstrndx.get(e).0,
        }
    }};
}

macro_rules! read_phdr {
    ($p:expr, $e:expr) => {{
        let (p, e) = ($p, $e);
        Phdr {
            p_type: p.p_type.get(e).0,
            p_flags: p.p_flags.get(e).0,
            p_offset: p.p_offset.get(e).into(),
            p_vaddr: p.p_vaddr.get(e).into(),
            p_paddr: p.p_paddr.get(e).into(),
            p_filesz: p.p_filesz.get(e).into(),
            p_memsz: p.p_memsz.get(e).into(),
            p_align: p.p_align.get(e).into(),
        }
    }};
}

/// The largest structure read at once. Bytes.
pub(crate) const EHDR_MAX: usize = 64;

impl Format {
    /// From e_ident; `None` if it is not the magic, or class and byte order are none that exist.
    pub(crate) fn from_ident(ident: &[u8]) -> Option<Format> {
        if !ident.starts_with(&elf::ELFMAG) {
            return None;
        }
        let class = match ident.get(4)? {
            1 => Class::Elf32,
            2 => Class::Elf64,
            _ => return None,
        };
        let endian = match ident.get(5)? {
            1 => Endian::Little,
            2 => Endian::Big,
            _ => return None,
        };
        Some(Format { class, endian })
    }

    pub(crate) fn is_64(self) -> bool {
        self.class == Class::Elf64
    }

    /// Size of an address. Bytes.
    pub(crate) fn word(self) -> u64 {
        if self.is_64() { 8 } else { 4 }
    }

    pub(crate) fn ehdr_size(self) -> usize {
        if self.is_64() { 64 } else { 52 }
    }

    pub(crate) fn phdr_size(self) -> usize {
        if self.is_64() { 56 } else { 32 }
    }

    pub(crate) fn shdr_size(self) -> usize {
        if self.is_64() { 64 } else { 40 }
    }

    pub(crate) fn dyn_size(self) -> usize {
        if self.is_64() { 16 } else { 8 }
    }

    pub(crate) fn ehdr(self, bytes: &[u8]) -> Option<Ehdr> {
        let e = self.endian.object();
        Some(match self.class {
            Class::Elf32 => read_ehdr!(view::<elf::FileHeader32<Endianness>>(bytes)?, e),
            Class::Elf64 => read_ehdr!(view::<elf::FileHeader64<Endianness>>(bytes)?, e),
        })
    }

    pub(crate) fn phdr(self, bytes: &[u8]) -> Option<Phdr> {
        let e = self.endian.object();
        Some(match self.class {
            Class::Elf32 => read_phdr!(view::<elf::ProgramHeader32<Endianness>>(bytes)?, e),
            Class::Elf64 => read_phdr!(view::<elf::ProgramHeader64<Endianness>>(bytes)?, e),
        })
    }

    pub(crate) fn shdr(self, bytes: &[u8]) -> Option<Shdr> {
        let e = self.endian.object();
        Some(match self.class {
            Class::Elf32 => {
                let s = view::<elf::SectionHeader32<Endianness>>(bytes)?;
                Shdr {
                    sh_name: s.sh_name.get(e),
                    sh_type: s.sh_type.get(e).0,
                    sh_flags: s.sh_flags.get_u64(e).0,
                    sh_addr: s.sh_addr.get(e).into(),
                    sh_offset: s.sh_offset.get(e).into(),
                    sh_size: s.sh_size.get(e).into(),
                    sh_link: s.sh_link.get(e),
                    sh_info: s.sh_info.get(e),
                    sh_addralign: s.sh_addralign.get(e).into(),
                    sh_entsize: s.sh_entsize.get(e).into(),
                }
            }
            Class::Elf64 => {
                let s = view::<elf::SectionHeader64<Endianness>>(bytes)?;
                Shdr {
                    sh_name: s.sh_name.get(e),
                    sh_type: s.sh_type.get(e).0,
                    sh_flags: s.sh_flags.get(e).0,
                    sh_addr: s.sh_addr.get(e),
                    sh_offset: s.sh_offset.get(e),
                    sh_size: s.sh_size.get(e),
                    sh_link: s.sh_link.get(e),
                    sh_info: s.sh_info.get(e),
                    sh_addralign: s.sh_addralign.get(e),
                    sh_entsize: s.sh_entsize.get(e),
                }
            }
        })
    }

    pub(crate) fn dynamic(self, bytes: &[u8]) -> Option<Dyn> {
        let e = self.endian.object();
        Some(match self.class {
            Class::Elf32 => {
                let d = view::<elf::Dyn32<Endianness>>(bytes)?;
                Dyn { d_tag: d.d_tag.get_i64(e).0, d_val: d.d_val.get(e).into() }
            }
            Class::Elf64 => {
                let d = view::<elf::Dyn64<Endianness>>(bytes)?;
                Dyn { d_tag: d.d_tag.get(e).0, d_val: d.d_val.get(e) }
            }
        })
    }

    pub(crate) fn sym_size(self) -> usize {
        if self.is_64() { 24 } else { 16 }
    }

    /// Offset of st_value in a symbol. Bytes.
    pub(crate) fn sym_value_at(self) -> u64 {
        if self.is_64() { 8 } else { 4 }
    }

    /// st_value and st_shndx of a symbol.
    pub(crate) fn sym(self, bytes: &[u8]) -> Option<(u64, u16)> {
        let e = self.endian.object();
        Some(match self.class {
            Class::Elf32 => {
                let s = view::<elf::Sym32<Endianness>>(bytes)?;
                (s.st_value.get(e).into(), s.st_shndx.get(e).0)
            }
            Class::Elf64 => {
                let s = view::<elf::Sym64<Endianness>>(bytes)?;
                (s.st_value.get(e), s.st_shndx.get(e).0)
            }
        })
    }

    pub(crate) fn u32(self, bytes: &[u8]) -> Option<u32> {
        view::<U32<Endianness>>(bytes).map(|v| v.get(self.endian.object()))
    }

    pub(crate) fn u16(self, bytes: &[u8]) -> Option<u16> {
        view::<object::endian::U16<Endianness>>(bytes).map(|v| v.get(self.endian.object()))
    }

    /// An address or size as stored; `None` if it doesn't fit the class.
    pub(crate) fn address_bytes(self, value: u64) -> Option<Vec<u8>> {
        let e = self.endian.object();
        Some(match self.class {
            Class::Elf32 => bytes_of(&U32::<Endianness>::new(e, u32::try_from(value).ok()?)).to_vec(),
            Class::Elf64 => bytes_of(&U64::<Endianness>::new(e, value)).to_vec(),
        })
    }

    /// A 32-bit field as stored.
    pub(crate) fn u32_bytes(self, value: u32) -> Vec<u8> {
        match self.endian {
            Endian::Little => value.to_le_bytes().to_vec(),
            Endian::Big => value.to_be_bytes().to_vec(),
        }
    }

    /// A 16-bit field as stored.
    pub(crate) fn u16_bytes(self, value: u16) -> Vec<u8> {
        bytes_of(&object::endian::U16::<Endianness>::new(self.endian.object(), value)).to_vec()
    }

    /// A program header as stored; `None` if a field doesn't fit the class.
    pub(crate) fn phdr_bytes(self, p: &Phdr) -> Option<Vec<u8>> {
        let e = self.endian.object();
        let narrow = |v: u64| u32::try_from(v).ok().map(|v| U32::<Endianness>::new(e, v));
        let wide = |v: u64| U64::<Endianness>::new(e, v);
        let p_type = U32::new(e, elf::ProgramType(p.p_type));
        let p_flags = U32::new(e, elf::ProgramFlags(p.p_flags));
        Some(match self.class {
            Class::Elf32 => bytes_of(&elf::ProgramHeader32::<Endianness> {
                p_type,
                p_offset: narrow(p.p_offset)?,
                p_vaddr: narrow(p.p_vaddr)?,
                p_paddr: narrow(p.p_paddr)?,
                p_filesz: narrow(p.p_filesz)?,
                p_memsz: narrow(p.p_memsz)?,
                p_flags,
                p_align: narrow(p.p_align)?,
            })
            .to_vec(),
            Class::Elf64 => bytes_of(&elf::ProgramHeader64::<Endianness> {
                p_type,
                p_flags,
                p_offset: wide(p.p_offset),
                p_vaddr: wide(p.p_vaddr),
                p_paddr: wide(p.p_paddr),
                p_filesz: wide(p.p_filesz),
                p_memsz: wide(p.p_memsz),
                p_align: wide(p.p_align),
            })
            .to_vec(),
        })
    }

    /// A section header as stored; `None` if a field doesn't fit the class.
    pub(crate) fn shdr_bytes(self, s: &Shdr) -> Option<Vec<u8>> {
        let e = self.endian.object();
        let narrow = |v: u64| u32::try_from(v).ok().map(|v| U32::<Endianness>::new(e, v));
        let wide = |v: u64| U64::<Endianness>::new(e, v);
        let half = |v: u32| U32::<Endianness>::new(e, v);
        let sh_type = U32::new(e, elf::SectionType(s.sh_type));
        Some(match self.class {
            Class::Elf32 => bytes_of(&elf::SectionHeader32::<Endianness> {
                sh_name: half(s.sh_name),
                sh_type,
                sh_flags: U32::new_u64(e, elf::SectionFlags(s.sh_flags)).ok()?,
                sh_addr: narrow(s.sh_addr)?,
                sh_offset: narrow(s.sh_offset)?,
                sh_size: narrow(s.sh_size)?,
                sh_link: half(s.sh_link),
                sh_info: half(s.sh_info),
                sh_addralign: narrow(s.sh_addralign)?,
                sh_entsize: narrow(s.sh_entsize)?,
            })
            .to_vec(),
            Class::Elf64 => bytes_of(&elf::SectionHeader64::<Endianness> {
                sh_name: half(s.sh_name),
                sh_type,
                sh_flags: U64::new(e, elf::SectionFlags(s.sh_flags)),
                sh_addr: wide(s.sh_addr),
                sh_offset: wide(s.sh_offset),
                sh_size: wide(s.sh_size),
                sh_link: half(s.sh_link),
                sh_info: half(s.sh_info),
                sh_addralign: wide(s.sh_addralign),
                sh_entsize: wide(s.sh_entsize),
            })
            .to_vec(),
        })
    }

    /// A dynamic entry as stored; `None` if a field doesn't fit the class.
    pub(crate) fn dyn_bytes(self, d: &Dyn) -> Option<Vec<u8>> {
        let e = self.endian.object();
        let tag = elf::DynamicTag(d.d_tag);
        Some(match self.class {
            Class::Elf32 => bytes_of(&elf::Dyn32::<Endianness> {
                d_tag: I32::new_i64(e, tag).ok()?,
                d_val: U32::new(e, u32::try_from(d.d_val).ok()?),
            })
            .to_vec(),
            Class::Elf64 => {
                bytes_of(&elf::Dyn64::<Endianness> { d_tag: I64::new(e, tag), d_val: U64::new(e, d.d_val) })
                    .to_vec()
            }
        })
    }
}
