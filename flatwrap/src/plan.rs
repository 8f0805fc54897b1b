//! What shows on the host, and what stands behind it: decided here, done by [`Plan::build`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sysext::extension::unit_programs::{is_launcher, is_unit};
use sysext::request::{Item, home, locate};
use sysext::{RequestError, RequestedPath};
use tree::{Kind, Machine, StaticPath, Tree, TreeError, TreePath, list_some};

use crate::{
    command::{Command, CommandError},
    environment::{self, Variable},
    etc::{self, HOST_ETC},
    mounts::{MountError, Mounts},
    options::{Map, Options},
    quote::is_text,
    script,
};

/// What one path of the host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// A script that runs this program of the image in the private root.
    EntryPoint(TreePath),
    /// A script that runs what the image's config says in the private root.
    Command(Command),
    /// A symlink to this path of the image, in the sysroot.
    Link(TreePath),
    /// A copy of this file of the image, a unit or another text from which the host takes programs to start: it is read
    /// outside of the private root.
    Unit(TreePath),
}

/// All that will be in the extension.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) options: Options,
    pub(crate) mounts: Mounts,
    pub(crate) shown: BTreeMap<TreePath, Shown>,
    /// The text of each unit among them.
    pub(crate) units: BTreeMap<TreePath, Vec<u8>>,
    /// What the entry points set.
    pub(crate) variables: Vec<Variable>,
    /// Whether commands of units start as root and become the unit's user.
    pub(crate) becomes_users: bool,
    /// Decisions on the user's behalf.
    pub notes: Vec<String>,
    /// What will probably not work.
    pub warnings: Vec<String>,
    /// Whether one of the warnings is of a unit that forbids what [`Options::relax_units`] allows.
    pub units_forbid: bool,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum PlanError {
    /// Nothing would show on the host.
    #[error("no path is to show on the host")]
    Nothing,
    /// A path isn't in the image, or has no place on the host.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Two things at one place.
    #[error("{target} would hide {hidden}: both are to show on the host")]
    Hides {
        /// What would hide the other.
        target: TreePath,
        /// What would be hidden.
        hidden: TreePath,
    },
    /// A place that would take from the host what the entry points, or its directories, need.
    #[error("{target} would hide the host's own, {why}")]
    HidesHost {
        target: TreePath,
        /// What the host needs it for.
        why: &'static str,
    },
    /// The image's config has nothing that could be run.
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("{target} is in the sysroot {sysroot} or above it")]
    InSysroot { target: TreePath, sysroot: TreePath },
    /// The sysroot is no place for an extension's files.
    #[error("sysroot {0} is not below /usr")]
    BadSysroot(TreePath),
    /// A name that can't stand in a script.
    #[error("{0}: a name that is visible on the host has to be UTF-8 without control characters")]
    BadName(TreePath),
    /// The image has the path that the scripts need.
    #[error("{0}: the image has it, and the entry points need the place")]
    Reserved(TreePath),
    /// A device, a socket or a pipe.
    #[error("{0} is neither a file nor a directory")]
    Special(TreePath),
    /// A working directory that no program can have.
    #[error("working directory {0} is no directory of the image")]
    NoWorkdir(TreePath),
    /// The mounts can't be planned.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A tree refused a path.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A path became too long.
    #[error(transparent)]
    Path(#[from] tree::PathError),
    /// A file of the image can't be read.
    #[error("{path}: {source}")]
    Content { path: TreePath, source: tree::ContentError },
}

const USR: StaticPath = StaticPath::new("/usr");
const BIN: StaticPath = StaticPath::new("/usr/bin");

/// What the entry points run on the host, and what runs them.
const TOOLS: [StaticPath; 8] = [
    StaticPath::new("/usr/bin/sh"),
    StaticPath::new("/usr/bin/bash"),
    StaticPath::new("/usr/bin/dash"),
    StaticPath::new("/usr/bin/ash"),
    StaticPath::new("/usr/bin/mount"),
    StaticPath::new("/usr/bin/unshare"),
    StaticPath::new("/usr/bin/bwrap"),
    StaticPath::new("/usr/bin/id"),
];

