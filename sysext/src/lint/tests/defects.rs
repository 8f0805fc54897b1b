//! Defects that people ship, each in a tree of its own, and the rule that finds it.

use std::collections::BTreeSet;

use tree::{Kind, Meta, Node, Tree, TreePath};

use super::super::{LintOptions, lint};

const DEFECTS: &str = include_str!("defects.txt");

/// A service with a user, a directory and configuration of its own.
const GOOD: &[(&str, &str)] = &[
    (
        "/usr/lib/extension-release.d/extension-release.x",
        "ID=_any\nARCHITECTURE=x86-64\nEXTENSION_RELOAD_MANAGER=1\nEXTENSION_RESTART_UNITS=x.service\n",
    ),
    ("/usr/bin/x", "#!/bin/sh\n"),
    ("/usr/share/x/text", "text\n"),
    ("/usr/share/x/default.conf", "a = 1\n"),
    ("/usr/share/doc/x/copyright", "text\n"),
    (
        "/usr/lib/systemd/system/x.service",
        "[Unit]\nRequires=x-setup.service\nAfter=x-setup.service network-online.target\nWants=network-online.target\n\
         [Service]\nUser=x\nEnvironmentFile=-/etc/default/x\nWorkingDirectory=/var/lib/x\n\
         ExecStart=/usr/bin/x --config /etc/x.conf --data /usr/share/x\n[Install]\nWantedBy=multi-user.target\n",
    ),
    (
        "/usr/lib/systemd/system/x-setup.service",
        "[Service]\nType=oneshot\nExecStart=systemd-sysusers x.conf\nExecStart=systemd-tmpfiles --create x.conf\n",
    ),
    ("/usr/lib/systemd/system/multi-user.target.d/10-x.conf", "[Unit]\nUpholds=x.service\n"),
    ("/usr/lib/sysusers.d/x.conf", "u x - \"X\" /var/lib/x\n"),
    (
        "/usr/lib/tmpfiles.d/x.conf",
        "d /var/lib/x 0750 x x\nC /etc/x.conf - - - - /usr/share/x/default.conf\n",
    ),
];

fn put(tree: &mut Tree, path: &TreePath, node: Node) {
    if tree.get(path).is_some() {
        tree.remove(path);
    }
    tree.insert_all(path.clone(), node, &Meta::dir()).unwrap();
}

fn text(path: &TreePath, text: &[u8]) -> Node {
    let program = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/libexec"];
    let is_program = program.iter().any(|dir| path.starts_with(&dir.parse().unwrap()));
    Node::file(if is_program { 0o755 } else { 0o644 }, text)
}

fn good() -> Tree {
    let mut tree = Tree::default();
    for (path, content) in GOOD {
        let path: TreePath = path.parse().unwrap();
        let node = text(&path, content.as_bytes());
        put(&mut tree, &path, node);
    }
    tree
}

/// An ELF header without segments. elf(5).
fn elf(machine: u16) -> Vec<u8> {
    let mut header = vec![0; 64];
    header[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    header[16] = 2;
    header[18..20].copy_from_slice(&machine.to_le_bytes());
    header[20] = 1;
    header[52] = 64;
    header[54] = 56;
    header[58] = 64;
    header
}

/// `\n`, `\r` and `\xHH` as in Rust.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'\\' {
            out.push(b);
            continue;
        }
        match bytes.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b'x') => {
                let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                out.push(u8::from_str_radix(&digits, 16).unwrap());
            }
            other => panic!("escape {other:?}"),
        }
    }
    out
}

fn change(tree: &mut Tree, line: &str) {
    let mut words = line.split(' ');
    let (name, verb) = (words.next().unwrap(), words.next().unwrap());
    let rest = words.collect::<Vec<_>>().join(" ");
    let paths: Vec<TreePath> = match name {
        "*" => tree.iter().map(|(p, _)| p.clone()).filter(|p| !p.is_root()).collect(),
        _ => vec![TreePath::new(unescape(name)).unwrap()],
    };
    for path in paths {
        let device = |kind| Node { meta: Meta::with_mode(0o644), kind };
        match verb {
            "=" => put(tree, &path, text(&path, &unescape(&rest))),
            "->" => put(tree, &path, Node::symlink(rest.as_str())),
            "elf" => put(tree, &path, text(&path, &elf(rest.parse().unwrap()))),
            "program" => put(tree, &path, text(&path, &std::fs::read("/proc/self/exe").unwrap())),
            "pipe" => put(tree, &path, device(Kind::Fifo)),
            "device" => {
                let numbers: Vec<u32> = rest.split(' ').skip(1).map(|n| n.parse().unwrap()).collect();
                put(tree, &path, device(Kind::CharDevice { major: numbers[0], minor: numbers[1] }));
            }
            "gone" => drop(tree.remove(&path)),
            _ => {
                if tree.get(&path).is_none() {
                    put(tree, &path, Node::dir());
                }
                let meta = tree.meta_mut(&path).unwrap();
                match verb {
                    "mode" => meta.mode = u16::from_str_radix(&rest, 8).unwrap().into(),
                    "owner" => meta.uid = rest.parse().unwrap(),
                    "attr" => {
                        let (name, value) = rest.split_once('=').unwrap();
                        meta.xattrs.insert(name.into(), value.into());
                    }
                    _ => panic!("{line}"),
                }
            }
        }
    }
}

fn found(tree: &Tree) -> (BTreeSet<&'static str>, Vec<String>) {
    let options = LintOptions { verify_units: true, ..LintOptions::default() };
    let found = lint(tree, &"x".parse().unwrap(), &options).unwrap();
    (found.iter().map(|f| f.rule).collect(), found.iter().map(ToString::to_string).collect())
}

#[test]
fn a_good_service_has_no_findings() {
    assert_eq!(found(&good()).1, [""; 0]);
}

#[test]
fn every_defect_is_found_and_nothing_else() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for entry in DEFECTS.split("\n\n").skip(1) {
        let mut lines = entry.lines();
        let (what, rules) = (lines.next().unwrap(), lines.next().unwrap());
        let mut tree = good();
        lines.for_each(|line| change(&mut tree, line));
        let (got, messages) = found(&tree);
        let expected: BTreeSet<&str> = rules.split(' ').collect();
        count += 1;
        if got != expected {
            wrong.push(format!("{what}: expected {rules}, got {messages:#?}"));
        }
    }
    println!("{} of {count} defects are found", count - wrong.len());
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}
