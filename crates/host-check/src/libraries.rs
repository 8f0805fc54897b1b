//! Libraries: what the loader of the host finds afterwards, for programs of the host and of the extensions.
//!
//! Both trees are loaded by the simulated loader, with the host's ld.so.cache as it is: a merge doesn't run ldconfig(8).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use elf::closure::{Closure, Missing, Options};
use elf::{ElfKind, Libc, Resolver, defined_versions};
use tree::{Node, Tree, TreePath, escape, list_some};

use crate::changes::Changes;
use crate::elves::{Elves, Files, know, read};
use crate::layer::Layer;
use crate::overlay::{Merged, Owner};
use crate::rules::{
    LIBRARY_CACHE, LIBRARY_MISSING, LIBRARY_REPLACED, LOADER_MISSING, SAME_SONAME, SYMBOL_VERSION,
};
use crate::{Finding, Host, Severity};

/// Findings for one file that are told one by one.
const NAMED: usize = 3;

pub(crate) fn findings(host: &Host, merged: &Merged, layers: &[Layer<'_>]) -> Vec<Finding> {
    let names: Vec<&str> = layers.iter().map(|e| e.name.as_str()).collect();
    let mut out = Vec::new();
    let own = read(&merged.tree, |path| matches!(merged.owner(path), Owner::Extension(_)));
    if own.is_empty() && merged.hidden.is_empty() {
        return out;
    }
    let hosts = host.elves();
    let changes = Changes::new(&host.tree, merged);
    let after = After { merged, hosts: &hosts.files, own: &own };
    of_host(host, hosts, &after, &changes, &names, &mut out);
    of_extensions(&after, layers, &mut out);
    sonames(host, &own, merged, &names, &mut out);
    out
}

/// The tree after the merge, and its ELF files as they were read.
struct After<'a> {
    merged: &'a Merged,
    hosts: &'a Files,
    own: &'a Files,
}

impl<'a> After<'a> {
    fn resolver(&self) -> Resolver<'a> {
        let mut resolver = Resolver::new(&self.merged.tree, Options::of_start());
        know(&mut resolver, self.own, |_| true);
        let is_hosts =
            |path: &TreePath| self.merged.owner(path) == Owner::Host && self.merged.tree.contains(path);
        know(&mut resolver, self.hosts, is_hosts);
        resolver
    }
}

/// What programs and libraries of the host load now.
fn of_host(
    host: &Host,
    hosts: &Elves,
    after: &After<'_>,
    changes: &Changes,
    names: &[&str],
    out: &mut Vec<Finding>,
) {
    let merged = after.merged;
    let files = hosts.affected(&host.tree, changes);
    if files.is_empty() {
        return;
    }
    let mut resolver = Resolver::new(&host.tree, Options::of_start());
    know(&mut resolver, &hosts.files, |_| true);
    let before = resolve(resolver, &files);
    let by_link: BTreeSet<&TreePath> =
        before.links.iter().filter(|(link, _)| changes.touches(link)).map(|(_, real)| real).collect();
    let affected = |path: &&TreePath| {
        let Some(map) = before.maps.get(*path) else { return false };
        // The program itself is another one now.
        merged.owner(path) == Owner::Host
            && merged.tree.contains(path)
            && (map.start().iter().any(|object| by_link.contains(object))
                || changes.concerns(&host.tree, &before, map.start()))
    };
    let roots: Vec<&TreePath> = files.into_iter().filter(affected).collect();
    if roots.is_empty() {
        return;
    }
    let after = resolve(after.resolver(), &roots);
    // Which library took the place of another one, and for whom.
    let mut replaced: BTreeMap<(usize, TreePath), Vec<&TreePath>> = BTreeMap::new();
    for root in &roots {
        let (Some(old), Some(new)) = (before.maps.get(*root), after.maps.get(*root)) else { continue };
        let content = |tree: &'_ Tree, path: &TreePath| tree.get(path).and_then(Node::content).cloned();
        let same = |path: &TreePath| {
            if old.start().contains(path) && !changes.touches(path) {
                return true;
            }
            // The same library under another name.
            let Some(now) = content(&merged.tree, path) else { return false };
            old.start()
                .iter()
                .filter_map(|old| content(&host.tree, old))
                .any(|before| before.has_same_bytes(&now))
        };
        for path in new.start().iter().filter(|path| !same(path)) {
            if let Owner::Extension(by) = merged.owner(path) {
                replaced.entry((by, path.clone())).or_default().push(root);
            }
        }
    }
    for ((by, path), users) in replaced {
        let message = format!("is loaded by {} of the host in place of the host's own", list(&users));
        out.push(LIBRARY_REPLACED.finding(names.get(by).copied(), Some(&path), message));
    }
    let known: BTreeSet<&str> = before.missing.iter().map(|m| m.name.as_str()).collect();
    for missing in after.missing.iter().filter(|m| !known.contains(m.name.as_str())) {
        let root = missing.chain.last();
        let message = format!("{} isn't found any more{}", missing.name, by_whom(missing));
        out.push(LIBRARY_MISSING.finding(None, root, message));
    }
    let roots: Vec<(&TreePath, Option<usize>)> = roots.iter().map(|root| (*root, None)).collect();
    versions(merged, &after, &roots, names, Some((&host.tree, &before)), out);
}

