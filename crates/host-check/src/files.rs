//! Files of a tree, by the paths that lead to them.

use tree::{Node, Tree};

/// Bytes of a text file that is read.
pub(crate) const TEXT: u64 = 1 << 20;

/// What a path leads to in a tree.
pub(crate) fn file(tree: &Tree, path: impl AsRef<[u8]>) -> Option<&Node> {
    tree.get(&tree.resolve(path, true).ok()?.path)
}

/// The text of a file that a path leads to; none if it isn't there, or is larger than any of its kind.
pub(crate) fn text(tree: &Tree, path: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    file(tree, path)?.content()?.read(TEXT).ok()
}
