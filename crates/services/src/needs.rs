//! What the units of an extension need.

use std::collections::{BTreeMap, BTreeSet};

use sysext::extension::accounts::{Account, Made, made, mentions};
use sysext::extension::late::LATE_FILES;
use sysext::extension::moved::Moved;
use sysext::extension::unit_programs::{lines_with, named as named_words};
use sysext::extension::units::words;
use tree::{Kind, Node, StaticPath, Tree, TreePath};

use crate::accounts::User;
use crate::configuration::{ConfigurationPath, uncommented};
use crate::first_start::{FirstStart, commands};
use crate::inventory::{Inventory, ServicesError, text_of};
use crate::named;
use crate::places::{
    ETC, Owner, StatePath, TMPFILES, is_hosts_configuration, is_hosts_state, is_set_aside, is_state,
};
use crate::state::made_by_extension;
use crate::unit::{Unit, units_of};

/// How an extension brings files of /etc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Etc {
    /// As copies that a host gets where it has no file of its own.
    #[default]
    Factory,
    /// Not itself: they are in an image of their own ([`crate::confext()`]).
    Confext,
}

/// What is made for an extension without units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutUnits {
    /// Nothing.
    Nothing,
    /// Directories and users: a private root has the rest.
    State,
    /// The same as for one with units: programs look for their configuration on the host.
    Everything,
}

/// What decides about the needs beside the image and the extension.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Whether the programs see the host's file at a path of the image. What they see of the image needn't be made.
    pub sees_host: &'a dyn Fn(&TreePath) -> bool,
    /// How files of /etc get to the host.
    pub etc: Etc,
    /// Whether users and groups have the image's numbers where these are free.
    pub numbers: bool,
    /// Whether files that packages have below /var are copied to hosts that lack them.
    pub contents: bool,
    /// Files and directories below /etc that are asked for by themselves.
    pub named: &'a BTreeSet<TreePath>,
    /// What is made without any unit.
    pub without_units: WithoutUnits,
    /// Where the extension has the image's programs, if others only lead there: a private root.
    pub root: Option<&'a TreePath>,
    /// Programs that the extension has elsewhere than the image. Configuration that hosts get names the new places.
    pub moved: &'a Moved,
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("etc", &self.etc)
            .field("numbers", &self.numbers)
            .finish_non_exhaustive()
    }
}

/// What the units of an extension need beside their programs.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// Users, as the image has them.
    pub users: Vec<User>,
    /// Groups that aren't a user's own, and their numbers in the image.
    pub groups: BTreeMap<String, Option<u32>>,
    /// Users and further groups of theirs.
    pub members: BTreeSet<(String, String)>,
    /// Directories and symlinks below /var, /srv and /run, parents first.
    pub state: Vec<StatePath>,
    /// Files, symlinks and directories below /etc, parents first.
    pub configuration: Vec<ConfigurationPath>,
    /// Files of it in which moved programs are followed, and the old paths.
    pub followed: BTreeMap<TreePath, BTreeSet<String>>,
    /// Lines of it that name a moved program and aren't followed: file, line, old path, new one.
    pub unfollowed: Vec<(TreePath, usize, String, TreePath)>,
    /// Files below /var and /srv, if they were asked for, by path.
    pub contents: BTreeMap<TreePath, Node>,
    pub(crate) owners: BTreeMap<TreePath, (Owner, Owner)>,
    /// What is made on each host before the first start.
    pub first_starts: Vec<FirstStart>,
    /// The services, sockets and the like that wait for all that: names of units of the extension.
    pub units: BTreeSet<String>,
    /// Files below /etc that the image has and no two hosts may share.
    pub secrets: BTreeSet<TreePath>,
    /// Directories of the state in which the image has files that no package owns, and how many.
    pub made: BTreeMap<TreePath, usize>,
    /// Files that packages have below /var and /srv and that aren't included.
    pub left_out: BTreeSet<TreePath>,
    pub(crate) etc: Etc,
    pub(crate) numbers: bool,
    /// The group of each user whose group isn't its own.
    pub(crate) primary: BTreeMap<String, String>,
}

