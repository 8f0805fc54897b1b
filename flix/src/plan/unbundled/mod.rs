//! Files that programs look for at run time and that the extension lacks: paths in their data, folders that they compute, programs
//! that they run, modules of interpreters.

mod families;
mod names;
mod optional;
mod paths;
mod scripts;

use std::collections::{BTreeMap, BTreeSet};

use elf::closure::{Closure, Object, Reason};
use elf::read_only_strings;
use sysext::extension::HostLibrary;
use tree::{Content, Node, Tree, TreePath};

use super::host::{TIME_ZONES, is_host_business, is_host_data, is_host_program, is_program_dir};
use super::planner::Planner;
use super::{Action, Entry, PlanError, Why};
use families::Family;
use names::Names;

/// Files and folders of the image that a program looks for at run time, and that the extension lacks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unbundled {
    /// The program, script or library that looks for them, in the image.
    pub by: TreePath,
    /// How it uses them.
    pub kind: UnbundledKind,
    /// Whether the program probably fails without them.
    pub is_likely: bool,
    /// The paths, in the image. Of a folder something is missing, if not all of it.
    pub paths: BTreeSet<TreePath>,
}

/// What a program looks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnbundledKind {
    /// Data, by a path that is part of the program.
    Data,
    /// Programs that it runs.
    Programs,
    /// Optional libraries. UAPI.12.
    Libraries,
    /// Its configuration in /etc, which no extension has.
    Configuration,
    /// Folders of this kind, wherever they are: "the standard library of Python".
    Family(&'static str),
    /// What was installed beside it, in a folder of its own.
    Siblings,
}

impl UnbundledKind {
    /// Whether it is what an interpreter finds of packages, as many as there are.
    pub fn is_modules(&self) -> bool {
        matches!(self, UnbundledKind::Family(name) if *name != families::LOCALES.name)
    }
}

/// What one file looks for, by kind and whether it is likely to be missed.
type Found = BTreeMap<(UnbundledKind, bool), BTreeSet<TreePath>>;

/// What a program that names [`TIME_ZONES`] needs. Libraries that name them work without.
const ZONES: UnbundledKind = UnbundledKind::Family("time zones, where the host has none");

/// Ends of packed files' names.
const PACKED: [&[u8]; 4] = [b".bz2", b".gz", b".xz", b".zst"];

/// More folders whose names begin alike aren't versions of one.
const MOST_NUMBERED: usize = 3;

/// Maximum number of paths of one file that are remembered, so that none is looked up twice.
const SEEN_LIMIT: usize = 1 << 16;

/// Maximum number of paths with a version of one file that are looked up: each takes a look through a folder.
const NUMBERED_LIMIT: usize = 64;

