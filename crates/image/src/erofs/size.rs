//! How long inodes and their data are, before any of them has a place.

use super::data::{Extent, SMALL};
use super::{BLOCK, directory};
use tree::{Ino, Kind, Node, Tree, TreePath};

/// Bytes.
const COMPACT: u64 = 32;
pub(super) const EXTENDED: u64 = 64;

/// Directories know their subdirectories.
pub(super) fn links(tree: &Tree, path: &TreePath, ino: Ino, node: &Node) -> u32 {
    if node.is_dir() {
        let subdirectories = tree.children(path).filter(|(_, n)| n.is_dir()).count();
        u32::try_from(subdirectories).unwrap_or(u32::MAX).saturating_add(2)
    } else {
        tree.nlink(ino)
    }
}

/// Length of the inode itself. Bytes.
pub(super) fn inode_size(
    tree: &Tree,
    path: &TreePath,
    ino: Ino,
    node: &Node,
    len: u64,
    build_time: u64,
) -> u64 {
    let meta = &node.meta;
    let fits = |n: u32| n <= u32::from(u16::MAX);
    let compact = i128::from(meta.mtime) == i128::from(build_time)
        && fits(meta.uid)
        && fits(meta.gid)
        && fits(links(tree, path, ino, node))
        && len <= u64::from(u32::MAX);
    if compact { COMPACT } else { EXTENDED }
}

/// `i_size`. Bytes.
pub(super) fn data_len(tree: &Tree, path: &TreePath, node: &Node) -> u64 {
    match &node.kind {
        Kind::Dir => directory::len(tree, path),
        Kind::File(content) => content.len(),
        Kind::Symlink(target) => target.len() as u64,
        _ => 0,
    }
}

/// The length of data that is written with the inodes; none for files that were written before and for devices.
pub(super) fn own_data(tree: &Tree, path: &TreePath, node: &Node) -> Option<u64> {
    match &node.kind {
        Kind::Dir | Kind::Symlink(_) => Some(data_len(tree, path, node)),
        Kind::File(content) if content.len() <= SMALL => Some(content.len()),
        _ => None,
    }
}

/// Of the index of a compressed file. Bytes.
pub(super) fn indexes_len(extents: &[Extent]) -> u64 {
    16 + extents.iter().map(|e| u64::from(e.len).div_ceil(BLOCK) * 8).sum::<u64>()
}