/// What programs and libraries of extensions find.
fn of_extensions(after: &After<'_>, layers: &[Layer<'_>], out: &mut Vec<Finding>) {
    let After { merged, own, .. } = after;
    let names: Vec<&str> = layers.iter().map(|e| e.name.as_str()).collect();
    let owner = |path: &TreePath| match merged.owner(path) {
        Owner::Host => None,
        Owner::Extension(i) => Some(i),
    };
    let mut roots: Vec<(&TreePath, Option<usize>)> = Vec::new();
    for (path, elf) in *own {
        let Some(interpreter) = &elf.interpreter else {
            roots.push((path, owner(path)));
            continue;
        };
        if merged.tree.resolve(interpreter, true).is_ok() {
            roots.push((path, owner(path)));
            continue;
        }
        // glibc's own libraries name one, too, to be run by hand.
        if elf.kind == ElfKind::DynamicExecutable {
            let name = owner(path).and_then(|i| names.get(i).copied());
            let message = format!(
                "needs the loader {}, which neither the host nor an extension has",
                escape(interpreter)
            );
            out.push(LOADER_MISSING.finding(name, Some(path), message));
        }
    }
    let files: Vec<&TreePath> = roots.iter().map(|(path, _)| *path).collect();
    let found = resolve(after.resolver(), &files);
    if !found.missing.is_empty() {
        // ldconfig(8) would make a cache of all directories.
        let mut resolver = after.resolver();
        for (path, _) in &roots {
            let _ = resolver.add_root(path);
        }
        let cached = resolver.finish().map(|closure| closure.missing).unwrap_or_default();
        let still: BTreeSet<&str> = cached.iter().map(|m| m.name.as_str()).collect();
        let programs: BTreeSet<&TreePath> = own
            .iter()
            .filter(|(_, elf)| elf.kind == ElfKind::DynamicExecutable)
            .map(|(path, _)| path)
            .collect();
        for missing in &found.missing {
            let Some(root) = missing.chain.last() else { continue };
            let by = owner(root);
            let name = by.and_then(|i| names.get(i).copied());
            if still.contains(missing.name.as_str()) {
                let message =
                    format!("{} is in neither the host nor an extension{}", missing.name, by_whom(missing));
                // A plugin may have its libraries from the program that loads it.
                let severity = if programs.contains(root) { Severity::Error } else { Severity::Warning };
                out.push(LIBRARY_MISSING.finding(name, Some(root), message).with(severity));
                continue;
            }
            let handles = by.and_then(|i| layers.get(i)).is_some_and(|layer| layer.runs(&["ldconfig"]));
            let message = format!("{} is found after ldconfig only, which no merge runs", missing.name);
            let severity = if handles { Severity::Note } else { Severity::Error };
            out.push(LIBRARY_CACHE.finding(name, Some(root), message).with(severity));
        }
    }
    versions(merged, &found, &roots, &names, None, out);
}

/// What these files load. What can't be read loads nothing, before and after.
fn resolve(resolver: Resolver<'_>, roots: &[&TreePath]) -> Closure {
    let mut resolver = resolver.by_cache();
    for root in roots {
        let _ = resolver.add_root(root);
    }
    resolver.finish().unwrap_or_default()
}