impl Planner<'_> {
    /// Looks through all that the plan has, once everything has its place.
    pub(super) fn unbundled(&mut self, closure: &Closure) -> Result<(), PlanError> {
        let mut out = BTreeSet::new();
        let bundled = Bundled::new(self);
        let programs = Names::new(self.tree, &bundled);
        let mut named: BTreeMap<TreePath, BTreeSet<TreePath>> = BTreeMap::new();
        let names: BTreeSet<&[u8]> =
            closure.links.keys().chain(closure.objects.keys()).filter_map(TreePath::file_name).collect();
        // By directory of programs.
        let mut siblings: BTreeMap<Option<TreePath>, BTreeSet<TreePath>> = BTreeMap::new();
        let sources: BTreeSet<&TreePath> =
            closure.objects.keys().chain(self.placed.iter().map(|p| &p.source)).collect();
        for path in sources {
            let mut found = Found::new();
            let Some(content) = self.tree.get(path).and_then(|n| n.content()) else { continue };
            let object = closure.objects.get(path);
            let is_root = object.is_none_or(|o| o.reasons.contains(&Reason::Asked));
            let soname = object.and_then(|o| o.elf.soname.as_deref());
            if object.is_some_and(|o| o.is_loader) || soname.is_some_and(optional::is_self_sufficient) {
                continue;
            }
            let mut families: BTreeSet<&'static Family> =
                path.file_name().and_then(families::by_library).into_iter().collect();
            let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
            let mut numbered: BTreeSet<(Vec<u8>, Vec<u8>)> = BTreeSet::new();
            let strings = read_only_strings(content, &mut |string| {
                for path in paths::candidates(string) {
                    if is_new(path, &mut seen) {
                        bundled.look(path, is_root, &mut found);
                    }
                }
                if let Some((dir, name)) = paths::numbered(string).filter(|_| is_root)
                    && numbered.len() < NUMBERED_LIMIT
                {
                    numbered.insert((dir.to_vec(), name.to_vec()));
                }
                families.extend(families::by_mark(string));
                // A program with several names does by itself what the others do.
                if is_root
                    && let Some((program, other)) = programs.get(string, path)
                    && is_new(program.as_relative(), &mut seen)
                    && !other.has_same_bytes(content)
                {
                    named.entry(path.clone()).or_default().insert(program.clone());
                }
            });
            // The closure reports files that can't be read, if they matter.
            if strings.is_err() {
                continue;
            }
            for (dir, name) in &numbered {
                bundled.look_numbered(dir, name, &mut found);
            }
            if object.is_some_and(|o| o.elf.interpreter.is_none()) {
                found.remove(&(ZONES, true));
            }
            if let Some(object) = object {
                self.suggested(object, &names, &mut found);
            }
            if families.iter().filter(|f| f.is_listed()).count() > 1 {
                families.retain(|f| !f.is_listed());
            }
            for family in families {
                let folders = family.folders(self.tree).into_iter().filter(|f| bundled.lacks(f));
                let likely = is_root || family.is_embedded();
                found.entry((UnbundledKind::Family(family.name), likely)).or_default().extend(folders);
            }
            if is_root {
                self.openssl_configuration(content, &mut found);
                let siblings = siblings.entry(path.parent()).or_insert_with(|| bundled.siblings(path));
                found.entry((UnbundledKind::Siblings, true)).or_default().extend(siblings.iter().cloned());
                self.script(path, content, &bundled, &mut found)?;
            }
            for ((kind, _), paths) in &mut found {
                if *kind == UnbundledKind::Configuration {
                    let elsewhere = &self.request.elsewhere;
                    paths.retain(|p| !elsewhere.contains(p) && !is_above(p, elsewhere));
                }
            }
            out.extend(entries(path, found));
        }
        self.plan.unbundled = out.into_iter().collect();
        self.plan.named = named;
        Ok(())
    }
}

impl Planner<'_> {
    /// OpenSSL's configuration, for programs that fail without it. Others have its library read what there is.
    fn openssl_configuration(&self, content: &Content, found: &mut Found) {
        // The closure reports files that can't be read.
        if !elf::mentions(content, &["CONF_get1_default_config_file"]).unwrap_or(false) {
            return;
        }
        let in_etc = |entry: &Entry| match &entry.action {
            Action::Symlink(to) if to.starts_with(b"/etc/") && to.ends_with(b"/openssl.cnf") => {
                TreePath::new(to).ok()
            }
            _ => None,
        };
        let paths: BTreeSet<TreePath> = self.plan.entries.values().filter_map(in_etc).collect();
        found.entry((UnbundledKind::Configuration, true)).or_default().extend(paths);
    }

    /// Libraries of the image that a note names and the request leaves out. `included` has the names of all libraries of the
    /// closure.
    fn suggested(&self, object: &Object, included: &BTreeSet<&[u8]>, found: &mut Found) {
        for note in &object.elf.dlopen {
            if note.soname.iter().any(|name| included.contains(name.as_slice())) {
                continue;
            }
            let place = |dir: &TreePath| {
                note.soname.iter().find_map(|n| dir.join(n).ok().filter(|p| self.tree.contains(p)))
            };
            if let Some(path) = object.dirs.iter().find_map(place) {
                found.entry((UnbundledKind::Libraries, false)).or_default().insert(path);
            }
        }
    }
}

/// Whether a path was not looked up before. What is beyond the limit always is.
fn is_new(path: &[u8], seen: &mut BTreeSet<Vec<u8>>) -> bool {
    if seen.len() < SEEN_LIMIT { seen.insert(path.to_vec()) } else { !seen.contains(path) }
}

/// A path in an image whose /bin, /lib and their like aren't merged with those of /usr, as it is in an extension.
fn merged(path: &TreePath) -> TreePath {
    match path.components().next() {
        Some(b"bin" | b"sbin" | b"lib" | b"lib32" | b"lib64") => {
            TreePath::new([b"/usr/", path.as_relative()].concat()).unwrap_or_else(|_| path.clone())
        }
        _ => path.clone(),
    }
}

/// The paths without those below another of them.
fn tops(paths: &BTreeSet<TreePath>) -> BTreeSet<TreePath> {
    let mut out: Vec<&TreePath> = Vec::new();
    // What is below a path follows it.
    for path in paths {
        if !out.last().is_some_and(|last| path.starts_with(last)) {
            out.push(path);
        }
    }
    out.into_iter().cloned().collect()
}