/// Groups whose members are as good as root on many hosts. A host may have a user of the same name already, who doesn't become a
/// member because an image says so.
const PRIVILEGED: [&str; 10] =
    ["admin", "disk", "docker", "incus-admin", "kmem", "libvirt", "lxd", "root", "sudo", "wheel"];

impl Needs {
    /// Decides what the units of `extension` need of what the inventory's image has. Without a unit, what
    /// [`Options::without_units`] says.
    ///
    /// # Errors
    /// A file of the extension or of the image can't be read.
    pub fn new(
        inventory: &Inventory,
        extension: &Tree,
        options: Options<'_>,
    ) -> Result<Needs, ServicesError> {
        let units = units_of(extension)?;
        let mut out = Needs { etc: options.etc, numbers: options.numbers, ..Needs::default() };
        if units.is_empty() && options.without_units == WithoutUnits::Nothing {
            return Ok(out);
        }
        let is_configured = !units.is_empty() || options.without_units == WithoutUnits::Everything;
        let mut read: BTreeSet<TreePath> =
            units.iter().flat_map(|u| &u.directives).flat_map(|d| named::paths(&d.value)).collect();
        read.extend(options.named.iter().cloned());
        let mut scripts =
            Scripts { extension, root: options.root, seen: BTreeSet::new(), named: BTreeSet::new() };
        for unit in &units {
            scripts.follow(&unit.text, true)?;
        }
        read.extend(scripts.named.iter().cloned());
        let owned = inventory.packages.iter().flat_map(|p| &p.files);
        let closed = owned.filter(|path| !options.numbers && is_closed(inventory, path));
        // systemd itself reads these, whatever the programs see. The others only their owner
        // or group may read, which have other numbers on the host.
        let of_host: BTreeSet<TreePath> = units
            .iter()
            .flat_map(|u| &u.directives)
            .filter(|d| d.key == "EnvironmentFile")
            .flat_map(|d| named::paths(&d.value))
            .filter(|path| inventory.tree.contains(path))
            .chain(closed.cloned())
            .collect();
        // What is written has to be the host's, with all that is in it. So has the directory of a file that the host needs: programs would
        // see only this file of it.
        let mut written: BTreeSet<TreePath> = units
            .iter()
            .flat_map(Unit::written_configuration)
            .chain(of_host.iter().flat_map(directory_below_etc))
            .filter(|dir| !is_hosts_configuration(dir))
            .collect();
        for dir in written.iter().filter(|dir| !(options.sees_host)(dir)) {
            let files =
                inventory.tree.subtree(dir).filter(|(path, node)| !node.is_dir() && !is_set_aside(path));
            read.extend(files.map(|(path, _)| path.clone()));
        }
        let replaced = |starts: &[FirstStart]| -> Vec<TreePath> {
            starts.iter().flat_map(|s| s.replaces.clone()).collect()
        };
        let except = replaced(&commands(inventory, extension, &BTreeSet::new()));
        let mut configuration = inventory.configuration(&read, &except)?;
        let chosen = inventory.chosen(&configuration);
        // Configuration may start programs, too, and name files of other packages: mime.types.
        for found in configuration.paths.values() {
            if let Some(text) = found.text()? {
                scripts.follow(&text, false)?;
                if found.is_read(&chosen) {
                    scripts.named.extend(uncommented(text.as_bytes()));
                }
            }
        }
        if !scripts.named.is_subset(&read) {
            read.extend(scripts.named);
            configuration = inventory.configuration(&read, &except)?;
        }
        let keys = inventory.trusted_keys(&configuration, &read)?;
        configuration.secrets.extend(keys);
        if !units.is_empty() {
            out.first_starts = commands(inventory, extension, &configuration.secrets);
        }
        let made_anew = replaced(&out.first_starts);
        out.secrets = configuration.secrets.into_iter().filter(|s| !made_anew.contains(s)).collect();
        let mut named = read;
        for found in configuration.paths.values() {
            named.extend(found.text()?.iter().flat_map(|text| uncommented(text.as_bytes())));
        }
        written.extend(out.first_starts.iter().flat_map(|s| s.writes.clone()));
        let is_seen = |p: &TreePath| {
            let is_written =
                || p.ancestors_from_root().chain([p.clone()]).any(|above| written.contains(&above));
            (options.sees_host)(p) || of_host.contains(p) || is_written()
        };
        if is_configured {
            let seen = configuration.paths.into_values().filter(|c| is_seen(&c.path));
            out.configuration = with_needed_directories(seen.collect());
            out.follow(options.moved)?;
            let hidden = written.iter().filter(|dir| !(options.sees_host)(dir));
            let made = out.first_starts.iter().flat_map(|s| &s.writes).cloned().collect::<Vec<_>>();
            out.add_directories(inventory, hidden.chain(&made));
        }
        let lines = tmpfiles(extension)?;
        let own = made_by_extension(&lines);
        let made = made(extension)?;
        let mentioned = mentioned(extension, &made)?;
        let users: BTreeSet<String> = inventory
            .scripted
            .iter()
            .chain(mentioned.iter().filter(|m| m.0 == Account::User).map(|m| &m.1))
            .cloned()
            .collect();
        let mut state = inventory.state(&users, &named);
        for unit in &units {
            state.extend(unit.pid_directory().map(|s| (s.path.clone(), s)));
        }
        state.retain(|path, _| (options.sees_host)(path) && !own.contains(path));
        out.made = inventory.made(state.values(), &made_anew);
        out.state = state.into_values().collect();
        match options.contents {
            true => {
                let found = inventory.contents(out.made.keys())?.into_iter();
                out.contents = found.filter(|(path, _)| (options.sees_host)(path)).collect();
                out.made.clear();
                out.state_of_contents(inventory);
            }
            false => {
                let found = inventory.contents(std::iter::empty())?.into_keys();
                out.left_out = found.filter(|path| (options.sees_host)(path)).collect();
            }
        }
        out.accounts(inventory, &made, mentioned);
        let is_late = || LATE_FILES.iter().any(|files| files.is_needed && files.first(extension).is_some());
        if !out.is_empty() || is_late() {
            out.units = units.into_iter().filter(Unit::starts_something).map(|u| u.name).collect();
        }
        Ok(out)
    }

