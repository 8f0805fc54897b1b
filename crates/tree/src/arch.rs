//! CPU architectures and the names that others give them.

use std::fmt;
use std::str::FromStr;

/// A CPU architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    wide: bool,
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
    let wide = !matches!(arch, Arch::X86 | Arch::Arm);
    Names { arch, systemd, oci, uname, elf_machine, wide, others }
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

    /// What its own ELF files are for.
    pub fn machine(self) -> Machine {
        let Names { elf_machine, wide, .. } = *self.names();
        Machine { number: elf_machine, wide, little: self != Arch::S390x }
    }

    /// What it takes for a host of this architecture to run programs for another machine. None if no host does, and for
    /// its own machine.
    ///
    /// Sources: Linux' arch/*/Kconfig, `COMPAT` and what depends on it.
    pub fn compat(self, machine: Machine) -> Option<Compat> {
        let compat = |usual, needs| Some(Compat { usual, needs });
        match (self, machine) {
            (Arch::X86_64, m) if m == Arch::X86.machine() => {
                compat(true, "a kernel that runs 32-bit programs, as most do")
            }
            (Arch::X86_64, Machine::X32) => compat(false, "a kernel with the x32 ABI, which few have"),
            (Arch::Arm64, m) if m == Arch::Arm.machine() => compat(
                false,
                "a CPU with AArch32, which many servers' and newer ones lack, and a kernel with pages of 4 KiB",
            ),
            (Arch::S390x, Machine::S390) => {
                compat(false, "a kernel that runs 31-bit programs, which newer ones don't")
            }
            (Arch::Riscv64, Machine::RISCV32) => {
                compat(false, "a CPU and a kernel that run 32-bit programs, which few do")
            }
            _ => None,
        }
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

/// On what hosts of one architecture run the programs for another machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compat {
    /// Whether most hosts have it.
    pub usual: bool,
    /// What a host needs: "a kernel with …".
    pub needs: &'static str,
}

/// What an ELF file is for. Not all machines have an [`Arch`], and `e_machine` alone says neither the width nor the byte
/// order: x32 has that of x86-64, s390 that of s390x, and 64-bit PowerPC one for both orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Machine {
    /// `e_machine`. elf.h.
    pub number: u16,
    /// ELFCLASS64.
    pub wide: bool,
    /// ELFDATA2LSB.
    pub little: bool,
}

impl Machine {
    const X32: Machine = Machine { number: 62, wide: false, little: true };
    const S390: Machine = Machine { number: 22, wide: false, little: false };
    const RISCV32: Machine = Machine { number: 243, wide: false, little: true };

    /// Bytes of a file's head that [`Machine::of`] looks at.
    pub const HEAD: usize = 20;

    /// That of a file, by its first [`Machine::HEAD`] bytes. None if it is no ELF file. elf(5).
    pub fn of(head: &[u8]) -> Option<Machine> {
        match *head {
            [0x7f, b'E', b'L', b'F', class, data, ..] if head.len() >= 20 => {
                let bytes = [head[18], head[19]];
                let little = data != 2;
                let number = if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) };
                Some(Machine { number, wide: class == 2, little })
            }
            _ => None,
        }
    }

    /// The architecture whose own programs are for it.
    pub fn arch(self) -> Option<Arch> {
        Arch::ALL.into_iter().find(|a| a.machine() == self)
    }
}

/// The architecture's name, else what the ELF header says.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { number, wide, little } = *self;
        match (self.arch(), *self) {
            (Some(arch), _) => write!(f, "{arch}"),
            (None, Machine::X32) => f.write_str("x32"),
            (None, Machine::S390) => f.write_str("s390"),
            (None, Machine::RISCV32) => f.write_str("riscv32"),
            (None, _) => {
                let (bits, end) = (if wide { 64 } else { 32 }, if little { "little" } else { "big" });
                write!(f, "ELF machine {number} ({bits}-bit, {end}-endian)")
            }
        }
    }
}

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

/// Whether the name of a directory is a triplet, of which Debian's multiarch has one below /usr/lib: `x86_64-linux-gnu`.
pub fn is_triplet(name: &[u8]) -> bool {
    name.windows(7).any(|w| w == b"-linux-")
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
            assert_eq!(arch.machine().arch(), Some(arch));
            assert_eq!(arch.machine().to_string(), arch.systemd());
            assert_eq!(arch.compat(arch.machine()), None);
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
    }

    /// e_machine alone would take each of these for another one.
    #[test]
    fn machines_of_heads() {
        let head = |class: u8, data: u8, machine: [u8; 2]| {
            let mut head = [0; 20];
            head[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, data]);
            head[18..].copy_from_slice(&machine);
            Machine::of(&head).unwrap()
        };
        for (class, data, machine, name, x86_64, arm64) in [
            (2, 1, [62, 0], "x86-64", None, None),
            (1, 1, [3, 0], "x86", Some(true), None),
            (1, 1, [62, 0], "x32", Some(false), None),
            (1, 1, [40, 0], "arm", None, Some(false)),
            (1, 2, [0, 40], "ELF machine 40 (32-bit, big-endian)", None, None),
            (2, 1, [21, 0], "ppc64-le", None, None),
            (2, 2, [0, 21], "ELF machine 21 (64-bit, big-endian)", None, None),
            (2, 2, [0, 22], "s390x", None, None),
            (1, 2, [0, 22], "s390", None, None),
            (1, 1, [243, 0], "riscv32", None, None),
        ] {
            let machine = head(class, data, machine);
            assert_eq!(machine.to_string(), name);
            assert_eq!(Arch::X86_64.compat(machine).map(|c| c.usual), x86_64, "{name}");
            assert_eq!(Arch::Arm64.compat(machine).map(|c| c.usual), arm64, "{name}");
        }
        assert_eq!(Machine::of(b"\x7fELF\x02\x01"), None);
        assert_eq!(Machine::of(&[0; 20]), None);
    }
}
