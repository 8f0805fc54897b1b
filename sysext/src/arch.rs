//! CPU architectures and the names that others give them.

use std::fmt;
use std::str::FromStr;

/// A CPU architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM, little endian.
    Arm64,
    /// 32-bit x86.
    X86,
    /// 32-bit ARM, little endian.
    Arm,
    /// 64-bit RISC-V.
    Riscv64,
    /// 64-bit PowerPC, little endian.
    Ppc64Le,
    /// 64-bit IBM Z.
    S390x,
    /// 64-bit LoongArch.
    LoongArch64,
}

/// A word that names no architecture known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("architecture {0:?} is unknown, expected one of {list}", list = Arch::ALL.map(Arch::systemd).join(", "))]
pub struct UnknownArch(pub String);

struct Names {
    arch: Arch,
    systemd: &'static str,
    oci: &'static str,
    uname: &'static str,
    elf_machine: u16,
    others: &'static [&'static str],
}

const fn names(
    arch: Arch,
    systemd: &'static str,
    oci: &'static str,
    uname: &'static str,
    elf_machine: u16,
    others: &'static [&'static str],
) -> Names {
    Names { arch, systemd, oci, uname, elf_machine, others }
}

/// systemd: `ARCHITECTURE=` of os-release(5); oci: `GOARCH`; uname: `uname -m`; elf_machine: `e_machine`, elf.h; others:
/// Debian's and what people type.
const NAMES: [Names; 8] = [
    names(Arch::X86_64, "x86-64", "amd64", "x86_64", 62, &["x64"]),
    names(Arch::Arm64, "arm64", "arm64", "aarch64", 183, &["armv8", "arm64v8"]),
    names(Arch::X86, "x86", "386", "i686", 3, &["i386", "i486", "i586"]),
    names(Arch::Arm, "arm", "arm", "armv7l", 40, &["armhf", "armv6l", "armv7", "armel"]),
    names(Arch::Riscv64, "riscv64", "riscv64", "riscv64", 243, &[]),
    names(Arch::Ppc64Le, "ppc64-le", "ppc64le", "ppc64le", 21, &["ppc64el"]),
    names(Arch::S390x, "s390x", "s390x", "s390x", 22, &[]),
    names(Arch::LoongArch64, "loongarch64", "loong64", "loongarch64", 258, &[]),
];

impl Arch {
    /// All of them.
    pub const ALL: [Arch; 8] = [
        Arch::X86_64,
        Arch::Arm64,
        Arch::X86,
        Arch::Arm,
        Arch::Riscv64,
        Arch::Ppc64Le,
        Arch::S390x,
        Arch::LoongArch64,
    ];

    fn names(self) -> &'static Names {
        // The table is in the order of the variants, which a test checks.
        &NAMES[self as usize]
    }

    /// systemd's name, as in `ARCHITECTURE=` and the `%a` specifier: `x86-64`.
    pub fn systemd(self) -> &'static str {
        self.names().systemd
    }

    /// The name in OCI platforms, which is Go's: `amd64`.
    pub fn oci(self) -> &'static str {
        self.names().oci
    }

    /// The kernel's name: `x86_64`.
    pub fn uname(self) -> &'static str {
        self.names().uname
    }

    /// `e_machine` of its ELF files. elf.h.
    pub fn elf_machine(self) -> u16 {
        self.names().elf_machine
    }

    /// The one whose ELF files have this `e_machine`.
    pub fn from_elf_machine(machine: u16) -> Option<Arch> {
        NAMES.iter().find(|n| n.elf_machine == machine).map(|n| n.arch)
    }

    /// The machine that this program was built for; none if it isn't listed here.
    pub fn host() -> Option<Arch> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Arch::X86_64),
            "aarch64" => Some(Arch::Arm64),
            "x86" => Some(Arch::X86),
            "arm" => Some(Arch::Arm),
            "riscv64" => Some(Arch::Riscv64),
            "powerpc64" if cfg!(target_endian = "little") => Some(Arch::Ppc64Le),
            "s390x" => Some(Arch::S390x),
            "loongarch64" => Some(Arch::LoongArch64),
            _ => None,
        }
    }
}

/// systemd's name.
impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.systemd())
    }
}

/// Takes systemd's, OCI's, the kernel's and Debian's names, in any case.
impl FromStr for Arch {
    type Err = UnknownArch;
    fn from_str(s: &str) -> Result<Self, UnknownArch> {
        let word = s.to_ascii_lowercase();
        let word = word.as_str();
        NAMES
            .iter()
            .find(|n| n.systemd == word || n.oci == word || n.uname == word || n.others.contains(&word))
            .map(|n| n.arch)
            .ok_or_else(|| UnknownArch(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back() {
        for arch in Arch::ALL {
            assert_eq!(arch.names().arch, arch);
            for name in [arch.systemd(), arch.oci(), arch.uname()] {
                assert_eq!(name.parse(), Ok(arch), "{name}");
                assert_eq!(name.to_uppercase().parse(), Ok(arch), "{name}");
            }
            assert_eq!(Arch::from_elf_machine(arch.elf_machine()), Some(arch));
        }
        for (name, arch) in [("x86-64", Arch::X86_64), ("ppc64el", Arch::Ppc64Le), ("armhf", Arch::Arm)] {
            assert_eq!(name.parse(), Ok(arch), "{name}");
        }
    }

    #[test]
    fn unknown_names_are_told() {
        let error = "vax".parse::<Arch>().unwrap_err().to_string();
        assert!(
            error.starts_with("architecture \"vax\" is unknown, expected one of x86-64, arm64"),
            "{error}"
        );
        assert_eq!(Arch::from_elf_machine(0), None);
    }
}
