//! What tests of this crate and of those above it share.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use crate::{Kind, Meta, Node, Tree, TreePath};

/// Puts a copy of this program at a path, where it may be executed by anybody.
///
/// A child process writes it. If this one did, a child that another thread forks meanwhile would have the file open for
/// writing until its own exec, and until then the kernel executes it for nobody ("Text file busy").
///
/// # Panics
/// `install` is missing or fails.
pub fn place_program(path: &Path) {
    let own = std::env::current_exe().unwrap();
    let status = Command::new("install").args(["-m", "755"]).arg(own).arg(path).status();
    assert!(status.unwrap().success(), "{path:?}");
}

fn node() -> impl Strategy<Value = Node> {
    let kind = prop_oneof![
        3 => Just(Kind::Dir),
        4 => proptest::collection::vec(any::<u8>(), 0..200).prop_map(|b| Kind::File(b.into())),
        1 => proptest::collection::vec(1u8..=255, 1..40).prop_map(|t| Kind::Symlink(t.into())),
        1 => Just(Kind::Fifo),
    ];
    (kind, 0u32..0o10000, 0i64..1 << 33).prop_map(|(kind, mode, mtime)| {
        let mode = if matches!(kind, Kind::Symlink(_)) { 0o777 } else { mode };
        Node { meta: Meta { mtime, ..Meta::with_mode(mode) }, kind }
    })
}

prop_compose! {
    /// Any tree of up to twelve entries: directories, files, links, FIFOs.
    pub fn trees()(entries in proptest::collection::vec((0usize..8, "[a-c\u{e4} \n.]{1,4}", node(), any::<bool>()), 0..12)) -> Tree {
        let mut tree = Tree::default();
        for (below, name, node, link) in entries {
            let dirs: Vec<TreePath> = tree.iter().filter(|(_, n)| n.is_dir()).map(|(p, _)| p.clone()).collect();
            let files: Vec<TreePath> = tree.iter().filter(|(_, n)| !n.is_dir()).map(|(p, _)| p.clone()).collect();
            let Ok(path) = dirs[below % dirs.len()].join(name) else { continue };
            // What doesn't fit is left out; the rest is a tree.
            if link && !files.is_empty() {
                let _ = tree.link(path, &files[below % files.len()]);
            } else if !path.is_root() {
                let _ = tree.insert(path, node);
            }
        }
        tree
    }
}