/// What the entry points run on hosts whose shell it is.
const BUSYBOX: StaticPath = StaticPath::new("/usr/bin/busybox");

/// Directories of every host.
const DIRECTORIES: [StaticPath; 12] = [
    StaticPath::new("/usr/bin"),
    StaticPath::new("/usr/sbin"),
    StaticPath::new("/usr/lib"),
    StaticPath::new("/usr/lib64"),
    StaticPath::new("/usr/libexec"),
    StaticPath::new("/usr/local"),
    StaticPath::new("/usr/share"),
    StaticPath::new("/usr/include"),
    StaticPath::new("/usr/src"),
    StaticPath::new("/usr/lib/systemd"),
    StaticPath::new("/usr/lib/systemd/system"),
    StaticPath::new("/usr/lib/systemd/user"),
];

impl Plan {
    /// Decides what each item becomes.
    ///
    /// # Errors
    /// See [`PlanError`].
    pub fn new(image: &Tree, wanted: &[RequestedPath], mut options: Options) -> Result<Plan, PlanError> {
        let usr = USR.path();
        if !options.sysroot.starts_with(&usr) || options.sysroot.depth() < 3 {
            return Err(PlanError::BadSysroot(options.sysroot));
        }
        if wanted.is_empty() && options.process.is_none() {
            return Err(PlanError::Nothing);
        }
        for reserved in [TreePath::root().join(script::DIR)?, HOST_ETC.path()] {
            if image.contains(&reserved) {
                return Err(PlanError::Reserved(reserved));
            }
        }
        let items = locate(image, wanted, options.keep_sbin)?;
        if options.etc == Map::Merge {
            options.etc_names.extend(etc_names(image, &items, &options));
        }
        let mounts = Mounts::new(image, &options)?;
        if let Some(dir) = &options.workdir {
            let there = image
                .resolve(dir.to_absolute(), true)
                .is_ok_and(|r| image.get(&r.path).is_some_and(tree::Node::is_dir));
            if !there && !mounts.is_host(dir) {
                return Err(PlanError::NoWorkdir(dir.clone()));
            }
        }
        let mut plan = Plan {
            options,
            mounts,
            shown: BTreeMap::new(),
            units: BTreeMap::new(),
            variables: Vec::new(),
            becomes_users: false,
            notes: Vec::new(),
            warnings: Vec::new(),
            units_forbid: false,
        };
        for item in items {
            match plan.add(image, &item) {
                // Nobody has named it.
                Err(e @ (PlanError::Special(_) | PlanError::BadName(_))) if item.matched => {
                    plan.warnings.push(format!("{e}: left out of what {} matches", item.text));
                }
                other => other?,
            }
        }
        let unseen = plan.mounts.unseen();
        if !unseen.is_empty() {
            plan.warnings.push(format!(
                "names in /etc that the programs read and the image lacks are not the host's, since there are too many: {}",
                list_some(unseen, 3)
            ));
        }
        plan.add_process(image)?;
        let (variables, odd) = environment::variables(image, &plan.mounts, &plan.options);
        plan.variables = variables;
        if !odd.is_empty() {
            let odd: Vec<String> = odd.iter().map(|name| format!("{name:?}")).collect();
            let odd = odd.join(", ");
            plan.warnings.push(format!("variables of the image that no shell can set are left out: {odd}"));
        }
        plan.follow_units(image)?;
        Ok(plan)
    }

    /// Whether the entry points need, or may need, the host's own program at this path.
    pub fn is_reserved(path: &TreePath) -> bool {
        let place = home(path, false);
        TOOLS.iter().chain([&BUSYBOX]).any(|tool| place.as_ref() == Some(&tool.path()))
    }

    /// Where the image's files go.
    pub fn sysroot(&self) -> &TreePath {
        &self.options.sysroot
    }

    /// The mounts of the private root.
    pub fn mounts(&self) -> &Mounts {
        &self.mounts
    }