/// Whether a path is one of `tops` or below one.
fn is_below(path: &TreePath, tops: &BTreeSet<TreePath>) -> bool {
    tops.range(..=path).next_back().is_some_and(|top| path.starts_with(top))
}

/// Whether a path or something below it is one of `paths`.
fn is_above(path: &TreePath, paths: &BTreeSet<impl std::borrow::Borrow<TreePath> + Ord>) -> bool {
    paths.range::<TreePath, _>(path..).next().is_some_and(|next| next.borrow().starts_with(path))
}

/// One for each kind, without paths that a more telling kind has, too.
fn entries(by: &TreePath, mut found: Found) -> Vec<Unbundled> {
    let mut out = Vec::new();
    let families: BTreeSet<TreePath> = found
        .iter()
        .filter(|((kind, _), _)| matches!(kind, UnbundledKind::Family(_) | UnbundledKind::Siblings))
        .flat_map(|(_, paths)| paths.iter().cloned())
        .collect();
    let families = tops(&families);
    let likely = found.get(&(UnbundledKind::Configuration, true)).map(tops).unwrap_or_default();
    for ((kind, is_likely), paths) in &mut found {
        if *kind == UnbundledKind::Configuration && !*is_likely {
            paths.retain(|p| !is_below(p, &likely));
        }
        if matches!(kind, UnbundledKind::Data) {
            paths.retain(|p| !is_below(p, &families) && !is_above(p, &families));
        }
        // A directory covers the files in it.
        let paths = tops(paths);
        if !paths.is_empty() {
            let kind = kind.clone();
            out.push(Unbundled { by: by.clone(), kind, is_likely: *is_likely, paths });
        }
    }
    out
}

/// What the extension has of the image, by path.
pub(super) struct Bundled<'a> {
    tree: &'a Tree,
    /// Paths of the image that the extension has in their places, or elsewhere.
    all: BTreeSet<&'a TreePath>,
    /// Those of them that the request asks for in groups, by a directory or a selection: what it left out of a directory isn't
    /// missed.
    groups: BTreeSet<&'a TreePath>,
    /// Directories of the image with files that the request doesn't ask for. That a library is included for a program says
    /// nothing of the data beside it.
    incomplete: BTreeSet<TreePath>,
    /// What packages have in /etc, and the extension can't.
    outside: &'a BTreeSet<TreePath>,
}

impl<'a> Bundled<'a> {
    fn new(planner: &'a Planner<'_>) -> Self {
        let mut bundled = Bundled {
            tree: planner.tree,
            all: BTreeSet::new(),
            groups: BTreeSet::new(),
            incomplete: BTreeSet::new(),
            outside: &planner.outside,
        };
        let mut chosen = BTreeSet::new();
        for (place, entry) in &planner.plan.entries {
            if matches!(entry.action, Action::Directory(_)) {
                continue;
            }
            let paths = std::iter::once(place).chain(&entry.source);
            bundled.all.extend(paths.clone());
            if entry.why.iter().any(|w| matches!(w, Why::Folder(_) | Why::Selected(_))) {
                bundled.groups.extend(paths.clone());
            }
            let others =
                |w: &Why| matches!(w, Why::Closure(_) | Why::Default(_) | Why::Name(_) | Why::PathFile);
            if !entry.why.iter().all(others) {
                chosen.extend(paths);
            }
        }
        for (path, _) in planner.tree.iter().filter(|(path, node)| !node.is_dir() && !chosen.contains(path)) {
            let mut above = path.parent();
            while let Some(dir) = above.filter(|dir| !bundled.incomplete.contains(dir)) {
                above = dir.parent();
                bundled.incomplete.insert(dir);
            }
        }
        bundled
    }

    /// Whether the extension lacks a path of the image, both there and in the sysroot. A directory is lacking if one of its
    /// files is, unless the request has others of them by a directory or a selection.
    fn lacks(&self, path: &TreePath) -> bool {
        let is_complete = self.tree.get(path).is_some_and(Node::is_dir) && !self.incomplete.contains(path);
        !self.all.contains(path) && !is_complete && !is_above(path, &self.groups)
    }