    /// Whether nothing has to be made.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
            && self.groups.is_empty()
            && self.members.is_empty()
            && self.state.is_empty()
            && (self.configuration.is_empty() || self.etc == Etc::Confext)
            && self.contents.is_empty()
            && self.first_starts.is_empty()
    }

    /// Has configuration name programs where the extension has them.
    fn follow(&mut self, moved: &Moved) -> Result<(), ServicesError> {
        for found in &mut self.configuration {
            let Some(text) = found.text()?.filter(|_| !moved.programs.is_empty()) else { continue };
            let (text, named) = moved.follow(&text);
            for (line, old) in lines_with(&text, moved.programs.keys().map(String::as_str)) {
                let (path, old, new) = (found.path.clone(), old.to_owned(), moved.programs[old].clone());
                self.unfollowed.push((path, line, old, new));
            }
            if !named.is_empty() {
                found.node.kind = Kind::File(text.into_bytes().into());
                self.followed.insert(found.path.clone(), named);
            }
        }
        Ok(())
    }

    /// Directories below /etc of a private root's image that a host gets, since something in them is written.
    fn add_directories<'p>(&mut self, inventory: &Inventory, dirs: impl Iterator<Item = &'p TreePath>) {
        let known: BTreeSet<TreePath> = self.configuration.iter().map(|c| c.path.clone()).collect();
        for path in dirs {
            let Some(node) = inventory.tree.get(path).filter(|node| node.is_dir()) else { continue };
            if !known.contains(path) {
                let (owner, group) = inventory.owners(node);
                let (path, node) = (path.clone(), node.clone());
                self.configuration.push(ConfigurationPath { path, node, owner, group });
            }
        }
        self.configuration.sort_by(|a, b| a.path.cmp(&b.path));
    }

    /// The directories of the files.
    fn state_of_contents(&mut self, inventory: &Inventory) {
        let mut state: BTreeMap<TreePath, StatePath> =
            std::mem::take(&mut self.state).into_iter().map(|s| (s.path.clone(), s)).collect();
        let dirs = self.contents.keys().flat_map(|p| p.parent()).collect::<BTreeSet<_>>();
        for dir in dirs.iter().flat_map(|d| d.ancestors_from_root()) {
            if is_state(&dir) && !is_hosts_state(&dir) && !state.contains_key(&dir) {
                let found =
                    inventory.tree.get(&dir).and_then(|n| StatePath::of(&dir, n, &inventory.accounts));
                state.extend(found.map(|s| (dir, s)));
            }
        }
        self.state = state.into_values().collect();
    }

    /// The accounts that are mentioned, own something that is made, or are made by the packages' scripts.
    fn accounts(&mut self, inventory: &Inventory, made: &Made, mentioned: BTreeSet<(Account, String)>) {
        if made.unclear {
            return;
        }
        let mut names = mentioned;
        // Without a unit, directories are all that is made; the program makes its users' files itself.
        names.extend(inventory.scripted.iter().map(|name| (Account::User, name.clone())));
        // Configuration names groups in ways of its own: SystemGroup of cups.
        names.extend(inventory.scripted_groups.iter().map(|name| (Account::Group, name.clone())));
        let owned = self.state.iter().map(|s| (&s.owner, &s.group));
        let owned = owned.chain(self.configuration.iter().map(|c| (&c.owner, &c.group)));
        let mut owners = Vec::new();
        for (owner, group) in owned {
            owners.push((Account::User, owner.clone()));
            owners.push((Account::Group, group.clone()));
        }
        for (path, node) in &self.contents {
            let (owner, group) = inventory.owners(node);
            owners.extend([(Account::User, owner.clone()), (Account::Group, group.clone())]);
            self.owners.insert(path.clone(), (owner, group));
        }
        for (account, owner) in owners {
            if let Owner::Name(name) = owner {
                names.insert((account, name));
            }
        }
        // "nogroup" is what Debian calls the group of nobody.
        names.retain(|(account, name)| !made.has(*account, name) || name == "nogroup");
        let users: BTreeSet<&String> = names.iter().filter(|n| n.0 == Account::User).map(|n| &n.1).collect();
        let accounts = &inventory.accounts;
        for name in &users {
            let found = accounts.user(name).cloned();
            let user = found.unwrap_or_else(|| User {
                name: (*name).clone(),
                uid: u32::MAX,
                gid: u32::MAX,
                comment: String::new(),
                home: String::new(),
                shell: String::new(),
            });
            if crate::accounts::is_name(&user.name) {
                let primary = accounts.group_of(user.gid).map(|g| g.name.clone());
                let apart = primary.filter(|g| g != &user.name && user.gid != crate::state::NOGROUP);
                if let Some(group) = apart {
                    if !made.has(Account::Group, &group) {
                        self.groups.insert(group.clone(), accounts.group(&group).map(|g| g.gid));
                    }
                    self.primary.insert(user.name.clone(), group);
                }
                self.users.push(user);
            }
        }
        let is_asked = |group: &str| names.contains(&(Account::Group, group.to_owned()));
        let kept = |group: &str| !PRIVILEGED.contains(&group) || is_asked(group);
        for group in accounts.groups.iter().filter(|g| kept(&g.name)) {
            for member in group.members.iter().filter(|m| users.contains(m)) {
                self.members.insert((member.clone(), group.name.clone()));
                if !made.has(Account::Group, &group.name) {
                    self.groups.insert(group.name.clone(), Some(group.gid));
                }
            }
        }
        for (_, name) in names.iter().filter(|n| n.0 == Account::Group && !users.contains(&n.1)) {
            if crate::accounts::is_name(name) {
                self.groups.insert(name.clone(), accounts.group(name).map(|g| g.gid));
            }
        }
        let primary = |u: &User| accounts.group_of(u.gid).map(|g| g.name.clone());
        // A user's own group comes with it.
        let own: BTreeSet<&String> = self
            .users
            .iter()
            .filter(|u| primary(u).as_ref() == Some(&u.name) || u.gid == u32::MAX)
            .map(|u| &u.name)
            .collect();
        self.groups.retain(|name, _| !own.contains(name));
    }
}

