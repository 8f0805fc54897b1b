//! A file system tree as data.
//!
//! [`Tree`] maps absolute paths to inodes and inodes to [`Node`]s; two paths with the same inode are hard links of each
//! other. The content of a file is a place ([`Content`]): inline bytes, or offset and length in a [`Blob`] on disk.

mod path;
pub use path::{PATH_MAX, PathError, StaticPath, TreePath, escape, is_control};

mod node;
pub use node::{Kind, Meta, Node};

mod blob;
pub use blob::{Blob, Fill, Seen};

mod content;
pub use content::{Content, ContentError, ContentReader, Extent, Patch};

mod resolve;
pub use resolve::{ResolveError, Resolved};
pub(crate) use resolve::{Stop, Walk};

mod dump;
pub use dump::DumpOptions;

use std::collections::BTreeMap;
use std::ops::Bound;

/// Inode number within one [`Tree`]; says which paths are hard links of each other. Not stable between trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(u32);

impl Ino {
    /// Its place in a table of [`Tree::inode_slots`] entries.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug, Clone)]
struct Inode {
    node: Node,
    nlink: u32,
}

/// A file system tree: ordered paths (a directory before its children, children of one directory together) to nodes.
///
/// Invariants: the root is there and is a directory; the parent of every path is there and is a directory; a
/// directory has one name.
#[derive(Debug, Clone)]
pub struct Tree {
    paths: BTreeMap<TreePath, Ino>,
    inodes: Vec<Option<Inode>>,
    free: Vec<u32>,
}

/// Why a tree refused a change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The parent is missing.
    #[error("{0}: parent directory is missing")]
    NoParent(TreePath),
    /// The parent is no directory.
    #[error("{0}: parent is not a directory")]
    ParentNotDirectory(TreePath),
    /// A directory stands where something else should go; it has to be removed first.
    #[error("{0}: is a directory")]
    IsDirectory(TreePath),
    /// The path is not in the tree.
    #[error("{0}: no such file or directory")]
    NotFound(TreePath),
    /// The root can only be a directory.
    #[error("/: the root has to stay a directory")]
    Root,
    /// More inodes than 32 bits can number.
    #[error("tree has too many files")]
    Full,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new(Meta::dir())
    }
}

impl Tree {
    /// A tree that has nothing but its root directory.
    pub fn new(root: Meta) -> Self {
        let inode = Inode { node: Node { meta: root, kind: Kind::Dir }, nlink: 1 };
        Tree {
            paths: BTreeMap::from([(TreePath::root(), Ino(0))]),
            inodes: vec![Some(inode)],
            free: Vec::new(),
        }
    }

