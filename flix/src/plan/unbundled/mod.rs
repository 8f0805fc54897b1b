//! What programs look for at run time and the extension lacks: paths in their data, folders that they compute, programs
//! that they run, modules of interpreters.

mod families;
mod optional;
mod paths;
mod scripts;

use std::collections::{BTreeMap, BTreeSet};

use elf::closure::{Closure, Object, Reason};
use elf::read_only_strings;
use sysext::extension::HostLibrary;
use tree::{Content, Node, Tree, TreePath};

use super::host::{is_host_business, is_host_data, is_host_program, is_program_dir};
use super::planner::Planner;
use super::{Action, Entry, PlanError, Why};
use families::Family;

/// Files and folders of the image that a program looks for at run time, and that the extension lacks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unbundled {
    /// The program, script or library that looks for them, in the image.
    pub by: TreePath,
    /// What they are to it.
    pub kind: UnbundledKind,
    /// Whether it does a part of its work without them at most. What is not likely to be missed is false.
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
    /// Libraries that it can use and does without. UAPI.12.
    Libraries,
    /// Its configuration in /etc, which no extension has.
    Configuration,
    /// Folders of this kind, wherever they are: "the standard library of Python".
    Family(&'static str),
    /// What was installed beside it, in a folder of its own.
    Siblings,
}

/// What one file looks for, by kind and whether it is likely to be missed.
type Found = BTreeMap<(UnbundledKind, bool), BTreeSet<TreePath>>;

impl Planner<'_> {
    /// Looks through all that the plan has, once everything has its place.
    pub(super) fn unbundled(&mut self, closure: &Closure) -> Result<(), PlanError> {
        let mut out = BTreeSet::new();
        let bundled = Bundled::new(self);
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
            let mut families: BTreeSet<&'static Family> = BTreeSet::new();
            let strings = read_only_strings(content, &mut |string| {
                for path in paths::candidates(string) {
                    bundled.look(path, is_root, &mut found);
                }
                families.extend(families::by_mark(string));
            });
            // What isn't understood is reported by the closure, if it matters.
            if strings.is_err() {
                continue;
            }
            if let Some(object) = object {
                self.suggested(object, closure, &mut found);
            }
            for family in families {
                let folders = family.folders(self.tree).into_iter().filter(|f| bundled.lacks(f));
                let likely = is_root || family.is_embedded();
                found.entry((UnbundledKind::Family(family.name), likely)).or_default().extend(folders);
            }
            if is_root {
                self.openssl_configuration(content, &mut found);
                bundled.siblings(path, &mut found);
                self.script(path, content, &bundled, &mut found)?;
            }
            out.extend(entries(path, found));
        }
        self.plan.unbundled = out.into_iter().collect();
        Ok(())
    }
}

impl Planner<'_> {
    /// OpenSSL's configuration, for programs that fail without it. Others have its library read what there is.
    fn openssl_configuration(&self, content: &Content, found: &mut Found) {
        // What can't be read is reported by the closure.
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

    /// Libraries of the image that a note names and the request leaves out.
    fn suggested(&self, object: &Object, closure: &Closure, found: &mut Found) {
        let included = |name: &[u8]| {
            let names = closure.links.keys().chain(closure.objects.keys());
            names.into_iter().any(|path| path.file_name() == Some(name))
        };
        for note in &object.elf.dlopen {
            if note.soname.iter().any(|name| included(name)) {
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

/// A path in an image whose /bin, /lib and their like aren't merged with those of /usr, as it is in an extension.
fn merged(path: &TreePath) -> TreePath {
    match path.components().next() {
        Some(b"bin" | b"sbin" | b"lib" | b"lib32" | b"lib64") => {
            TreePath::new([b"/usr/", path.as_relative()].concat()).unwrap_or_else(|_| path.clone())
        }
        _ => path.clone(),
    }
}

/// One for each kind, without paths that a more telling kind has, too.
fn entries(by: &TreePath, mut found: Found) -> Vec<Unbundled> {
    let mut out = Vec::new();
    let families: BTreeSet<TreePath> = found
        .iter()
        .filter(|((kind, _), _)| matches!(kind, UnbundledKind::Family(_) | UnbundledKind::Siblings))
        .flat_map(|(_, paths)| paths.iter().cloned())
        .collect();
    let likely = found.get(&(UnbundledKind::Configuration, true)).cloned().unwrap_or_default();
    for ((kind, is_likely), paths) in &mut found {
        if *kind == UnbundledKind::Configuration && !*is_likely {
            paths.retain(|p| !likely.iter().any(|folder| p.starts_with(folder)));
        }
        if matches!(kind, UnbundledKind::Data) {
            paths.retain(|p| !families.iter().any(|f| p.starts_with(f) || f.starts_with(p)));
        }
        // A folder says what a file in it would.
        let all = paths.clone();
        paths.retain(|p| !all.iter().any(|other| other != p && p.starts_with(other)));
        if !paths.is_empty() {
            let (kind, paths) = (kind.clone(), std::mem::take(paths));
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
}

impl<'a> Bundled<'a> {
    fn new(planner: &'a Planner<'_>) -> Self {
        let mut bundled = Bundled {
            tree: planner.tree,
            all: BTreeSet::new(),
            groups: BTreeSet::new(),
            incomplete: BTreeSet::new(),
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
        let below = self.groups.range::<TreePath, _>(path..).next().is_some_and(|p| p.starts_with(path));
        !self.all.contains(path) && !is_complete && !below
    }

    /// Sorts a path that a file names.
    fn look(&self, named: &[u8], is_root: bool, found: &mut Found) {
        let Ok(resolved) = self.tree.resolve(named, true) else { return };
        let real = resolved.path;
        let Some(node) = self.tree.get(&real) else { return };
        let Ok(path) = TreePath::new(named) else { return };
        let merged = merged(&path);
        let is_dir = node.is_dir();
        if optional::is_shared(&merged) || optional::is_shared(&real) || is_host_data(&real) {
            return;
        }
        if merged.components().next() == Some(b"etc") {
            if is_root && !is_host_business(&merged) && !optional::is_of_host(&merged) {
                found.entry((UnbundledKind::Configuration, is_dir)).or_default().insert(merged);
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

    /// What is installed beside a program that is not in a usual directory: `/usr/lib/jvm/x/bin/java`.
    fn siblings(&self, program: &TreePath, found: &mut Found) {
        let parts: Vec<&[u8]> = program.components().collect();
        let Some(at) = parts.iter().rposition(|p| matches!(*p, b"bin" | b"sbin" | b"libexec")) else {
            return;
        };
        if at < 2 || at + 2 != parts.len() || parts.starts_with(&[b"usr", b"local"]) {
            return;
        }
        let Ok(prefix) = TreePath::new(parts[..at].join(&b'/')) else { return };
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
        found.entry((UnbundledKind::Siblings, true)).or_default().extend(folders);
    }
}