/// Versions of symbols that files need, and the libraries that they load now lack.
fn versions(
    merged: &Merged,
    closure: &Closure,
    roots: &[(&TreePath, Option<usize>)],
    names: &[&str],
    before: Option<(&Tree, &Closure)>,
    out: &mut Vec<Finding>,
) {
    let mut defined = Defined::new();
    let mut before = before.map(|(tree, closure)| Before::new(tree, closure));
    let mut told = BTreeSet::new();
    for (root, by) in roots {
        let Some(map) = closure.maps.get(*root) else { continue };
        let objects: Vec<_> = map.start().iter().filter_map(|p| Some((p, closure.objects.get(p)?))).collect();
        for (path, object) in &objects {
            for need in &object.elf.version_needs {
                let provides = |(at, o): &&(&TreePath, &elf::closure::Object)| {
                    o.elf.soname.as_ref() == Some(&need.file) || at.file_name() == Some(&need.file)
                };
                let Some((provider, library)) = objects.iter().find(provides) else { continue };
                // musl takes no notice of versions.
                if library.elf.libc() == Some(Libc::Musl) {
                    continue;
                }
                let known = defined.entry((*provider).clone()).or_insert_with(|| of(&merged.tree, provider));
                let Some(known) = known.as_ref().filter(|known| !known.is_empty()) else { continue };
                for version in need.versions.iter().filter(|v| !known.contains(*v)) {
                    let key = ((*path).clone(), (*provider).clone(), version.clone());
                    let mut lacked = || before.as_mut().is_some_and(|b| b.lacked(path, &need.file, version));
                    if !told.insert(key) || lacked() {
                        continue;
                    }
                    let message = format!("needs {}, which {provider} doesn't have", escape(version));
                    let provided = match merged.owner(provider) {
                        Owner::Host => None,
                        Owner::Extension(i) => Some(i),
                    };
                    let name = by.or(provided).and_then(|i| names.get(i).copied());
                    out.push(SYMBOL_VERSION.finding(name, Some(path), message));
                }
            }
        }
    }
}

/// The versions that a library defines; none if it can't be read.
fn of(tree: &Tree, path: &TreePath) -> Option<BTreeSet<Vec<u8>>> {
    let versions = defined_versions(tree.get(path).and_then(Node::content)?).ok()?;
    Some(versions.into_iter().collect())
}

/// The versions of libraries, each read once.
type Defined = HashMap<TreePath, Option<BTreeSet<Vec<u8>>>>;

/// What was loaded before the merge.
struct Before<'c> {
    tree: &'c Tree,
    closure: &'c Closure,
    /// By a file, a process that loads it.
    maps: HashMap<&'c TreePath, &'c elf::closure::ProcessMap>,
    defined: Defined,
}

impl<'c> Before<'c> {
    fn new(tree: &'c Tree, closure: &'c Closure) -> Before<'c> {
        let mut maps = HashMap::new();
        for map in closure.maps.values() {
            for path in map.start() {
                maps.entry(path).or_insert(map);
            }
        }
        Before { tree, closure, maps, defined: Defined::new() }
    }

    /// Whether the version was missing then, too.
    fn lacked(&mut self, path: &TreePath, file: &[u8], version: &[u8]) -> bool {
        let Some(map) = self.maps.get(path) else { return false };
        let provider = map.start().iter().find(|at| {
            self.closure.objects.get(*at).is_some_and(|o| o.elf.soname.as_deref() == Some(file))
                || at.file_name() == Some(file)
        });
        let Some(provider) = provider else { return false };
        let known = self.defined.entry(provider.clone()).or_insert_with(|| of(self.tree, provider));
        known.as_ref().is_some_and(|known| !known.is_empty() && !known.contains(version))
    }
}

/// Libraries that are there twice, under two paths.
fn sonames(host: &Host, own: &Files, merged: &Merged, names: &[&str], out: &mut Vec<Finding>) {
    let mut hosts: HashMap<Vec<u8>, TreePath> = HashMap::new();
    for (path, node) in host.tree.iter() {
        let name = path.file_name().unwrap_or_default();
        if !node.is_dir() && name.windows(3).any(|w| w == b".so") {
            hosts.entry(name.to_vec()).or_insert_with(|| path.clone());
        }
    }
    let mut by: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for (path, elf) in own {
        let (Some(soname), Owner::Extension(i)) = (&elf.soname, merged.owner(path)) else { continue };
        if hosts.get(soname).is_some_and(|other| other.parent() != path.parent()) {
            by.entry(i).or_default().insert(escape(soname));
        }
    }
    for (i, libraries) in by {
        let message = format!("has libraries that the host has elsewhere: {}", list_some(&libraries, NAMED));
        out.push(SAME_SONAME.finding(names.get(i).copied(), None, message));
    }
}

/// `, needed by A, needed by B`.
fn by_whom(missing: &Missing) -> String {
    let chain = missing.chain.iter().take(NAMED);
    chain.map(|path| format!(", needed by {path}")).collect()
}

/// `/usr/bin/a, /usr/bin/b and 7 more files`.
fn list(users: &[&TreePath]) -> String {
    let shown: Vec<String> = users.iter().take(NAMED).map(ToString::to_string).collect();
    match users.len() - shown.len() {
        0 => shown.join(", "),
        1 => format!("{} and 1 more file", shown.join(", ")),
        n => format!("{} and {n} more files", shown.join(", ")),
    }
}
