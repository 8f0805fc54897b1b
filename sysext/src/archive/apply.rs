//! Entries onto a tree: what a careful `tar x` within a chroot would do, without a file system.

use super::error::shown;
use super::{ArchiveError, Entry, Item, Problem};
use crate::{Kind, Node, ResolveError, Resolved, Tree, TreeError, TreePath};

impl Entry {
    /// Puts the entry into a tree.
    ///
    /// - The directories on the way are resolved as within a chroot, each time anew; the last component is never followed.
    ///   Directories that are missing are made, a file in the place of one is replaced (umoci#546).
    /// - A directory over a directory takes over the metadata and keeps the children; everything else replaces what is there,
    ///   a directory over a symlink too (CVE-2026-33056).
    /// - The metadata of a hard link's own header is ignored: the inode has its own.
    ///
    /// # Errors
    /// A name that is no path inside the tree, a root that is no directory, a hard link to nothing or to a directory.
    pub fn apply(self, tree: &mut Tree) -> Result<(), ArchiveError> {
        let (position, path) = (self.position, self.path.clone());
        self.put(tree).map_err(|problem| ArchiveError::new(position, Some(&path), problem))
    }

    fn put(self, tree: &mut Tree) -> Result<(), Problem> {
        let path = TreePath::new(&self.path)?;
        if path.is_root() {
            return match self.item {
                Item::Node(Kind::Dir) => {
                    tree.insert(path, Node { meta: self.meta, kind: Kind::Dir }).map_err(Problem::from)
                }
                // umoci CVE-2021-29136.
                _ => Err(Problem::Root),
            };
        }
        let path = make_parent(tree, path)?;
        match self.item {
            Item::Node(kind) => {
                let node = Node { meta: self.meta, kind };
                if !node.is_dir() && tree.get(&path).is_some_and(Node::is_dir) {
                    tree.remove(&path);
                }
                tree.insert(path, node)?;
            }
            Item::Hardlink(target) => {
                let target = find_target(tree, &target)?;
                // Replacing the path would take the target away first.
                if target.starts_with(&path) {
                    return Err(Problem::TargetIsSelf(target));
                }
                if tree.get(&path).is_some_and(Node::is_dir) {
                    tree.remove(&path);
                }
                tree.link(path, &target)?;
            }
        }
        Ok(())
    }
}

/// The target of a hard link: parents are followed, the last component isn't (a link to a symlink stays one).
fn find_target(tree: &Tree, raw: &[u8]) -> Result<TreePath, Problem> {
    let missing = || Problem::TargetMissing(shown(raw));
    let path = TreePath::new(raw)?;
    let path = match (tree.contains(&path), path.parent(), path.file_name()) {
        (false, Some(parent), Some(name)) => {
            let parent = tree.resolve(parent.as_relative(), true).map_err(|_| missing())?;
            parent.path.join(name)?
        }
        _ => path,
    };
    match tree.get(&path) {
        None => Err(missing()),
        Some(node) if node.is_dir() => Err(Problem::TargetIsDirectory(path)),
        Some(_) => Ok(path),
    }
}

/// The real place of `path`, all directories above which are there afterwards.
fn make_parent(tree: &mut Tree, path: TreePath) -> Result<TreePath, Problem> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(path) };
    // Nearly always: every path of a tree is a real one.
    if tree.get(&parent).is_some_and(Node::is_dir) {
        return Ok(path);
    }
    // One missing directory, or a file in a directory's place, a turn. A hostile path has no more components than bytes,
    // and symlinks that are followed lead to a place that is there or is made.
    for _ in 0..crate::tree::PATH_MAX {
        match tree.resolve(parent.as_relative(), true) {
            Ok(Resolved { path, .. }) if tree.get(&path).is_some_and(Node::is_dir) => {
                return Ok(path.join(name)?);
            }
            Ok(Resolved { path: file, .. }) | Err(ResolveError::NotADirectory { file, .. }) => {
                // A file that the path itself names gives way; one at the end of a symlink is somebody else's.
                if !parent.starts_with(&file) {
                    let path = String::from_utf8_lossy(parent.as_relative()).into_owned();
                    return Err(Problem::Parent(ResolveError::NotADirectory { path, file }));
                }
                tree.insert(file, Node::dir())?;
            }
            Err(ResolveError::NotFound { missing, .. }) => {
                tree.insert(missing, Node::dir())?;
            }
            Err(e) => return Err(Problem::Parent(e)),
        }
    }
    Err(Problem::Tree(TreeError::NoParent(path)))
}