    /// What shows on the host, in order.
    pub fn shown(&self) -> &BTreeMap<TreePath, Shown> {
        &self.shown
    }

    /// What the programs are for: the ELF files among what the entry points run, or else the first in the image. Empty if
    /// there is none.
    pub fn machines(&self, image: &Tree) -> BTreeSet<Machine> {
        let machine = |path: &TreePath| Machine::of(&image.get(path)?.content()?.head(Machine::HEAD).ok()?);
        let asked = self.shown.values().filter_map(|s| image.resolve(s.path().to_absolute(), true).ok());
        let asked: BTreeSet<Machine> = asked.filter_map(|r| machine(&r.path)).collect();
        if !asked.is_empty() {
            return asked;
        }
        let mut programs = image.iter().filter(|(_, n)| n.meta.mode & 0o111 != 0).map(|(p, _)| p);
        programs.find_map(machine).into_iter().collect()
    }

    /// The entry point for what the image runs.
    fn add_process(&mut self, image: &Tree) -> Result<(), PlanError> {
        let Some(process) = &self.options.process else { return Ok(()) };
        let command = process.command(image)?;
        let target = BIN.path().join(self.options.name.as_str())?;
        if let Some(old) = self.shown.get(&target) {
            return Err(PlanError::Hides { target, hidden: old.path().clone() });
        }
        let source = command.program.clone();
        let real = image.resolve(source.to_absolute(), true).map_or_else(|_| source.clone(), |r| r.path);
        let text = String::from_utf8_lossy(&source.to_absolute()).into_owned();
        let place = target.clone();
        let item = Item { text, source, real, target, moved: true, mapped: false, matched: false };
        self.add(image, &item)?;
        // What add() has found to be run: not through a directory of the host's.
        if let Some(Shown::EntryPoint(program)) = self.shown.get(&place) {
            let command = Command { program: program.clone(), ..command };
            self.shown.insert(place, Shown::Command(command));
        }
        Ok(())
    }

    fn add(&mut self, image: &Tree, item: &Item) -> Result<(), PlanError> {
        let Item { source: place, real, target, .. } = item;
        let Some(node) = image.get(real) else { return Err(PlanError::Special(real.clone())) };
        if item.mapped {
            self.notes.push(format!("{} is installed as {target}", item.text));
        }
        self.check_place(target)?;
        let shown = match &node.kind {
            Kind::File(_) if is_unit(target) || is_launcher(target) => Shown::Unit(real.clone()),
            Kind::File(_) if node.meta.mode & 0o111 != 0 => {
                // A program behind a symlink has to be run by that name where the name decides what it does (busybox).
                // Not through a directory that is the host's at that moment, though: /usr/bin/vi → /etc/alternatives/vi.
                let links = image.resolve(place.to_absolute(), true).map(|r| r.links).unwrap_or_default();
                let through_host = links.iter().find(|l| self.mounts.is_host(l));
                let program = match through_host {
                    Some(link) => {
                        self.notes.push(format!(
                            "{place} leads through {link}, which is the host's: the entry point runs {real}"
                        ));
                        real.clone()
                    }
                    None => place.clone(),
                };
                if !self.mounts.shows(&program) {
                    self.warnings.push(format!(
                        "{program} is in a directory that is the host's at run time, where it may not be"
                    ));
                }
                if node.meta.mode & 0o6000 != 0 || node.meta.xattrs.contains_key(&b"security.capability"[..])
                {
                    self.warnings.push(format!(
                        "{program} has privileges of its own in the image; in the private root only root has any"
                    ));
                }
                Shown::EntryPoint(program)
            }
            Kind::File(_) | Kind::Dir => Shown::Link(real.clone()),
            _ => return Err(PlanError::Special(place.clone())),
        };
        for p in [target, shown.path()] {
            if !is_text(p) {
                return Err(PlanError::BadName(p.clone()));
            }
        }
        match self.shown.get(target) {
            Some(old) if *old == shown => Ok(()),
            Some(old) => Err(PlanError::Hides { target: target.clone(), hidden: old.path().clone() }),
            None => {
                let around = self.shown.keys().find(|k| k.starts_with(target) || target.starts_with(k));
                if let Some(other) = around {
                    let (a, b) = (target.clone(), other.clone());
                    let (target, hidden) = if b.starts_with(&a) { (a, b) } else { (b, a) };
                    return Err(PlanError::Hides { target, hidden });
                }
                self.shown.insert(target.clone(), shown);
                Ok(())
            }
        }
    }

