//! The files of a tree by their inodes.

use super::WriteError;
use tree::{Content, ContentError, Ino, Tree};

/// A file's content; empty for other nodes.
pub(super) fn content(tree: &Tree, ino: Ino) -> &Content {
    static EMPTY: Content = Content::EMPTY;
    tree.node(ino).content().unwrap_or(&EMPTY)
}

/// The error for a file that can't be read. Looks through the whole tree for its path.
pub(super) fn unreadable(tree: &Tree, ino: Ino, source: ContentError) -> WriteError {
    match tree.iter_inodes().find(|(_, i, _)| *i == ino) {
        Some((path, ..)) => WriteError::Content { path: path.clone(), source },
        None => WriteError::Internal { inode: ino.index() },
    }
}
