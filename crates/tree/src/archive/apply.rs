//! Entries onto a tree: what a careful `tar x` within a chroot would do, without a file system.

use super::error::shown;
use super::{ArchiveError, Entry, Item, Limits, Problem, Usage};
use crate::tree::{Stop, Walk};
use crate::{Kind, Meta, Node, ResolveError, Tree, TreePath};

impl Entry {
    /// Puts the entry into a tree.
    ///
    /// - The directories on the way are resolved as within a chroot, each time anew; the last component is never followed.
    ///   Directories that are missing are made, a file in the place of one is replaced (umoci#546).
    /// - A directory over a directory takes over the metadata and keeps the children; everything else replaces what is there,
    ///   a directory over a symlink too (CVE-2026-33056).
    /// - The metadata of a hard link's own header is ignored: the inode has its own.
    ///
    /// What that costs beyond the bytes of the archive is added to `usage`: names of directories that had to be made (a short
    /// name can stand for 2,000 of them), and paths that symlinks led through.
    ///
    /// # Errors
    /// A name that is no path inside the tree, a root that is no directory, a hard link to nothing or to a directory; a limit.
    pub fn apply(self, tree: &mut Tree, limits: &Limits, usage: &mut Usage) -> Result<(), ArchiveError> {
        let (position, path) = (self.position, self.path.clone());
        self.put(tree, limits, usage).map_err(|problem| ArchiveError::new(position, Some(&path), problem))
    }

    fn put(self, tree: &mut Tree, limits: &Limits, usage: &mut Usage) -> Result<(), Problem> {
        let path = TreePath::new(&self.path)?;
        if path.is_root() {
            return match self.item {
                Item::Node(Kind::Dir) => {
                    tree.insert(path, Node { meta: self.meta, kind: Kind::Dir })?;
                    Ok(())
                }
                // umoci CVE-2021-29136.
                _ => Err(Problem::Root),
            };
        }
        let path = make_parent(tree, path, limits, usage)?;
        match self.item {
            Item::Node(kind) => {
                let node = Node { meta: self.meta, kind };
                if !node.is_dir() && tree.get(&path).is_some_and(Node::is_dir) {
                    tree.remove(&path);
                }
                tree.insert(path, node)?;
            }
            Item::Hardlink(target) => {
                let target = find_target(tree, &target, limits, usage)?;
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
fn find_target(tree: &Tree, raw: &[u8], limits: &Limits, usage: &mut Usage) -> Result<TreePath, Problem> {
    let missing = || Problem::TargetMissing(shown(raw));
    let path = TreePath::new(raw)?;
    let path = match (tree.contains(&path), path.parent(), path.file_name()) {
        (false, Some(parent), Some(name)) => {
            let mut walk = Walk::new(parent.as_relative(), true);
            match usage.walk(&mut walk, tree, limits) {
                Ok(()) => walk.done().path.join(name)?,
                Err(Stop::Spent) => return Err(spent(limits)),
                Err(Stop::Resolve(_)) => return Err(missing()),
            }
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
fn make_parent(
    tree: &mut Tree,
    path: TreePath,
    limits: &Limits,
    usage: &mut Usage,
) -> Result<TreePath, Problem> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(path) };
    // Nearly always: every path of a tree is a real one.
    if tree.get(&parent).is_some_and(Node::is_dir) {
        return Ok(path);
    }
    let mut walk = Walk::new(parent.as_relative(), true);
    loop {
        let stop = usage.walk(&mut walk, tree, limits);
        let file = match stop {
            Ok(()) => {
                let end = walk.at();
                if tree.get(end).is_some_and(Node::is_dir) {
                    return Ok(end.join(name)?);
                }
                end.clone()
            }
            Err(Stop::Spent) => return Err(spent(limits)),
            Err(Stop::Resolve(ResolveError::NotADirectory { file, .. })) => file,
            Err(Stop::Resolve(ResolveError::NotFound { missing, .. })) => {
                // Without a symlink on the way, nothing below it is there either.
                if parent.starts_with(&missing) {
                    let all = parent.ancestors_from_root().filter(|dir| !tree.contains(dir));
                    usage.add_names(all.map(|dir| dir.as_relative().len()).sum(), limits)?;
                    tree.make_dirs(&parent, &Meta::dir())?;
                    return Ok(path);
                }
                usage.add_names(missing.as_relative().len(), limits)?;
                tree.insert(missing, Node::dir())?;
                continue;
            }
            Err(Stop::Resolve(e)) => return Err(Problem::Parent(e)),
        };
        // A file that the path itself names gives way; one at the end of a symlink is somebody else's.
        if !parent.starts_with(&file) {
            let path = String::from_utf8_lossy(parent.as_relative()).into_owned();
            return Err(Problem::Parent(ResolveError::NotADirectory { path, file }));
        }
        tree.insert(file, Node::dir())?;
    }
}

impl Usage {
    /// The real place of the path of the entry at `position` (bytes), as [`Tree::resolve`] finds it, at the expense of
    /// [`Limits::resolution`]. None if it leads nowhere.
    ///
    /// # Errors
    /// The limit.
    pub fn resolve(
        &mut self,
        tree: &Tree,
        path: &TreePath,
        position: u64,
        limits: &Limits,
    ) -> Result<Option<TreePath>, ArchiveError> {
        let mut walk = Walk::new(path.as_relative(), true);
        match self.walk(&mut walk, tree, limits) {
            Ok(()) => Ok(Some(walk.done().path)),
            Err(Stop::Resolve(_)) => Ok(None),
            Err(Stop::Spent) => Err(ArchiveError::new(position, Some(path.as_relative()), spent(limits))),
        }
    }

    /// Counts names that no entry has. Bytes.
    fn add_names(&mut self, bytes: usize, limits: &Limits) -> Result<(), Problem> {
        self.metadata = self.metadata.saturating_add(bytes as u64);
        self.implied = self.implied.saturating_add(bytes as u64);
        if self.metadata > limits.metadata {
            return Err(Problem::Limit { what: "size of all metadata", limit: limits.metadata });
        }
        if self.implied > limits.implied {
            let what = "length of the names of directories without entries";
            return Err(Problem::Limit { what, limit: limits.implied });
        }
        Ok(())
    }

    /// Goes on with a walk, at the expense of [`Limits::resolution`].
    fn walk(&mut self, walk: &mut Walk<'_>, tree: &Tree, limits: &Limits) -> Result<(), Stop> {
        let before = limits.resolution.saturating_sub(self.resolution);
        let mut left = before;
        let end = walk.go(tree, &mut left);
        self.resolution = self.resolution.saturating_add(before - left);
        end
    }
}

fn spent(limits: &Limits) -> Problem {
    Problem::Limit { what: "length of all paths through symbolic links", limit: limits.resolution }
}
