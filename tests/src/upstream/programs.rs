//! Small programs for both machines, compiled once and told afterwards what to say.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::{Program, place::repository};

/// What upstream builds for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// x86-64.
    Amd64,
    /// arm64.
    Arm64,
}

/// Both.
pub const MACHINES: [Machine; 2] = [Machine::Amd64, Machine::Arm64];

impl Machine {
    /// Go's and Debian's name.
    pub fn goarch(self) -> &'static str {
        match self {
            Machine::Amd64 => "amd64",
            Machine::Arm64 => "arm64",
        }
    }

    /// The kernel's name.
    pub fn uname(self) -> &'static str {
        match self {
            Machine::Amd64 => "x86_64",
            Machine::Arm64 => "aarch64",
        }
    }

    fn gcc(self) -> String {
        format!("{}-linux-gnu-gcc", self.uname())
    }
}

/// As in `stand-in.c`.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Fixed,
    Dynamic,
    Library,
    Linked,
}

const MARK: &[u8] = b"@says@";
/// Bytes that `stand-in.c` has for the text, its end included.
const ROOM: usize = 128;

/// A machine, its static program, and its dynamic one.
type Compiled = (Machine, Vec<u8>, Vec<u8>);

/// The compiled programs.
#[derive(Debug)]
pub struct Programs {
    compiled: Vec<Compiled>,
    dir: std::path::PathBuf,
}

impl Programs {
    /// Compiles them in a directory.
    ///
    /// # Errors
    /// A compiler's.
    pub fn make(dir: &Path) -> Result<Programs> {
        let dir = dir.to_owned();
        let compiled = MACHINES.into_iter().map(|machine| {
            let fixed =
                compile(&dir, machine, Mode::Fixed, &["-nostdlib", "-static", "-ffreestanding", "-no-pie"])?;
            Ok((machine, fixed, compile(&dir, machine, Mode::Dynamic, &[])?))
        });
        Ok(Programs { compiled: compiled.collect::<Result<_>>()?, dir: dir.clone() })
    }

    /// A static program.
    ///
    /// # Errors
    /// A text that is too long.
    pub fn fixed(&self, machine: Machine, says: &str) -> Result<Vec<u8>> {
        self.of(machine, says, |(_, fixed, _)| fixed)
    }

    /// A program that needs the C library.
    ///
    /// # Errors
    /// A text that is too long.
    pub fn dynamic(&self, machine: Machine, says: &str) -> Result<Vec<u8>> {
        self.of(machine, says, |(_, _, dynamic)| dynamic)
    }

    fn of(&self, machine: Machine, says: &str, which: fn(&Compiled) -> &Vec<u8>) -> Result<Vec<u8>> {
        let found = self.compiled.iter().find(|c| c.0 == machine).context("a machine without programs")?;
        tell(which(found).clone(), says)
    }

    /// A shared library, and a program that needs it and finds it in `../lib`.
    ///
    /// # Errors
    /// The compiler's, and a text that is too long.
    pub fn linked(&self, machine: Machine, soname: &str, says: &str) -> Result<(Vec<u8>, Vec<u8>)> {
        let soname_option = format!("-Wl,-soname,{soname}");
        let library =
            compile(&self.dir, machine, Mode::Library, &["-shared", "-fPIC", "-nostdlib", &soname_option])?;
        let path = self.dir.join(soname);
        fs::write(&path, &library).with_context(|| format!("{path:?}"))?;
        let path = path.to_str().context("a path without UTF-8")?;
        let program = compile(&self.dir, machine, Mode::Linked, &[path, "-Wl,-rpath,$ORIGIN/../lib"])?;
        Ok((tell(library, says)?, program))
    }
}

fn compile(dir: &Path, machine: Machine, mode: Mode, options: &[&str]) -> Result<Vec<u8>> {
    let out = dir.join("compiled");
    Program::new(machine.gcc())
        .args(["-O1", "-s", "-fno-stack-protector", "-Wl,--build-id=none"])
        .arg(format!("-DMODE={}", format!("{mode:?}").to_uppercase()))
        .arg(repository().join("tests/programs/stand-in.c"))
        .args(options)
        .arg("-o")
        .arg(&out)
        .run()?;
    fs::read(&out).with_context(|| format!("{out:?}"))
}

fn tell(mut program: Vec<u8>, says: &str) -> Result<Vec<u8>> {
    anyhow::ensure!(says.len() < ROOM, "{says:?} has no room in a program");
    let at = program.windows(MARK.len()).position(|w| w == MARK).context("no mark in a compiled program")?;
    program[at..at + ROOM].fill(0);
    program[at..at + says.len()].copy_from_slice(says.as_bytes());
    Ok(program)
}
