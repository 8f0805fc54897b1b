//! Daemons of Debian's packages: how they are made extensions, and what they do on a host that has never heard of them.

mod list;
mod table;

pub use table::{Cell, Cells};

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};

use crate::{Account, Vm, World};

/// A daemon, and how it is known to work.
#[derive(Debug, Clone, Copy)]
pub struct Daemon {
    /// The extension's name.
    pub name: &'static str,
    packages: &'static [&'static str],
    unit: &'static str,
    /// The user that it gets.
    user: &'static str,
    /// A shell command that asks it something.
    pub ask: &'static str,
    /// Part of the answer.
    pub expect: &'static str,
    options: &'static [&'static str],
    /// Those of flatwrap only.
    relax: bool,
    /// Whether it needs its files, or its unit, to stop.
    stops_first: bool,
}

/// What makes an extension of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// With its libraries.
    Flix,
    /// In a private root.
    Flatwrap,
}

/// Where it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// Debian 13.
    Systemd257,
    /// Debian 12.
    Systemd252,
}

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// What makes the extensions.
    pub tool: Tool,
    /// Where they are merged.
    pub host: Host,
}

impl Column {
    /// All of them.
    pub const ALL: [Column; 4] = [
        Column { tool: Tool::Flix, host: Host::Systemd257 },
        Column { tool: Tool::Flix, host: Host::Systemd252 },
        Column { tool: Tool::Flatwrap, host: Host::Systemd257 },
        Column { tool: Tool::Flatwrap, host: Host::Systemd252 },
    ];

    /// As in the head of the table.
    pub fn title(self) -> String {
        let tool = if self.tool == Tool::Flix { "flix" } else { "flatwrap" };
        let host = if self.host == Host::Systemd257 { "257" } else { "252" };
        format!("{tool}, systemd {host}")
    }

    /// The machine.
    ///
    /// # Errors
    /// Its root can't be made.
    pub fn machine(self) -> Result<Vm> {
        match self.host {
            Host::Systemd257 => Vm::trixie(),
            Host::Systemd252 => Vm::bookworm(),
        }
    }
}

impl Daemon {
    /// All that are known.
    pub const ALL: [Daemon; 47] = list::ALL;

    /// The one of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn called(name: &str) -> Result<Daemon> {
        match Self::ALL.iter().find(|d| d.name == name) {
            Some(daemon) => Ok(*daemon),
            None => bail!("no daemon is called {name}"),
        }
    }

    fn packages(&self) -> Vec<&'static str> {
        if self.packages.is_empty() { vec![self.name] } else { self.packages.to_vec() }
    }

    /// The command's words after the program.
    fn words(&self) -> Vec<String> {
        let packages = self.packages().into_iter().map(|p| format!("package:{p}"));
        let first = ["debian:bookworm", self.name].map(str::to_owned).into_iter();
        let options = self.options.iter().map(|o| (*o).to_owned());
        first.chain(packages).chain(["--enable", self.unit].map(str::to_owned)).chain(options).collect()
    }

    /// The names of its two versions.
    pub fn images(&self) -> [String; 2] {
        [format!("{}.raw", self.name), format!("{}-2.image", self.name)]
    }

    /// Makes two versions of the extension: `NAME.raw` and `NAME-2.image`.
    ///
    /// # Errors
    /// flix's or flatwrap's.
    pub fn make(&self, by: &Account, tool: Tool) -> Result<Vec<PathBuf>> {
        let world = World::get()?;
        let mut out = Vec::new();
        for (name, epoch) in self.images().into_iter().zip(["1", "2"]) {
            let program = if tool == Tool::Flix { world.flix(by) } else { world.flatwrap(by) };
            let relax = (self.relax && tool == Tool::Flatwrap).then_some("--relax-units");
            program.args(self.words()).args(relax).args(["--output", &name, "--epoch", epoch]).run()?;
            out.push(by.home().join(name));
        }
        Ok(out)
    }

    /// Lines for [`script`]: its whole life on a host. The script ends where it fails.
    pub fn life(&self) -> String {
        let Daemon { name, unit, user, ask, expect, .. } = self;
        let stops_first = if self.stops_first { " yes" } else { "" };
        format!("live {name} {unit} {user} {} {}{stops_first}\n", quoted(ask), quoted(expect))
    }

    /// The same among others, which aren't in its way: the script goes on.
    pub fn life_among_others(&self) -> String {
        format!("set +e\n(set -e; {})\nclear_away {} {}\nset -e\n", self.life().trim(), self.name, self.unit)
    }

    /// Whether it was active, answered three times, and is gone without a failed unit.
    ///
    /// # Errors
    /// It didn't; the message has what the machine printed of it.
    pub fn lived(&self, text: &str) -> Result<()> {
        let Daemon { name, user, .. } = self;
        let begins = |name: &str| format!("{name}: begins\n");
        let text = text.split(&begins(name)).nth(1).unwrap_or_default();
        // Another one's life isn't its.
        let ends = Self::ALL.iter().filter_map(|d| text.find(&begins(d.name))).min().unwrap_or(text.len());
        let text = &text[..ends];
        // These are users of every Debian.
        let had =
            !["root", "www-data", "proxy", "lp"].contains(user) && text.contains(&format!("{name}: has "));
        ensure!(!had, "{name}: the host has its user: {text}");
        let Some((part, _)) = text.split_once(&format!("{name}: inactive, failed: 0\n")) else {
            bail!("{name} isn't gone without a failed unit: {text}");
        };
        for line in [format!("{name}: active, {user}\n"), format!("{name}: version 2\n")] {
            ensure!(part.contains(&line), "{name}: {line:?} isn't said: {text}");
        }
        ensure!(part.matches(self.expect).count() >= 3, "{name}: {:?} isn't said: {text}", self.expect);
        Ok(())
    }
}

/// A word for a shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A script for a machine with images in /run/images.
pub fn script(rest: &str) -> String {
    format!("{}\n{rest}\n", include_str!("life.sh"))
}
