//! Symlinks inside a tree, as a process sees them whose root directory the tree is.

use super::{Node, Tree, TreePath};

/// Symlinks followed before giving up. MAXSYMLINKS, linux/namei.h.
const MAX_SYMLINKS: usize = 40;

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The real path: none of its directories is a symlink.
    pub path: TreePath,
    /// The symlinks followed on the way, in order; each by its own real path.
    pub links: Vec<TreePath>,
}

/// Why a path leads nowhere. The paths are the ones asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// A component is missing.
    #[error("{path}: no such file or directory ({missing} is missing)")]
    NotFound {
        /// What was asked for.
        path: String,
        /// The first path on the way that is not there.
        missing: TreePath,
    },
    /// A component that is not the last is no directory.
    #[error("{path}: {file} is not a directory")]
    NotADirectory {
        /// What was asked for.
        path: String,
        /// The file on the way.
        file: TreePath,
    },
    /// Too many symlinks; usually a loop.
    #[error("{path}: too many levels of symbolic links")]
    Loop {
        /// What was asked for.
        path: String,
    },
    /// Looking it up costs more than it may ([`Tree::resolve_within`]).
    #[error("{path}: looking it up exceeds the limit")]
    Spent {
        /// What was asked for.
        path: String,
    },
    /// Not a path that Linux takes.
    #[error(transparent)]
    Path(#[from] super::PathError),
}

impl Tree {
    /// Follows `path` from the root as the kernel does within a chroot: `..` of the root is the root, absolute links
    /// start at the root. `follow_last` says whether a symlink in the last place is followed, too (a trailing slash
    /// follows it always). path_resolution(7).
    ///
    /// # Errors
    /// The path leads nowhere.
    pub fn resolve(&self, path: impl AsRef<[u8]>, follow_last: bool) -> Result<Resolved, ResolveError> {
        // Forty links of 4,096 bytes are far below it.
        let mut unlimited = u64::MAX;
        self.resolve_within(path, follow_last, &mut unlimited)
    }

    /// As [`Tree::resolve`], at the expense of `left`: bytes, the lengths of the paths of all components that are looked up.
    ///
    /// # Errors
    /// The path leads nowhere, or `left` isn't enough.
    pub fn resolve_within(
        &self,
        path: impl AsRef<[u8]>,
        follow_last: bool,
        left: &mut u64,
    ) -> Result<Resolved, ResolveError> {
        let mut walk = Walk::new(path.as_ref(), follow_last);
        match walk.go(self, left) {
            Ok(()) => Ok(walk.done()),
            Err(Stop::Resolve(e)) => Err(e),
            Err(Stop::Spent) => Err(ResolveError::Spent { path: walk.show() }),
        }
    }
}

/// Why a [`Walk`] stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// As [`Tree::resolve`] says it. After something missing was made, or a file replaced by a directory, the walk can go on.
    Resolve(ResolveError),
    /// The budget is spent.
    Spent,
}

/// A path that is being resolved.
pub(crate) struct Walk<'p> {
    asked: &'p [u8],
    follow_last: bool,
    /// The real path so far.
    at: TreePath,
    /// Components to come, the next one last.
    todo: Vec<Vec<u8>>,
    links: Vec<TreePath>,
}

impl<'p> Walk<'p> {
    pub(crate) fn new(asked: &'p [u8], follow_last: bool) -> Self {
        let mut walk = Walk { asked, follow_last, at: TreePath::root(), todo: Vec::new(), links: Vec::new() };
        walk.push(asked);
        walk
    }

    /// The real path so far.
    pub(crate) fn at(&self) -> &TreePath {
        &self.at
    }

    /// Where the walk has come to.
    pub(crate) fn done(self) -> Resolved {
        Resolved { path: self.at, links: self.links }
    }

    /// Goes on to the end. Each component takes the length of its path (bytes) off `left`, since looking it up compares that
    /// many; `.` and `..` take one more than the length of the path at which they stand.
    pub(crate) fn go(&mut self, tree: &Tree, left: &mut u64) -> Result<(), Stop> {
        while let Some(component) = self.todo.last() {
            match tree.get(&self.at) {
                Some(n) if n.is_dir() => {}
                Some(_) => {
                    let (path, file) = (self.show(), self.at.clone());
                    return Err(Stop::Resolve(ResolveError::NotADirectory { path, file }));
                }
                None => return Err(self.not_found(self.at.clone())),
            }
            match component.as_slice() {
                dots @ (b"." | b"..") => {
                    let cost = 1 + self.at.as_relative().len() as u64;
                    *left = left.checked_sub(cost).ok_or(Stop::Spent)?;
                    if dots == b".." {
                        self.at = self.at.parent().unwrap_or_else(TreePath::root);
                    }
                }
                _ => {
                    let next = self.at.join(component).map_err(|e| Stop::Resolve(e.into()))?;
                    *left = left.checked_sub(next.as_relative().len() as u64).ok_or(Stop::Spent)?;
                    match tree.get(&next).map(Node::symlink_target) {
                        None => return Err(self.not_found(next)),
                        Some(Some(target)) if self.follow_last || self.todo.len() > 1 => {
                            if self.links.len() >= MAX_SYMLINKS {
                                return Err(Stop::Resolve(ResolveError::Loop { path: self.show() }));
                            }
                            self.todo.pop();
                            if target.first() == Some(&b'/') {
                                self.at = TreePath::root();
                            }
                            self.push(target);
                            self.links.push(next);
                            continue;
                        }
                        Some(_) => self.at = next,
                    }
                }
            }
            self.todo.pop();
        }
        if tree.contains(&self.at) { Ok(()) } else { Err(self.not_found(self.at.clone())) }
    }

    fn push(&mut self, path: &[u8]) {
        if path.last() == Some(&b'/') {
            self.todo.push(b".".to_vec());
        }
        let components = path.split(|&b| b == b'/').rev().filter(|c| !c.is_empty());
        self.todo.extend(components.map(<[u8]>::to_vec));
    }

    fn not_found(&self, missing: TreePath) -> Stop {
        Stop::Resolve(ResolveError::NotFound { path: self.show(), missing })
    }

    fn show(&self) -> String {
        super::path::escape(self.asked)
    }
}