    /// Number of paths, the root included.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.paths.len() == 1
    }

    /// The node at `path`; a symlink is not followed.
    pub fn get(&self, path: &TreePath) -> Option<&Node> {
        self.paths.get(path).map(|&ino| &self.inode(ino).node)
    }

    /// The metadata of the node at `path`, to be changed. The change shows under all its hard links.
    pub fn meta_mut(&mut self, path: &TreePath) -> Option<&mut Meta> {
        self.node_mut(path).map(|node| &mut node.meta)
    }

    /// The content of the regular file at `path`, to be changed under all its hard links.
    pub fn content_mut(&mut self, path: &TreePath) -> Option<&mut Content> {
        match self.node_mut(path).map(|node| &mut node.kind) {
            Some(Kind::File(content)) => Some(content),
            _ => None,
        }
    }

    fn node_mut(&mut self, path: &TreePath) -> Option<&mut Node> {
        let ino = *self.paths.get(path)?;
        self.inodes.get_mut(ino.0 as usize).and_then(Option::as_mut).map(|i| &mut i.node)
    }

    /// Whether `path` is there (a dangling symlink is).
    pub fn contains(&self, path: &TreePath) -> bool {
        self.paths.contains_key(path)
    }

    /// The root's inode, which is always there.
    pub fn root(&self) -> Ino {
        Ino(0)
    }

    /// The inode behind `path`.
    pub fn ino(&self, path: &TreePath) -> Option<Ino> {
        self.paths.get(path).copied()
    }

    /// The node of an inode of this tree.
    ///
    /// # Panics
    /// If `ino` comes from another tree or its last name was removed.
    pub fn node(&self, ino: Ino) -> &Node {
        &self.inode(ino).node
    }

    /// Number of names that the inode has.
    pub fn nlink(&self, ino: Ino) -> u32 {
        self.inode(ino).nlink
    }

    /// All paths in order: a directory before its children, siblings by their bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &Node)> {
        self.paths.iter().map(|(p, &ino)| (p, &self.inode(ino).node))
    }

    /// As [`Tree::iter`], with the inode.
    pub fn iter_inodes(&self) -> impl Iterator<Item = (&TreePath, Ino, &Node)> {
        self.paths.iter().map(|(p, &ino)| (p, ino, &self.inode(ino).node))
    }

    /// `path` itself and all below it, in order. Empty if `path` is missing.
    pub fn subtree<'a>(
        &'a self,
        path: &TreePath,
    ) -> impl Iterator<Item = (&'a TreePath, &'a Node)> + use<'a> {
        self.paths.range(path.subtree_bounds()).map(|(p, &ino)| (p, &self.inode(ino).node))
    }

    /// The direct children of a directory, in order. Empty if `path` is missing or no directory.
    pub fn children<'a>(
        &'a self,
        path: &TreePath,
    ) -> impl Iterator<Item = (&'a TreePath, &'a Node)> + use<'a> {
        self.children_inodes(path).map(|(p, _, node)| (p, node))
    }

    /// As [`Tree::children`], with the inode.
    pub fn children_inodes<'a>(
        &'a self,
        path: &TreePath,
    ) -> impl Iterator<Item = (&'a TreePath, Ino, &'a Node)> + use<'a> {
        let (_, upper) = path.subtree_bounds();
        let mut range = self.paths.range((Bound::Excluded(path.clone()), upper.clone()));
        let mut before: Option<&TreePath> = None;
        std::iter::from_fn(move || {
            let mut next = range.next()?;
            if let Some(child) = before.filter(|child| next.0.starts_with(child)) {
                // Behind the child's own subtree.
                let from = match child.subtree_bounds().1 {
                    Bound::Excluded(end) => Bound::Included(end),
                    other => other,
                };
                range = self.paths.range((from, upper.clone()));
                next = range.next()?;
            }
            let (p, &ino) = next;
            before = Some(p);
            Some((p, ino, &self.inode(ino).node))
        })
    }

    /// Puts a node at `path` under a new inode. A directory over a directory takes over the metadata and keeps the
    /// children; anything else that isn't a directory is replaced.
    ///
    /// # Errors
    /// A missing parent, a parent that is no directory, or a directory in the place of something else.
    pub fn insert(&mut self, path: TreePath, node: Node) -> Result<(), TreeError> {
        self.check_parent(&path)?;
        if let Some(old) = self.get(&path) {
            match (old.is_dir(), node.is_dir()) {
                (true, true) => {
                    if let Some(meta) = self.meta_mut(&path) {
                        *meta = node.meta;
                    }
                    return Ok(());
                }
                (true, false) if path.is_root() => return Err(TreeError::Root),
                (true, false) => return Err(TreeError::IsDirectory(path)),
                (false, _) => {}
            }
        }
        let ino = self.allocate(node)?;
        if let Some(old) = self.paths.insert(path, ino) {
            self.release(old);
        }
        Ok(())
    }

    /// As [`Tree::insert`], making what is missing of the parents as directories like `parent`.
    ///
    /// # Errors
    /// As [`Tree::insert`].
    pub fn insert_all(&mut self, path: TreePath, node: Node, parent: &Meta) -> Result<(), TreeError> {
        if let Some(dir) = path.parent() {
            self.make_dirs(&dir, parent)?;
        }
        self.insert(path, node)
    }

    /// Makes `path` and its parents directories where they are missing; what is there stays as it is.
    ///
    /// # Errors
    /// Something on the way is no directory (a symlink is not followed).
    pub fn make_dirs(&mut self, path: &TreePath, meta: &Meta) -> Result<(), TreeError> {
        for dir in path.ancestors_from_root() {
            match self.get(&dir) {
                Some(n) if n.is_dir() => {}
                Some(_) => return Err(TreeError::ParentNotDirectory(dir)),
                None => self.insert(dir, Node { meta: meta.clone(), kind: Kind::Dir })?,
            }
        }
        Ok(())
    }

    /// Makes `path` a hard link of `target`, replacing what isn't a directory there.
    ///
    /// # Errors
    /// As [`Tree::insert`]; also if `target` is missing or a directory.
    pub fn link(&mut self, path: TreePath, target: &TreePath) -> Result<(), TreeError> {
        self.check_parent(&path)?;
        let ino = self.ino(target).ok_or_else(|| TreeError::NotFound(target.clone()))?;
        if self.node(ino).is_dir() {
            return Err(TreeError::IsDirectory(target.clone()));
        }
        if self.get(&path).is_some_and(Node::is_dir) {
            return Err(TreeError::IsDirectory(path));
        }
        if let Some(i) = self.inodes.get_mut(ino.0 as usize).and_then(Option::as_mut) {
            i.nlink += 1;
        }
        if let Some(old) = self.paths.insert(path, ino) {
            self.release(old);
        }
        Ok(())
    }

    /// Removes `path` and all below it. Says how many paths went. Removing the root leaves it, empty.
    pub fn remove(&mut self, path: &TreePath) -> usize {
        let gone: Vec<TreePath> = self
            .paths
            .range(path.subtree_bounds())
            .map(|(p, _)| p.clone())
            .filter(|p| !p.is_root())
            .collect();
        for p in &gone {
            if let Some(ino) = self.paths.remove(p) {
                self.release(ino);
            }
        }
        gone.len()
    }

    /// One more than the largest [`Ino::index`].
    pub fn inode_slots(&self) -> usize {
        self.inodes.len()
    }

    fn inode(&self, ino: Ino) -> &Inode {
        match self.inodes.get(ino.0 as usize) {
            Some(Some(inode)) => inode,
            _ => panic!("inode {} is not in this tree", ino.0),
        }
    }

    fn check_parent(&self, path: &TreePath) -> Result<(), TreeError> {
        let Some(parent) = path.parent() else { return Ok(()) };
        match self.get(&parent) {
            None => Err(TreeError::NoParent(path.clone())),
            Some(n) if !n.is_dir() => Err(TreeError::ParentNotDirectory(path.clone())),
            Some(_) => Ok(()),
        }
    }

    fn allocate(&mut self, node: Node) -> Result<Ino, TreeError> {
        let inode = Some(Inode { node, nlink: 1 });
        if let Some(i) = self.free.pop() {
            self.inodes[i as usize] = inode;
            return Ok(Ino(i));
        }
        let i = u32::try_from(self.inodes.len()).map_err(|_| TreeError::Full)?;
        self.inodes.push(inode);
        Ok(Ino(i))
    }

    fn release(&mut self, ino: Ino) {
        let slot = &mut self.inodes[ino.0 as usize];
        if let Some(inode) = slot {
            inode.nlink -= 1;
            if inode.nlink == 0 {
                *slot = None;
                self.free.push(ino.0);
            }
        }
    }
}

#[cfg(test)]
mod tests;
