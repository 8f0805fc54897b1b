//! From a request to a plan.

use std::collections::{BTreeMap, BTreeSet};

use sysext::extension::HostLibrary;
use sysext::extension::moved::Moved;
use tree::{Kind, Machine, Tree, TreePath};

use super::build::relocate;
use super::{Action, BuildError, Entry, Plan, PlanError, Request, Why, confine};
use elf::ElfKind;
use elf::closure::{Closure, Object, Reason, Resolver};
use sysext::request::{Item, allowed, home, locate};

/// A regular file that the request puts into the extension.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    /// Real path in the image.
    pub source: TreePath,
    pub target: TreePath,
    /// Named by the user, and not just below a folder or a match of a pattern: what is wrong with it is an error.
    pub named: bool,
}

/// The plan in the making.
pub(super) struct Planner<'t> {
    pub tree: &'t Tree,
    pub request: &'t Request,
    pub placed: Vec<Placed>,
    pub plan: Plan,
    pub warnings: BTreeSet<String>,
    pub notes: BTreeSet<String>,
    /// Files of selections that no extension can have.
    pub outside: BTreeSet<TreePath>,
}

impl Plan {
    /// Decides what goes where.
    ///
    /// # Errors
    /// Something wanted or needed is not in the image or can't be moved.
    pub fn new(tree: &Tree, request: &Request) -> Result<Plan, PlanError> {
        let root = &request.sysroot;
        let odd = |b: u8| matches!(b, b':' | b';' | b'$') || b.is_ascii_whitespace() || b.is_ascii_control();
        if !allowed(root) || root.as_relative().iter().any(|&b| odd(b)) {
            return Err(PlanError::Sysroot(root.clone()));
        }
        let mut planner = Planner {
            tree,
            request,
            placed: Vec::new(),
            plan: Plan {
                sysroot: root.clone(),
                entries: BTreeMap::new(),
                places: BTreeMap::new(),
                maps: BTreeMap::new(),
                machines: BTreeSet::new(),
                has_units: false,
                moved: Moved::default(),
                missing: Vec::new(),
                opened: Vec::new(),
                unseen: BTreeSet::new(),
                unbundled: Vec::new(),
                named: BTreeMap::new(),
                warnings: Vec::new(),
                notes: Vec::new(),
            },
            warnings: BTreeSet::new(),
            notes: BTreeSet::new(),
            outside: BTreeSet::new(),
        };
        // Links last: what they lead to may have a place by then.
        let items = locate(tree, &request.wanted, request.keep_sbin)?;
        let (links, files): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|i| i.source != i.real);
        for item in files.iter().chain(&links) {
            planner.item(item)?;
        }
        planner.selections()?;
        planner.private_shells()?;
        if request.charsets {
            planner.charset_files()?;
        }
        let mut closure = planner.closure()?;
        if !request.charsets && planner.common_charsets(&closure)? {
            closure = planner.closure()?;
        }
        planner.terminals(&closure)?;
        planner.openssl(&closure)?;
        planner.libraries(&closure)?;
        planner.leave_what_refuses(&closure);
        planner.plugin_folders()?;
        planner.opened(&closure)?;
        planner.scripts()?;
        planner.units()?;
        planner.compiled_in_programs()?;
        planner.unbundled(&closure)?;
        planner.finish(closure)
    }
}

