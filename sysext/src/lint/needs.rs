//! What the programs and libraries of an extension take from the host.

use std::collections::{BTreeMap, BTreeSet};

use crate::extension::{Finding, rule};
use elf::{Elf, ElfKind};
use tree::{Machine, Node, StaticPath, Tree, TreePath};

use super::{ELF, finding};

/// One ELF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// What it is, in a word or two.
    pub kind: &'static str,
    /// What it is for.
    pub machine: Machine,
    /// Its loader, if the extension doesn't have it: `/lib64/ld-linux-x86-64.so.2`.
    pub loader: Option<String>,
    /// DT_NEEDED that the extension doesn't have where its loader looks.
    pub libraries: BTreeSet<String>,
}

impl Need {
    /// Whether it runs, or is loaded, without anything of the host's.
    pub fn is_nothing(&self) -> bool {
        self.loader.is_none() && self.libraries.is_empty()
    }
}

/// All ELF files of a tree that are programs or libraries.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// By path. What is in a private root ([`PRIVATE_ROOTS`]) needs nothing of the host's, but of the rest of its root.
    pub files: BTreeMap<TreePath, Need>,
    /// ELF files that can't be read, and why.
    pub broken: BTreeMap<TreePath, String>,
}

/// Directories in this one are root file systems of their own, which entry points enter before they start a program.
pub const PRIVATE_ROOTS: StaticPath = StaticPath::new("/usr/lib/flatwrap");

/// The private root that a path is in.
fn private_root(path: &TreePath) -> Option<TreePath> {
    let top = PRIVATE_ROOTS.path();
    let name = path.strip_prefix(&top)?.split(|&b| b == b'/').find(|part| !part.is_empty())?;
    top.join(name).ok()
}

/// Where loaders look whatever a file says, as far as an extension can fill it.
const DEFAULT_DIRS: [&str; 8] = [
    "/usr/lib",
    "/usr/lib64",
    "/lib",
    "/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
];

impl Needs {
    /// Reads the headers of all ELF files.
    pub fn of(tree: &Tree) -> Needs {
        let mut out = Needs::default();
        out.add(tree, None);
        let roots: BTreeSet<TreePath> =
            tree.children(&PRIVATE_ROOTS.path()).filter_map(|(path, _)| private_root(path)).collect();
        for root in roots {
            let mut inner = Tree::default();
            for (path, node) in tree.subtree(&root).skip(1) {
                let place = path.strip_prefix(&root).and_then(|rest| TreePath::new(rest).ok());
                // Parents come first.
                if let Some(place) = place {
                    let _ = inner.insert(place, node.clone());
                }
            }
            out.add(&inner, Some(&root));
        }
        out
    }

    /// Reads the ELF files of a root, which stands at `root` in the extension, or is the extension itself, without its
    /// private roots.
    fn add(&mut self, tree: &Tree, root: Option<&TreePath>) {
        let mut elves = BTreeMap::new();
        let place = |path: &TreePath| match root {
            None => path.clone(),
            Some(root) => TreePath::new([root.to_absolute(), path.to_absolute()].concat())
                .unwrap_or_else(|_| root.clone()),
        };
        let own = tree.iter().filter(|(path, _)| root.is_some() || private_root(path).is_none());
        for (path, node) in own {
            let Some(content) = node.content().filter(|c| c.len() >= 16) else { continue };
            match Elf::parse(content) {
                Ok(Some(elf)) if elf.kind != ElfKind::Other => drop(elves.insert(path.clone(), elf)),
                Ok(_) => {}
                Err(e) => drop(self.broken.insert(place(path), e.to_string())),
            }
        }
        let is_musl = |path: &TreePath| {
            elf::Loader::find(tree, &path.to_absolute()).is_ok_and(|l| l.family == elf::Family::Musl)
        };
        let loaders = elves.iter().filter(|(path, elf)| elf.kind == ElfKind::Loader && is_musl(path));
        let musls: BTreeSet<Machine> = loaders.map(|(_, elf)| elf.built_for()).collect();
        // A library without a search path of its own finds what the program that loads it has loaded already, and plugins
        // live from that: what lies beside it counts.
        for (path, elf) in &elves {
            let mut dirs = search_dirs(path, elf);
            dirs.extend(path.parent());
            // musl's loader is the C library by all its names, whatever files there are.
            let is_loader = |name: &[u8]| is_musls(name) && musls.contains(&elf.built_for());
            let missing = |name: &&Vec<u8>| !is_loader(name) && !dirs.iter().any(|dir| has(tree, dir, name));
            let libraries =
                elf.needed.iter().filter(missing).map(|n| String::from_utf8_lossy(n).into_owned()).collect();
            let loader = elf
                .interpreter
                .as_deref()
                .filter(|i| elf.kind == ElfKind::DynamicExecutable && !is_there(tree, i));
            let need = Need {
                kind: word(elf.kind),
                machine: elf.built_for(),
                loader: loader.map(|i| String::from_utf8_lossy(i).into_owned()),
                libraries,
            };
            self.files.insert(place(path), need);
        }
    }
}

