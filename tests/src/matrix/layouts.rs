//! Layouts of other distributions, made by moving the real files of Debian's root.
//!
//! The folders that are compiled into the files move with them: `lib/x86_64-linux-gnu` becomes the new folder with as many
//! slashes as the old name was longer, which is the same path. So the loader looks where such a distribution's does.

use std::fs;

use anyhow::{Context, Result};

use super::{Form, Root};
use crate::{
    Program,
    place::{cached, repository},
};

/// A distribution whose packages can't be had here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// Fedora, RHEL 9 and later: /lib64 is usr/lib64, and the loader is there.
    Fedora,
    /// openSUSE: the same, with settings in /usr/etc.
    Suse,
    /// All in /usr/lib, to which /lib and /lib64 lead.
    Arch,
    /// The loader is /lib/ld-linux-x86-64.so.2, to which a symlink in /lib64 leads.
    Wolfi,
    /// glibc 2.31 and earlier, as RHEL 8 and Debian 11 have it: the loader's file has a version in its name, libpthread and others
    /// are files of their own, and so are the libraries of most names.
    Old,
}

impl Layout {
    pub(super) fn name(self) -> &'static str {
        match self {
            Layout::Fedora => "fedora",
            Layout::Suse => "suse",
            Layout::Arch => "arch",
            Layout::Wolfi => "wolfi",
            Layout::Old => "old",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Layout::Fedora => "layout of Fedora, RHEL 9",
            Layout::Suse => "layout of openSUSE",
            Layout::Arch => "layout of Arch",
            Layout::Wolfi => "layout of Wolfi",
            Layout::Old => "layout of RHEL 8",
        }
    }

    fn lib(self) -> &'static str {
        match self {
            Layout::Arch | Layout::Wolfi => "lib",
            _ => "lib64",
        }
    }
}

/// A layout of Debian's root.
///
/// # Errors
/// The script's.
pub(super) fn layout(base: &Root, layout: Layout) -> Result<Root> {
    let dir = moved(base, layout.name(), "matrix-layout.sh")?;
    let (title, lib) = (layout.title().to_owned(), layout.lib().to_owned());
    Ok(Root { name: layout.name().into(), title, dir, machine: base.machine, form: Form::Usual, lib })
}

/// Each program and each library in a folder of its own in /nix/store, found by DT_RUNPATH alone.
///
/// # Errors
/// The script's.
pub(super) fn nix(base: &Root) -> Result<Root> {
    let dir = moved(base, "nix", "matrix-nix.sh")?;
    let (title, lib) = ("layout of Nix".to_owned(), base.lib.clone());
    Ok(Root { name: "nix".into(), title, dir, machine: base.machine, form: Form::Nix, lib })
}

fn moved(base: &Root, name: &str, script: &str) -> Result<std::path::PathBuf> {
    let script = repository().join("tests/programs").join(script);
    let of_base = base.dir.parent().context("no directory")?.join("recipe");
    let recipe = format!("{}{}", fs::read_to_string(of_base)?, fs::read_to_string(&script)?);
    let dir = cached(&format!("matrix-{}-{name}", base.name), &recipe, |dir| {
        Program::new(&script).arg(&base.dir).arg(dir.join("root")).arg(name).run().map(drop)
    })?;
    Ok(dir.join("root"))
}