/// Whether a file of /etc can only be read by root and by a user or a group that packages make.
fn is_closed(inventory: &Inventory, path: &TreePath) -> bool {
    let node = inventory.tree.get(path).filter(|node| node.is_file() && path.starts_with(&ETC.path()));
    node.is_some_and(|node| node.meta.mode & 0o004 == 0 && (node.meta.uid != 0 || node.meta.gid != 0))
}

/// `/etc/a` for `/etc/a/b/c`, nothing for `/etc/a`.
fn directory_below_etc(path: &TreePath) -> Option<TreePath> {
    path.ancestors_from_root().find(|p| p.depth() == 2).filter(|p| p != path)
}

/// Directories that hold nothing of the list and that the host has anyway go; the others stay.
fn with_needed_directories(all: Vec<ConfigurationPath>) -> Vec<ConfigurationPath> {
    let below = |c: &ConfigurationPath| c.path.ancestors_from_root().find(|dir| dir.depth() == 2);
    let full: BTreeSet<TreePath> = all.iter().filter_map(below).collect();
    let is_empty_top =
        |c: &&ConfigurationPath| c.node.is_dir() && c.path.depth() == 2 && !full.contains(&c.path);
    let gone: BTreeSet<TreePath> = all.iter().filter(is_empty_top).map(|c| c.path.clone()).collect();
    all.into_iter().filter(|c| !gone.contains(&c.path)).collect()
}

