//! The files of a tree by their inodes.

use tree::{Content, Ino, Tree, TreePath};

/// A file's content; empty for other nodes.
pub(super) fn content(tree: &Tree, ino: Ino) -> &Content {
    static EMPTY: Content = Content::EMPTY;
    tree.node(ino).content().unwrap_or(&EMPTY)
}

/// For messages: looks through the whole tree.
///
/// # Panics
/// The inode is none of the tree's.
pub(super) fn path_of(tree: &Tree, ino: Ino) -> TreePath {
    match tree.iter_inodes().find(|(_, i, _)| *i == ino) {
        Some((path, ..)) => path.clone(),
        None => panic!("inode {} has no path in this tree", ino.index()),
    }
}