impl Planner<'_> {
    fn finish(self, closure: Closure) -> Result<Plan, PlanError> {
        self.check_folders()?;
        let Planner { mut plan, mut warnings, mut notes, .. } = self;
        warnings.extend(closure.warnings);
        notes.extend(closure.notes);
        for missing in &closure.missing {
            warnings.insert(missing.to_string());
        }
        warnings.extend(plan.opened.iter().map(ToString::to_string));
        for dir in &plan.unseen {
            warnings.insert(format!(
                "{dir}: is in the image's LD_LIBRARY_PATH and has libraries that nothing needs"
            ));
        }
        for missing in &closure.left {
            warnings.insert(format!("{missing}, which can't be loaded without it"));
        }
        plan.missing = closure.missing;
        plan.missing.extend(closure.left);
        plan.maps = closure.maps;
        plan.warnings = warnings.into_iter().collect();
        plan.notes = notes.into_iter().collect();
        Ok(plan)
    }

    /// Nothing can be below a file or a symlink.
    fn check_folders(&self) -> Result<(), PlanError> {
        let entries = &self.plan.entries;
        let from = |path: &TreePath, entry: &Entry| entry.source.clone().unwrap_or_else(|| path.clone());
        for (target, entry) in entries {
            let mut above = target.parent();
            while let Some(parent) = above {
                if let Some(other) =
                    entries.get(&parent).filter(|e| !matches!(e.action, Action::Directory(_)))
                {
                    let what = match other.action {
                        Action::Symlink(_) => "a symlink",
                        _ => "a file",
                    };
                    let (source_of, first) = (from(target, entry), from(&parent, other));
                    return Err(PlanError::Below { target: target.clone(), source_of, parent, what, first });
                }
                above = parent.parent();
            }
        }
        Ok(())
    }

    /// What the rewriter refuses, and neither the user named nor anything needs, is included unchanged.
    fn leave_what_refuses(&mut self, closure: &Closure) {
        let named: BTreeSet<TreePath> =
            self.placed.iter().filter(|p| p.named).map(|p| p.source.clone()).collect();
        for placed in self.placed.clone() {
            let alone = |o: &Object| o.reasons.iter().all(|r| *r == Reason::Asked);
            if named.contains(&placed.source) || !closure.objects.get(&placed.source).is_some_and(alone) {
                continue;
            }
            let Some(entry) = self.plan.entries.get_mut(&placed.target) else { continue };
            let Some(content) = self.tree.get(&placed.source).and_then(|n| n.content()) else { continue };
            if let Action::Relocate(relocation) = &entry.action
                && let Err(e @ BuildError::Rewrite { .. }) = relocate(&placed.source, content, relocation)
            {
                self.warnings.insert(format!("{e}; it is included unchanged"));
                entry.action = Action::Copy;
            }
        }
    }

    fn item(&mut self, item: &Item) -> Result<(), PlanError> {
        let apart = if item.moved { None } else { self.apart(&item.source, &item.target)? };
        if item.mapped && apart.is_none() {
            self.notes.insert(format!("{} goes to {}", item.source, item.target));
        }
        let why = Why::Asked(item.text.clone());
        let target = apart.unwrap_or_else(|| item.target.clone());
        if item.source != item.real && !item.moved {
            // A name for something else: both are included.
            let place = self.target_of_link(&item.real)?;
            if place != target {
                let link = relative(&target, &place);
                let source = Some(item.source.clone());
                self.put(target.clone(), source, Action::Symlink(link), why.clone(), 0)?;
                return self.bring(&item.real, &place, &Why::Target(target), (!item.matched, false));
            }
        }
        self.bring(&item.real, &target, &why, (!item.matched, item.moved))
    }

    /// The place in the sysroot of a library, or of a name of one, that would be where hosts have their own: all of the
    /// host's programs would load it.
    fn apart(&mut self, path: &TreePath, place: &TreePath) -> Result<Option<TreePath>, PlanError> {
        if HostLibrary::at(place).is_none() {
            return Ok(None);
        }
        let Ok(real) = self.tree.resolve(path.to_absolute(), true) else { return Ok(None) };
        let Some(content) = self.tree.get(&real.path).and_then(|n| n.content()) else { return Ok(None) };
        let head =
            content.head(4).map_err(|source| PlanError::Content { path: real.path.clone(), source })?;
        if head != b"\x7fELF" {
            return Ok(None);
        }
        if let Some(dir) = place.parent() {
            let sysroot = &self.request.sysroot;
            self.notes
                .insert(format!("{dir}: libraries of it go to {sysroot}, since hosts have their own there"));
        }
        Ok(Some(self.request.sysroot.join(path.as_relative())?))
    }

    /// Where the target of a wanted symlink goes: where the user wants it anyway, its own place, or the sysroot.
    fn target_of_link(&mut self, real: &TreePath) -> Result<TreePath, PlanError> {
        if let Some(place) = self.plan.places.get(real) {
            return Ok(place.clone());
        }
        match home(real, self.request.keep_sbin) {
            // Nobody asked for /usr/bin/busybox who asked for /bin/sh.
            Some(place) if place == *real => Ok(self.apart(real, &place)?.unwrap_or(place)),
            _ => Ok(self.request.sysroot.join(real.as_relative())?),
        }
    }

    /// Puts a file or a folder with all below it at its place. `named` as in [`Placed`]; `moved` if the user gave the
    /// place.
    pub(super) fn bring(
        &mut self,
        source: &TreePath,
        target: &TreePath,
        why: &Why,
        (named, moved): (bool, bool),
    ) -> Result<(), PlanError> {
        let folder = match why {
            Why::Asked(text) => Why::Folder(text.clone()),
            other => other.clone(),
        };
        let tree = self.tree;
        for (path, node) in tree.subtree(source) {
            let place = match path.strip_prefix(source) {
                Some(b"") | None => target.clone(),
                Some(rest) => target.join(rest)?,
            };
            let place = match moved {
                true => place,
                false => self.apart(path, &place)?.unwrap_or(place),
            };
            let top = path == source;
            let why = if top { why.clone() } else { folder.clone() };
            match &node.kind {
                Kind::Dir => {
                    self.put(place, Some(path.clone()), Action::Directory(node.meta.clone()), why, 0)?
                }
                Kind::File(content) => {
                    self.put(place.clone(), Some(path.clone()), Action::Copy, why, content.len())?;
                    self.plan.places.entry(path.clone()).or_insert_with(|| place.clone());
                    self.placed.push(Placed { source: path.clone(), target: place, named: named && top });
                }
                Kind::Symlink(link) => self.inner_link(path, place, link, (source, target, moved), why)?,
                Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo | Kind::Socket => {
                    let what = match node.kind {
                        Kind::Fifo => "a FIFO",
                        Kind::Socket => "a socket",
                        _ => "a device",
                    };
                    let error = PlanError::Special { path: path.clone(), what };
                    if named && top {
                        return Err(error);
                    }
                    self.warnings.insert(format!("{error}; it is left out"));
                }
            }
        }
        Ok(())
    }

    /// Brings the folder of glibc's character sets, but for its cache, which has the image's paths in it.
    fn charset_files(&mut self) -> Result<(), PlanError> {
        let folder = self.charset_folder()?;
        let target = self.request.sysroot.join("gconv")?;
        let why = Why::Asked("--charsets".to_owned());
        self.bring(&folder, &target, &why, (false, true))?;
        let cache = target.join("gconv-modules.cache")?;
        self.plan.entries.remove(&cache);
        self.placed.retain(|p| p.target != cache);
        Ok(())
    }

    /// The folder that the programs' own libc names: an image may have one for each of its machines, or a glibc below a prefix.
    fn charset_folder(&mut self) -> Result<TreePath, PlanError> {
        let tree = self.tree;
        let mut named: Vec<(TreePath, TreePath)> = Vec::new();
        for (path, object) in self.closure()?.objects {
            let libc = object.elf.soname.as_deref() == Some(b"libc.so.6");
            let Some(content) = tree.get(&path).and_then(|n| n.content()).filter(|_| libc) else { continue };
            let found = confine::charsets(content, &self.request.sysroot)
                .map_err(|source| PlanError::Content { path: path.clone(), source })?;
            named.extend(found.folder.map(|folder| (path, folder)));
        }
        let real = |folder: &TreePath| {
            let real = tree.resolve(folder.to_absolute(), true).ok()?.path;
            tree.get(&real).is_some_and(|n| n.is_dir()).then_some(real)
        };
        if let Some((first, folder)) = named.first() {
            for (other, _) in named.iter().filter(|(_, other)| other != folder) {
                self.warnings.insert(format!("{other}: character sets are included for {first} only"));
            }
            return real(folder).ok_or(PlanError::NoCharsets);
        }
        // No glibc program: what is asked for is included all the same.
        let has = |p: &&TreePath| {
            p.file_name() == Some(b"gconv") && p.join("gconv-modules").is_ok_and(|f| tree.contains(&f))
        };
        let folders: Vec<&TreePath> =
            tree.iter().filter(|(_, n)| n.is_dir()).map(|(p, _)| p).filter(has).collect();
        // A store (Nix, Guix) is neither below /usr nor /opt.
        let usual = folders.iter().find(|p| allowed(p));
        usual.or(folders.first()).map(|p| (*p).clone()).ok_or(PlanError::NoCharsets)
    }

    /// A symlink below a wanted folder.
    fn inner_link(
        &mut self,
        path: &TreePath,
        place: TreePath,
        link: &[u8],
        (from, to, moved): (&TreePath, &TreePath, bool),
        why: Why,
    ) -> Result<(), PlanError> {
        let Ok(real) = self.tree.resolve(path.to_absolute(), true).map(|r| r.path) else {
            self.warnings.insert(format!(
                "{place}: leads to {:?}, which is not in the image",
                link.escape_ascii().to_string()
            ));
            return self.put(place, Some(path.clone()), Action::Symlink(link.to_vec()), why, 0);
        };
        if let Some(rest) = real.strip_prefix(from) {
            // Within the folder: a relative link stays as it is, an absolute one follows the folder.
            let inside = if rest.is_empty() { to.clone() } else { to.join(rest)? };
            let apart = if moved { None } else { self.apart(&real, &inside)? };
            let in_place = apart.is_none() && place.strip_prefix(to) == path.strip_prefix(from);
            let inside = apart.unwrap_or(inside);
            let keep = in_place && !link.starts_with(b"/") && stays_below(path, link, from);
            let link = if keep { link.to_vec() } else { relative(&place, &inside) };
            return self.put(place, Some(path.clone()), Action::Symlink(link), why, 0);
        }
        if self.tree.get(&real).is_some_and(|n| n.is_file()) {
            let target = match self.plan.places.get(&real) {
                Some(known) => known.clone(),
                None => {
                    let target = self.request.sysroot.join(real.as_relative())?;
                    self.bring(&real, &target, &Why::Target(place.clone()), (false, false))?;
                    target
                }
            };
            let link = relative(&place, &target);
            return self.put(place, Some(path.clone()), Action::Symlink(link), why, 0);
        }
        self.warnings.insert(format!("{place}: leads to {real}, which is not part of the extension"));
        self.put(place, Some(path.clone()), Action::Symlink(real.to_absolute()), why, 0)
    }

    /// Sets down one path; a second reason for the same thing is added to the first. The same thing is what is one file or
    /// folder of the image, by whatever names: a folder and a link in it, a library as a plugin and as `--extra-lib`.
    pub(super) fn put(
        &mut self,
        target: TreePath,
        source: Option<TreePath>,
        action: Action,
        why: Why,
        size: u64,
    ) -> Result<(), PlanError> {
        let ino = |path: &Option<TreePath>| {
            let real = self.tree.resolve(path.as_ref()?.to_absolute(), true).ok()?;
            self.tree.ino(&real.path)
        };
        if let Some(old) = self.plan.entries.get_mut(&target) {
            let both_dirs = matches!((&old.action, &action), (Action::Directory(_), Action::Directory(_)));
            let same = || ino(&source).is_some_and(|new| ino(&old.source) == Some(new));
            if both_dirs || (old.source == source && old.action == action) || same() {
                let is_link = |a: &Action| matches!(a, Action::Symlink(_));
                if is_link(&old.action) && !is_link(&action) {
                    // The thing itself is worth more than a way to it.
                    (old.source, old.action, old.size) = (source, action, size);
                }
                old.why.insert(why);
                return Ok(());
            }
            let made = || target.clone();
            let first = old.source.clone().unwrap_or_else(made);
            let second = source.unwrap_or_else(made);
            return Err(PlanError::Clash { target, first, second });
        }
        self.plan.entries.insert(target, Entry { source, action, why: BTreeSet::from([why]), size });
        Ok(())
    }

    /// The closure of all placed ELF files.
    pub(super) fn closure(&mut self) -> Result<Closure, PlanError> {
        let mut resolver = Resolver::new(self.tree, self.request.closure.clone());
        for placed in &self.placed {
            resolver.offer(&placed.source);
        }
        let named: BTreeSet<TreePath> =
            self.placed.iter().filter(|p| p.named).map(|p| p.source.clone()).collect();
        let mut others = BTreeMap::new();
        let mut later = Vec::new();
        // Programs first: they tell which loader the libraries belong to.
        for placed in self.placed.clone() {
            match resolver.elf(&placed.source) {
                Ok(Some(elf)) if elf.interpreter.is_some() => {
                    self.root(&mut resolver, &placed, &named, &mut others)?
                }
                Ok(Some(_)) => later.push(placed),
                Ok(None) => {}
                Err(e) if placed.named => return Err(e.into()),
                Err(e) => _ = self.warnings.insert(format!("{e}; it is included unchanged")),
            }
        }
        for placed in later {
            self.root(&mut resolver, &placed, &named, &mut others)?;
        }
        // Where nothing that counts more names a machine, what is below folders does.
        if self.plan.machines.is_empty() {
            self.plan.machines = others.values().copied().collect();
        } else {
            others.retain(|_, machine| !self.plan.machines.contains(machine));
            for (path, machine) in others {
                self.notes
                    .insert(format!("{path}: for another machine, {machine}; it is included unchanged"));
            }
        }
        Ok(resolver.finish()?)
    }

    /// Adds a placed ELF file to the closure. What the user didn't name and can't be loaded is included unchanged. The machine
    /// of what isn't loaded by a loader of the image, and isn't named, goes to `others`: test data may be of any machine.
    fn root(
        &mut self,
        resolver: &mut Resolver<'_>,
        placed: &Placed,
        named: &BTreeSet<TreePath>,
        others: &mut BTreeMap<TreePath, Machine>,
    ) -> Result<(), PlanError> {
        let is_named = named.contains(&placed.source);
        let Some(elf) = resolver.elf(&placed.source)? else { return Ok(()) };
        let added = match is_named {
            true => resolver.add_root(&placed.source)?,
            false => match resolver.add_optional_root(&placed.source) {
                Ok(added) => added,
                Err(e) => {
                    self.warnings.insert(format!("{e}; it is included unchanged"));
                    false
                }
            },
        };
        if added || is_named {
            self.plan.machines.insert(elf.built_for());
        } else if !matches!(elf.kind, ElfKind::Other) {
            others.insert(placed.target.clone(), elf.built_for());
        }
        Ok(())
    }
}

