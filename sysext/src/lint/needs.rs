//! What the programs and libraries of an extension take from the host.

use std::collections::{BTreeMap, BTreeSet};

use crate::extension::{Finding, rule};
use elf::{Elf, ElfKind};
use tree::{Machine, Node, Tree, TreePath};

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
    /// By path.
    pub files: BTreeMap<TreePath, Need>,
    /// ELF files that can't be read, and why.
    pub broken: BTreeMap<TreePath, String>,
}

/// Where loaders look whatever a file says, as far as an extension can fill it.
const DEFAULT_DIRS: [&str; 6] =
    ["/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];

impl Needs {
    /// Reads the headers of all ELF files.
    pub fn of(tree: &Tree) -> Needs {
        let mut out = Needs::default();
        let mut elves = BTreeMap::new();
        for (path, node) in tree.iter() {
            let Some(content) = node.content().filter(|c| c.len() >= 16) else { continue };
            match Elf::parse(content) {
                Ok(Some(elf)) if elf.kind != ElfKind::Other => drop(elves.insert(path.clone(), elf)),
                Ok(_) => {}
                Err(e) => drop(out.broken.insert(path.clone(), e.to_string())),
            }
        }
        // A library without a search path of its own finds what the program that loads it has loaded already, and plugins
        // live from that: what lies beside it counts.
        for (path, elf) in &elves {
            let mut dirs = search_dirs(path, elf);
            dirs.extend(path.parent());
            let missing = |name: &&Vec<u8>| !dirs.iter().any(|dir| has(tree, dir, name));
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
            out.files.insert(path.clone(), need);
        }
        out
    }
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
