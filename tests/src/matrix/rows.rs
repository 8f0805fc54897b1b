//! The rows of the matrix, each made when it is first asked for.

use std::sync::OnceLock;

use anyhow::{Error, Result};

use super::{Kind, Layout, Machine, Root, alpine, debian, layout, musl, nix};
use crate::place::shared;

/// A row before its root is made.
#[derive(Debug, Clone, Copy)]
enum Source {
    Debian(&'static str, Machine),
    /// Moved files of Debian 12.
    Layout(Layout),
    /// The same in the store.
    Nix,
    /// The real one, where `../shared` is.
    Alpine,
    Musl,
}

/// All rows, and whether each run of the tests makes them: those take a few seconds each, and only the mirrors that the other
/// tests need, too.
const ROWS: [(Source, bool); 13] = [
    (Source::Debian("bullseye", Machine::Amd64), false),
    (Source::Debian("bookworm", Machine::Amd64), true),
    (Source::Debian("trixie", Machine::Amd64), true),
    (Source::Debian("bookworm", Machine::I386), false),
    (Source::Debian("bookworm", Machine::Arm64), false),
    (Source::Alpine, true),
    (Source::Musl, true),
    (Source::Layout(Layout::Old), true),
    (Source::Layout(Layout::Fedora), true),
    (Source::Layout(Layout::Suse), true),
    (Source::Layout(Layout::Arch), true),
    (Source::Layout(Layout::Wolfi), true),
    (Source::Nix, true),
];

/// A row whose root is made once.
#[derive(Debug)]
pub struct Row {
    source: Source,
    go: bool,
    made: OnceLock<std::result::Result<Root, String>>,
}

impl Row {
    /// Those of each run of the tests, or all, which have Go besides. Alpine only where it can be had.
    pub fn all(full: bool) -> Vec<Row> {
        let here = |s: &Source| !matches!(s, Source::Alpine) || shared(super::roots::ALPINE).is_some();
        let wanted = ROWS.iter().filter(|(s, always)| (full || *always) && here(s));
        wanted.map(|(source, _)| Row { source: *source, go: full, made: OnceLock::new() }).collect()
    }

    /// In names of tests.
    pub fn name(&self) -> String {
        match self.source {
            Source::Debian(suite, machine) => format!("{suite}_{}", machine.debian()),
            Source::Layout(layout) => layout.name().into(),
            Source::Nix => "nix".into(),
            Source::Alpine => "alpine".into(),
            Source::Musl => "musl".into(),
        }
    }

    /// Its programs.
    pub fn kinds(&self) -> Vec<Kind> {
        match self.source {
            Source::Alpine => vec![Kind::Shell, Kind::Tls, Kind::Cpp],
            Source::Musl => vec![Kind::Shell, Kind::Cpp],
            _ => super::ALL.into_iter().filter(|k| self.go || *k != Kind::Go).collect(),
        }
    }

    /// Its root.
    ///
    /// # Errors
    /// It can't be made.
    pub fn root(&self, work: &std::path::Path) -> Result<&Root> {
        let made = self.made.get_or_init(|| self.make(work).map_err(|e| format!("{e:#}")));
        made.as_ref().map_err(|e| Error::msg(e.clone()))
    }

    fn make(&self, work: &std::path::Path) -> Result<Root> {
        let base = || debian("bookworm", Machine::Amd64, self.go);
        match self.source {
            Source::Debian(suite, machine) => debian(suite, machine, self.go),
            Source::Layout(which) => layout(&base()?, which),
            Source::Nix => nix(&base()?),
            Source::Alpine => alpine(work),
            Source::Musl => musl(work),
        }
    }
}