/// Whether a relative link never leaves the folder on its way.
fn stays_below(link_path: &TreePath, link: &[u8], folder: &TreePath) -> bool {
    let mut depth = match link_path.parent().as_ref().and_then(|d| d.strip_prefix(folder)) {
        Some(b"") => 0,
        Some(rest) => rest.split(|&b| b == b'/').count(),
        None => return false,
    };
    for component in link.split(|&b| b == b'/') {
        match component {
            b"" | b"." => {}
            b".." if depth == 0 => return false,
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    true
}

/// The target of a symlink at `from` that leads to `to`.
pub(super) fn relative(from: &TreePath, to: &TreePath) -> Vec<u8> {
    let dir: Vec<&[u8]> = from.components().collect();
    let dir = &dir[..dir.len().saturating_sub(1)];
    let to: Vec<&[u8]> = to.components().collect();
    let common = dir.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut parts: Vec<&[u8]> = vec![b".."; dir.len() - common];
    parts.extend(&to[common..]);
    if parts.is_empty() { b".".to_vec() } else { parts.join(&b'/') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_links() {
        for (from, to, expected) in [
            ("/usr/bin/a", "/usr/bin/b", "b"),
            ("/usr/bin/a", "/usr/lib/flix/x/bin/b", "../lib/flix/x/bin/b"),
            ("/usr/lib/x/y", "/usr/lib", ".."),
            ("/usr/lib/x", "/usr/lib", "."),
            ("/a", "/b", "b"),
        ] {
            let got = relative(&from.parse().unwrap(), &to.parse().unwrap());
            assert_eq!(got, expected.as_bytes(), "{from} {to}");
        }
    }

    #[test]
    fn links_that_leave_a_folder_are_seen() {
        for (path, link, expected) in [
            ("/f/a/l", "../b", true),
            ("/f/a/l", "../../f/b", false),
            ("/f/l", "b/../c", true),
            ("/f/l", "../f/c", false),
        ] {
            assert_eq!(
                stays_below(&path.parse().unwrap(), link.as_bytes(), &"/f".parse().unwrap()),
                expected,
                "{path} {link}"
            );
        }
    }
}