    fn check_place(&self, target: &TreePath) -> Result<(), PlanError> {
        let sysroot = &self.options.sysroot;
        if target.starts_with(sysroot) || sysroot.starts_with(target) {
            return Err(PlanError::InSysroot { target: target.clone(), sysroot: sysroot.clone() });
        }
        let hides = |why| Err(PlanError::HidesHost { target: target.clone(), why });
        if TOOLS.iter().any(|t| *target == t.path()) {
            return hides("which the entry points need");
        }
        if DIRECTORIES.iter().any(|d| *target == d.path()) {
            return hides("a directory with all that is in it");
        }
        if target.depth() < 2 {
            return hides("all of it");
        }
        Ok(())
    }
}

/// Names in /etc that the programs read: those of the programs and of the extension itself, and those in their text.
fn etc_names(image: &Tree, items: &[Item], options: &Options) -> BTreeSet<Vec<u8>> {
    let program = |path: &TreePath| {
        image
            .get(path)
            .is_some_and(|node| node.is_file() && node.meta.mode & 0o111 != 0)
            .then(|| path.clone())
    };
    let mut programs: BTreeSet<TreePath> = items.iter().filter_map(|item| program(&item.real)).collect();
    let command = options.process.as_ref().and_then(|process| process.command(image).ok());
    let command = command.and_then(|c| image.resolve(c.program.to_absolute(), true).ok());
    programs.extend(command.map(|found| found.path));
    let mut out = etc::names(image, &programs);
    out.insert(options.name.as_str().into());
    let called = items.iter().filter(|item| programs.contains(&item.real));
    out.extend(called.filter_map(|item| item.source.file_name()).map(<[u8]>::to_vec));
    out
}

impl Shown {
    /// The path of the image behind it.
    pub fn path(&self) -> &TreePath {
        match self {
            Shown::EntryPoint(p) | Shown::Link(p) | Shown::Unit(p) => p,
            Shown::Command(c) => &c.program,
        }
    }
}

/// The plan as people read it: what shows on the host, then what a program sees.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "on the host:")?;
        for (target, shown) in &self.shown {
            match shown {
                Shown::EntryPoint(p) => writeln!(f, "  {target} runs {p}")?,
                Shown::Command(c) => {
                    let words: Vec<String> =
                        c.arguments.iter().chain(&c.defaults).map(|w| format!(" {w:?}")).collect();
                    writeln!(f, "  {target} runs {}{}", c.program, words.concat())?;
                }
                Shown::Link(p) => writeln!(f, "  {target} -> {}{p}", self.options.sysroot)?,
                Shown::Unit(p) => writeln!(f, "  {target} is a copy of {p}")?,
            }
        }
        writeln!(f, "in the private root:\n  / is the image, read-only")?;
        for mount in self.mounts.iter() {
            let (from, path) = match &mount.source {
                crate::Source::Host(p) => ("the host's", p),
                crate::Source::Image(p) => ("the image's", p),
            };
            let what = if *path == mount.target { from.to_owned() } else { format!("{from} {path}") };
            let rules = match (mount.read_only, mount.required) {
                (true, true) => ", read-only",
                (true, false) => ", read-only, if it is there",
                (false, true) => "",
                (false, false) => ", if it is there",
            };
            writeln!(f, "  {} is {what}{rules}", mount.target)?;
        }
        for link in self.mounts.links() {
            writeln!(f, "  {link} is the host's, if it is there")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