/// `libc.musl-x86_64.so.1`, as Alpine has it, or `libc.so`, as its makers have it; glibc's is libc.so.6.
fn is_musls(name: &[u8]) -> bool {
    name.starts_with(b"libc.musl-") || name == b"libc.so"
}

fn word(kind: ElfKind) -> &'static str {
    match kind {
        ElfKind::StaticExecutable | ElfKind::StaticPie => "static program",
        ElfKind::DynamicExecutable => "program",
        ElfKind::SharedObject => "library",
        ElfKind::Loader => "loader",
        ElfKind::Other => "other",
    }
}

/// The directories of DT_RPATH and DT_RUNPATH, then the usual ones. ld.so(8).
fn search_dirs(path: &TreePath, elf: &Elf) -> Vec<TreePath> {
    let own = elf.runpath.as_deref().or(elf.rpath.as_deref()).unwrap_or_default();
    let origin = path.parent().map(|p| p.to_absolute()).unwrap_or_default();
    let mut out = Vec::new();
    for dir in own.split(|&b| b == b':').filter(|d| !d.is_empty()) {
        let text = String::from_utf8_lossy(dir);
        let origin = String::from_utf8_lossy(&origin);
        let text = text.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin);
        out.extend(normal(&text));
    }
    out.extend(DEFAULT_DIRS.iter().filter_map(|d| TreePath::new(d).ok()));
    out
}

/// A path with its `..` taken out: run paths are full of them.
fn normal(text: &str) -> Option<TreePath> {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.strip_prefix('/')?.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    TreePath::new(parts.join("/")).ok()
}

fn has(tree: &Tree, dir: &TreePath, name: &[u8]) -> bool {
    let path = if name.contains(&b'/') { TreePath::new(name).ok() } else { dir.join(name).ok() };
    path.is_some_and(|p| is_there(tree, &p.to_absolute()))
}

/// Hosts are usr-merged: /lib64 is a symlink to usr/lib64 there.
fn is_there(tree: &Tree, path: &[u8]) -> bool {
    let file =
        |path: &[u8]| tree.resolve(path, true).is_ok_and(|r| tree.get(&r.path).is_some_and(Node::is_file));
    file(path) || file(&[b"/usr".as_slice(), path].concat())
}

/// What is needed of the host beyond what is allowed, a finding for each file.
pub fn findings(needs: &Needs, allowed: &[String]) -> Vec<Finding> {
    let is_allowed = |name: &str| {
        let name = name.rsplit('/').next().unwrap_or(name);
        // glibc's loader and its C library are one: who has the library has the loader.
        let library = if name.starts_with("ld-linux") { "libc.so.6" } else { name };
        allowed.iter().any(|a| a == name || a == library)
    };
    let mut out = Vec::new();
    let needs_host = rule("needs-host-libraries");
    for (path, need) in &needs.files {
        let missing: Vec<&str> = need
            .loader
            .iter()
            .chain(&need.libraries)
            .map(String::as_str)
            .filter(|n| !is_allowed(n))
            .collect();
        if let (Some(rule), false) = (needs_host, missing.is_empty()) {
            let message = format!("needs {} of the host, which ID=_any doesn't promise", missing.join(", "));
            out.push(Finding {
                severity: crate::Severity::Error,
                ..finding(rule, Some(path.clone()), message)
            });
        }
    }
    for (path, why) in &needs.broken {
        out.push(finding(&ELF, Some(path.clone()), format!("can't be read as a program: {why}")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_glibc_has_its_loader() {
        let need = Need {
            kind: "program",
            machine: tree::Arch::X86_64.machine(),
            loader: Some("/lib64/ld-linux-x86-64.so.2".into()),
            libraries: ["libc.so.6".to_owned()].into(),
        };
        let needs =
            Needs { files: [(TreePath::new("/usr/bin/x").unwrap(), need)].into(), ..Needs::default() };
        assert!(findings(&needs, &["libc.so.6".to_owned()]).is_empty());
        assert_eq!(findings(&needs, &["libm.so.6".to_owned()]).len(), 1);
    }
}
