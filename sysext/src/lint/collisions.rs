//! What extensions of one set do to each other. Overlayfs shows the file of the upper layer, and systemd-sysext stacks by
//! name.

use std::collections::BTreeMap;

use crate::extension::Finding;
use tree::{Kind, Node, Tree, TreePath};

use super::{COLLISION, SAME_FILE, finding};

/// An extension of a set.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Its name.
    pub name: &'a str,
    /// What is in it.
    pub tree: &'a Tree,
    /// Names of extensions that are never merged beside it.
    pub conflicts: &'a [String],
}

/// Files that several have, one finding for each file.
pub fn collisions(set: &[Member<'_>]) -> Vec<Finding> {
    let mut owners: BTreeMap<&TreePath, Vec<(usize, &Node)>> = BTreeMap::new();
    for (i, member) in set.iter().enumerate() {
        for (path, node) in member.tree.iter() {
            owners.entry(path).or_default().push((i, node));
        }
    }
    let mut out = Vec::new();
    for (path, all) in owners {
        for (n, (i, node)) in all.iter().enumerate() {
            for (j, other) in &all[n + 1..] {
                let (a, b) = (&set[*i], &set[*j]);
                let apart = |x: &Member<'_>, y: &Member<'_>| x.conflicts.iter().any(|c| c == y.name);
                if (node.is_dir() && other.is_dir()) || apart(a, b) || apart(b, a) {
                    continue;
                }
                let (rule, what) = match same(node, other) {
                    true => (&SAME_FILE, "the same file is"),
                    false => (&COLLISION, "different files are"),
                };
                out.push(finding(rule, Some(path.clone()), format!("{what} in {} and {}", a.name, b.name)));
            }
        }
    }
    out
}

fn same(a: &Node, b: &Node) -> bool {
    match (&a.kind, &b.kind) {
        (Kind::File(x), Kind::File(y)) => {
            a.meta.mode == b.meta.mode && x.len() == y.len() && equal(&mut x.reader(), &mut y.reader())
        }
        (Kind::Symlink(x), Kind::Symlink(y)) => x == y,
        _ => false,
    }
}

fn equal(a: &mut impl std::io::Read, b: &mut impl std::io::Read) -> bool {
    let (mut x, mut y) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        // Contents give as much as there is room for.
        match (a.read(&mut x), b.read(&mut y)) {
            (Ok(0), Ok(0)) => return true,
            (Ok(n), Ok(m)) if n == m && x[..n] == y[..m] => {}
            _ => return false,
        }
    }
}