/// Scripts of the extension that texts start, and what they name.
struct Scripts<'t> {
    extension: &'t Tree,
    root: Option<&'t TreePath>,
    seen: BTreeSet<TreePath>,
    /// Paths below /etc, /run, /srv and /var.
    named: BTreeSet<TreePath>,
}

/// Scripts that are looked at.
const SCRIPT_LIMIT: usize = 1000;

impl Scripts<'_> {
    /// Follows a text, and what it leads to: scripts, and other texts that scripts and units (`is_program`) read.
    fn follow(&mut self, text: &str, is_program: bool) -> Result<(), ServicesError> {
        let mut todo = vec![(text.to_owned(), is_program)];
        while let Some((text, is_program)) = todo.pop() {
            for exec in named_words(&text) {
                let Ok(path) = TreePath::new(&exec.program) else { continue };
                let of_extension = path
                    .components()
                    .next()
                    .is_some_and(|top| [&b"usr"[..], b"opt", b"bin", b"sbin", b"lib"].contains(&top));
                if !of_extension || self.seen.len() >= SCRIPT_LIMIT || !self.seen.insert(path.clone()) {
                    continue;
                }
                let Some(text) = self.text(&path)? else { continue };
                let is_script = text.starts_with("#!");
                if is_script || is_program {
                    self.named.extend(uncommented(text.as_bytes()));
                    todo.push((text, is_script));
                }
            }
        }
        Ok(())
    }

    /// A file of the image by the name that it has for the host.
    fn text(&self, path: &TreePath) -> Result<Option<String>, ServicesError> {
        let Some(root) = self.root else { return text_of(self.extension, path) };
        // An entry point in /usr/bin may lead to a program in /usr/sbin.
        let sbin = path.strip_prefix(&BIN.path()).and_then(|name| SBIN.path().join(name).ok());
        for path in [Some(path), sbin.as_ref()].into_iter().flatten() {
            if let Some(text) = text_of(self.extension, &root.join(path.as_relative())?)? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }
}

const BIN: StaticPath = StaticPath::new("/usr/bin");
const SBIN: StaticPath = StaticPath::new("/usr/sbin");

/// The lines of the extension's tmpfiles.d files, as words.
pub(crate) fn tmpfiles(extension: &Tree) -> Result<Vec<Vec<Vec<u8>>>, ServicesError> {
    let mut out = Vec::new();
    for (path, _) in extension.children(&TMPFILES.path()) {
        let Some(text) = text_of(extension, path)? else { continue };
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        out.extend(lines.map(|l| words(l.as_bytes()).into_iter().map(|w| w.text).collect()));
    }
    Ok(out)
}

/// The accounts that files of the extension name and that nothing in it makes.
fn mentioned(extension: &Tree, made: &Made) -> Result<BTreeSet<(Account, String)>, ServicesError> {
    let all = mentions(extension)?.into_iter().flat_map(|(_, mentions)| mentions);
    let missing = all.filter(|m| !made.has(m.account, &m.name) || m.name == "nogroup");
    Ok(missing.map(|m| (m.account, m.name)).collect())
}
