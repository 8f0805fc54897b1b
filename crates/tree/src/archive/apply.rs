//! Entries onto a tree: what a careful `tar x` within a chroot would do, without a file system.

use super::error::shown;
use super::{ArchiveError, Entry, Item, Limits, Problem};
use crate::{Kind, Meta, Node, ResolveError, Resolved, Tree, TreeError, TreePath};

impl Entry {
    /// Puts the entry into a tree.
    ///
    /// - The directories on the way are resolved as within a chroot, each time anew; the last component is never followed.
    ///   Directories that are missing are made, a file in the place of one is replaced (umoci#546).
    /// - A directory over a directory takes over the metadata and keeps the children; everything else replaces what is there,
    ///   a directory over a symlink too (CVE-2026-33056).
    /// - The metadata of a hard link's own header is ignored: the inode has its own.
    ///
    /// Says how many bytes of names were added for directories that had to be made: they are not in the archive, so its
    /// [`Limits`] don't see them, and a short name can stand for 2,000 directories.
    ///
    /// # Errors
    /// A name that is no path inside the tree, a root that is no directory, a hard link to nothing or to a directory.
    pub fn apply(self, tree: &mut Tree) -> Result<u64, ArchiveError> {
        let (position, path) = (self.position, self.path.clone());
        self.put(tree).map_err(|problem| ArchiveError::new(position, Some(&path), problem))
    }

    /// As [`Entry::apply`]; takes the bytes of names that were added off `left`, and ends with an error when there is no more.
    ///
    /// # Errors
    /// As [`Entry::apply`], and the limit, `metadata` of it.
    pub fn apply_within(self, tree: &mut Tree, left: &mut u64, limits: &Limits) -> Result<(), ArchiveError> {
        let (position, path) = (self.position, self.path.clone());
        let added = self.apply(tree)?;
        let limit = Problem::Limit { what: "size of all metadata", limit: limits.metadata };
        *left = left.checked_sub(added).ok_or_else(|| ArchiveError::new(position, Some(&path), limit))?;
        Ok(())
    }

    fn put(self, tree: &mut Tree) -> Result<u64, Problem> {
        let path = TreePath::new(&self.path)?;
        if path.is_root() {
            return match self.item {
                Item::Node(Kind::Dir) => {
                    tree.insert(path, Node { meta: self.meta, kind: Kind::Dir })?;
                    Ok(0)
                }
                // umoci CVE-2021-29136.
                _ => Err(Problem::Root),
            };
        }
        let (path, added) = make_parent(tree, path)?;
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
        Ok(added)
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

/// The real place of `path`, all directories above which are there afterwards, and how many bytes of names that took.
fn make_parent(tree: &mut Tree, path: TreePath) -> Result<(TreePath, u64), Problem> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok((path, 0)) };
    // Nearly always: every path of a tree is a real one.
    if tree.get(&parent).is_some_and(Node::is_dir) {
        return Ok((path, 0));
    }
    let mut added = 0;
    // A turn for each symlink that leads to a directory which has to be made, and for a file in a directory's place.
    for _ in 0..crate::tree::PATH_MAX {
        match tree.resolve(parent.as_relative(), true) {
            Ok(Resolved { path, .. }) if tree.get(&path).is_some_and(Node::is_dir) => {
                return Ok((path.join(name)?, added));
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
                // Without a symlink on the way, nothing below it is there either.
                let last = if parent.starts_with(&missing) { parent.clone() } else { missing };
                let all = last.ancestors_from_root().filter(|dir| !tree.contains(dir));
                added += all.map(|dir| dir.as_relative().len() as u64).sum::<u64>();
                tree.make_dirs(&last, &Meta::dir())?;
            }
            Err(e) => return Err(Problem::Parent(e)),
        }
    }
    Err(Problem::Tree(TreeError::NoParent(path)))
}
