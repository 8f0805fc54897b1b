//! The programs and libraries of a host, read once for all checks of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use elf::{Elf, Resolver};
use sysext::lint::needs::PRIVATE_ROOTS;
use tree::{Content, Ino, Node, Tree, TreePath, parallel};

use crate::changes::{Changes, last_part};

/// Files that one thread reads at a time.
const CHUNK: usize = 64;

/// ELF files by their real paths.
pub(crate) type Files = BTreeMap<TreePath, Arc<Elf>>;

/// What a loader loads of a tree.
#[derive(Debug, Default)]
pub(crate) struct Elves {
    pub(crate) files: Files,
    /// By a file's place in `files`: the last parts of the paths that lead to it, and its SONAME.
    names: Vec<BTreeSet<Vec<u8>>>,
    /// By such a name: the places of the files that ask for it.
    asking: HashMap<Vec<u8>, Vec<usize>>,
}

/// Programs and libraries that a loader loads, outside of private roots, which have loaders of their own.
pub(crate) fn read(tree: &Tree, takes: impl Fn(&TreePath) -> bool) -> Files {
    let private = PRIVATE_ROOTS.path();
    let mut seen: HashSet<Ino> = HashSet::new();
    let mut candidates: Vec<(&TreePath, &Content)> = Vec::new();
    for (path, ino, node) in tree.iter_inodes() {
        // A header, and one program header at the least.
        let Some(content) = node.content().filter(|c| c.len() >= 64) else { continue };
        if !path.starts_with(&private) && takes(path) && seen.insert(ino) {
            candidates.push((path, content));
        }
    }
    let parse = |(path, content): &(&TreePath, &Content)| {
        let elf = Elf::parse(content).ok()??;
        elf.is_dynamic().then(|| ((*path).clone(), Arc::new(elf)))
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let chunks: Vec<&[(&TreePath, &Content)]> = candidates.chunks(CHUNK).collect();
    let found = parallel::map(threads, &chunks, |chunk| chunk.iter().filter_map(parse).collect::<Vec<_>>());
    found.into_iter().flatten().collect()
}

impl Elves {
    pub(crate) fn of(tree: &Tree) -> Elves {
        let files = read(tree, |_| true);
        let mut names: Vec<BTreeSet<Vec<u8>>> = Vec::with_capacity(files.len());
        let mut asking: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (i, elf) in files.values().enumerate() {
            names.push(elf.soname.iter().cloned().collect());
            for name in elf.asks_for().chain(elf.interpreter.as_deref()) {
                asking.entry(last_part(name).to_vec()).or_default().push(i);
            }
        }
        let inode = |(i, path)| Some((tree.ino(path)?, i));
        let places: HashMap<Ino, usize> = files.keys().enumerate().filter_map(inode).collect();
        for (path, ino, node) in tree.iter_inodes() {
            let ino = match node.symlink_target() {
                Some(_) => {
                    tree.resolve(path.to_absolute(), true).ok().and_then(|found| tree.ino(&found.path))
                }
                None => Some(ino),
            };
            if let (Some(i), Some(name)) = (ino.and_then(|ino| places.get(&ino)), path.file_name()) {
                names[*i].insert(name.to_vec());
            }
        }
        Elves { files, names, asking }
    }

    /// The files that may load others than before: a superset, since it goes by names alone. `host`: the tree that they are of.
    pub(crate) fn affected(&self, host: &Tree, changes: &Changes) -> Vec<&TreePath> {
        let mut other: HashSet<&[u8]> = HashSet::new();
        for path in &changes.other {
            // What was found through a link to a directory could be anything.
            let leads_to_directory = |node: &Node| {
                node.symlink_target().is_some()
                    && host
                        .resolve(path.to_absolute(), true)
                        .is_ok_and(|to| host.get(&to.path).is_some_and(Node::is_dir))
            };
            if host.get(path).is_some_and(leads_to_directory) {
                return self.files.keys().collect();
            }
            other.extend(host.subtree(path).filter_map(|(path, _)| path.file_name()));
        }
        let asks_for_change = |elf: &Elf| {
            // Only its own path leads into a directory that the host lacks.
            let own = elf.rpath.is_some() || elf.runpath.is_some();
            let is_new = |name: &[u8]| {
                let dirs = changes.new.get(name);
                dirs.is_some_and(|dirs| own || dirs.iter().any(|dir| host.contains(dir)))
            };
            let mut names = elf.asks_for().chain(elf.interpreter.as_deref()).map(last_part);
            names.any(|name| other.contains(name) || is_new(name))
        };
        let mut marked = vec![false; self.files.len()];
        let mut queue = Vec::new();
        for (i, (path, elf)) in self.files.iter().enumerate() {
            if changes.touches(path) || asks_for_change(elf) {
                marked[i] = true;
                queue.push(i);
            }
        }
        while let Some(i) = queue.pop() {
            for by in self.names[i].iter().filter_map(|name| self.asking.get(name)).flatten() {
                if !std::mem::replace(&mut marked[*by], true) {
                    queue.push(*by);
                }
            }
        }
        self.files.keys().zip(&marked).filter(|(_, marked)| **marked).map(|(path, _)| path).collect()
    }
}

/// Gives a resolver files that were read already, those that `is` says are the same in its tree.
pub(crate) fn know(resolver: &mut Resolver<'_>, files: &Files, is: impl Fn(&TreePath) -> bool) {
    for (path, elf) in files.iter().filter(|(path, _)| is(path)) {
        resolver.know(path, elf.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use elf::testing::TestRoot;

    #[test]
    fn what_asks_for_a_change_is_affected_through_libraries_and_links() {
        let root = TestRoot::glibc();
        root.with_glibc();
        let one = "lib/x86_64-linux-gnu/libone.so.1.2";
        root.shared_library(one, "libone.so.1", &[], &[]);
        let middle = "lib/x86_64-linux-gnu/libmiddle.so.2";
        root.shared_library(middle, "libmiddle.so.2", &[one], &[]);
        root.program("usr/bin/host", &[middle], &[]);
        root.program("usr/bin/other", &[], &[]);
        root.program("usr/bin/own", &[one], &["-Wl,-rpath,/usr/lib/private"]);
        let mut tree = root.tree();
        let link = "/lib/x86_64-linux-gnu/libone.so.1".parse().unwrap();
        tree.insert(link, Node::symlink("libone.so.1.2")).unwrap();
        let elves = Elves::of(&tree);
        let affected = |other: &[&str], new: &[(&str, &str)]| {
            let other = other.iter().map(|path| path.parse().unwrap()).collect();
            let new = new
                .iter()
                .map(|(name, dir)| (name.as_bytes().to_vec(), BTreeSet::from([dir.parse().unwrap()])));
            let found = elves.affected(&tree, &Changes { other, new: new.collect() });
            found
                .into_iter()
                .map(|path| path.file_name().map(tree::escape).unwrap())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(affected(&[], &[("tool", "/usr/bin")]), "");
        let all = "libmiddle.so.2 libone.so.1.2 host own";
        assert_eq!(affected(&["/lib/x86_64-linux-gnu/libone.so.1.2"], &[]), all);
        assert_eq!(affected(&["/lib/x86_64-linux-gnu/libone.so.1"], &[]), "libmiddle.so.2 host own");
        assert_eq!(affected(&["/usr/bin/other"], &[]), "other");
        assert_eq!(affected(&[], &[("libone.so.1", "/usr/bin")]), "libmiddle.so.2 host own");
        // Nobody but the program whose own path names it looks there.
        assert_eq!(affected(&[], &[("libone.so.1", "/usr/lib/private")]), "own");
        // All that is found in a directory that is gone.
        assert!(affected(&["/lib/x86_64-linux-gnu"], &[]).split(' ').count() > 5);
    }
}
