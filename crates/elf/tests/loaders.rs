//! The real loaders as oracles: what `ld.so --list` says of every program of this machine.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use elf::closure::Options;
use elf::testing::tree_of;
use elf::{ElfKind, Resolver};
use tree::Tree;

fn needed_only() -> Options {
    Options { needed_only: true, dlopen: elf::DlopenPolicy::None, ..Options::default() }
}

/// Real paths that the loader of the machine would map for a program, as `ld.so --list` or `ldd` prints them. None if it
/// refuses.
fn oracle(loader: &Path, program: &str) -> Option<BTreeSet<String>> {
    let output = Command::new(loader).arg("--list").arg(program).env_clear().output().unwrap();
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let real = |path: &str| std::fs::canonicalize(path).unwrap().to_str().unwrap().to_owned();
    let path = |line: &str| {
        let line = line.rsplit("=> ").next()?.trim();
        let path = line.rsplit_once(" (")?.0;
        path.starts_with('/').then(|| real(path))
    };
    Some(text.lines().filter_map(path).collect())
}

fn ours(tree: &Tree, program: &str) -> Result<BTreeSet<String>, String> {
    let mut resolver = Resolver::new(tree, needed_only());
    let path = tree.resolve(program, true).unwrap().path;
    resolver.add_root(&path).map_err(|e| e.to_string())?;
    let closure = resolver.finish().map_err(|e| e.to_string())?;
    Ok(closure.maps[&path].start().iter().filter(|&p| p != &path).map(ToString::to_string).collect())
}

#[test]
fn every_program_of_this_machine_gets_what_ld_so_lists() {
    let tree = tree_of(
        Path::new("/"),
        &[
            "usr/bin",
            "usr/sbin",
            "usr/lib",
            "usr/lib64",
            "usr/libexec",
            "usr/local/lib",
            "bin",
            "sbin",
            "lib",
            "lib64",
            "etc/ld.so.conf",
            "etc/ld.so.conf.d",
            "etc/alternatives",
        ],
    );
    let mut files = Resolver::new(&tree, needed_only());
    let (mut checked, mut wrong) = (0, Vec::new());
    for (path, node) in tree.iter().filter(|(_, n)| n.is_file()) {
        if node.meta.mode & 0o111 == 0 {
            continue;
        }
        let Some(elf) = files.elf(path).unwrap_or_default() else { continue };
        let glibc = elf.interpreter.as_deref() == Some(b"/lib64/ld-linux-x86-64.so.2");
        if elf.kind != ElfKind::DynamicExecutable || !glibc {
            continue;
        }
        let name = path.to_string();
        let Some(expected) = oracle(Path::new("/lib64/ld-linux-x86-64.so.2"), &name) else {
            // A program that the machine itself can't load.
            assert!(ours(&tree, &name).is_err(), "{name}: ld.so refuses, we don't");
            continue;
        };
        checked += 1;
        match ours(&tree, &name) {
            Ok(got) if got == expected => {}
            got => wrong.push(format!("{name}: got {got:?}, ld.so says {expected:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {checked} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked >= 100, "only {checked} programs on this machine");
}