    /// Sorts a path that a file names.
    fn look(&self, named: &[u8], is_root: bool, found: &mut Found) {
        // What reads a file packed reads it unpacked, too.
        let unpacked = || PACKED.iter().find_map(|suffix| named.strip_suffix(*suffix));
        let named = match self.tree.resolve(named, true) {
            Ok(_) => named,
            Err(_) => unpacked().unwrap_or(named),
        };
        let Ok(resolved) = self.tree.resolve(named, true) else { return };
        let real = resolved.path;
        let Some(node) = self.tree.get(&real) else { return };
        let Ok(path) = TreePath::new(named) else { return };
        let merged = merged(&path);
        let is_dir = node.is_dir();
        let zones = TIME_ZONES.path();
        if merged.starts_with(&zones) {
            if is_root && self.lacks(&zones) {
                found.entry((ZONES, true)).or_default().insert(zones);
            }
            return;
        }
        if optional::is_shared(&merged) || optional::is_shared(&real) || is_host_data(&real) {
            return;
        }
        if merged.components().next() == Some(b"etc") {
            if is_root && !is_host_business(&merged) && !optional::is_of_host(&merged) {
                let likely = is_dir || self.outside.contains(&merged);
                found.entry((UnbundledKind::Configuration, likely)).or_default().insert(merged);
            }
            return;
        }
        if !matches!(real.components().next(), Some(b"usr" | b"opt")) {
            return;
        }
        if is_program_dir(&merged) {
            let runs = node.is_file() && node.meta.mode & 0o111 != 0;
            if is_root && runs && !is_host_program(&merged) && self.lacks(&real) && self.lacks(&merged) {
                let likely = !optional::is_choice(&merged);
                found.entry((UnbundledKind::Programs, likely)).or_default().insert(merged);
            }
            return;
        }
        if HostLibrary::at(&real).is_some() || HostLibrary::at(&merged).is_some() {
            return;
        }
        if !self.lacks(&real) || !self.lacks(&merged) {
            return;
        }
        let likely = !optional::is_rare(&merged);
        found.entry((UnbundledKind::Data, likely)).or_default().insert(merged);
    }

    /// Sorts the folders whose names begin like one in which a program fills in a version.
    fn look_numbered(&self, dir: &[u8], name: &[u8], found: &mut Found) {
        let Ok(dir) = self.tree.resolve(dir, true) else { return };
        let begins = |path: &TreePath| path.file_name().is_some_and(|n| n.starts_with(name));
        let folders = self.tree.children(&dir.path).filter(|(path, node)| node.is_dir() && begins(path));
        let folders: Vec<&TreePath> = folders.map(|(path, _)| path).take(MOST_NUMBERED + 1).collect();
        if folders.len() <= MOST_NUMBERED {
            folders.iter().for_each(|path| self.look(&path.to_absolute(), true, found));
        }
    }

    /// What is installed beside a program that is not in a usual directory: `/usr/lib/jvm/x/bin/java`.
    fn siblings(&self, program: &TreePath) -> BTreeSet<TreePath> {
        let parts: Vec<&[u8]> = program.components().collect();
        let Some(at) = parts.iter().rposition(|p| matches!(*p, b"bin" | b"sbin" | b"libexec")) else {
            return BTreeSet::new();
        };
        if at < 2 || at + 2 != parts.len() || parts.starts_with(&[b"usr", b"local"]) {
            return BTreeSet::new();
        }
        let Ok(prefix) = TreePath::new(parts[..at].join(&b'/')) else { return BTreeSet::new() };
        let others = self.tree.subtree(&prefix).filter(|(path, node)| {
            !node.is_dir() && path.parent() != program.parent() && !optional::is_shared(path)
        });
        let mut folders: BTreeSet<TreePath> = BTreeSet::new();
        for (path, _) in others {
            let Some(first) = path.components().nth(at).filter(|f| !optional::is_documentation(f)) else {
                continue;
            };
            folders.extend(prefix.join(first));
        }
        folders.retain(|f| self.lacks(f));
        folders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: &[&str]) -> BTreeSet<TreePath> {
        paths.iter().map(|path| path.parse().unwrap()).collect()
    }

    #[test]
    fn paths_below_others() {
        let all = set(&["/a", "/a.b", "/a/b", "/a/b/c", "/b/c", "/b/c.d", "/b/c/d"]);
        let tops = tops(&all);
        assert_eq!(tops, set(&["/a", "/a.b", "/b/c", "/b/c.d"]));
        for (path, below, above) in [
            ("/a", true, true),
            ("/a/x/y", true, false),
            ("/a.b/x", true, false),
            ("/a.c", false, false),
            ("/b", false, true),
            ("/b/c", true, true),
            ("/c", false, false),
        ] {
            let path = path.parse().unwrap();
            assert_eq!((is_below(&path, &tops), is_above(&path, &tops)), (below, above), "{path}");
        }
    }

    #[test]
    fn a_path_is_looked_up_once() {
        let mut seen = BTreeSet::new();
        assert!(is_new(b"/a", &mut seen) && is_new(b"/b", &mut seen) && !is_new(b"/a", &mut seen));
    }
}
