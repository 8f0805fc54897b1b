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
        self.resolve_at(&TreePath::root(), path, follow_last)
    }

    /// As [`Tree::resolve`], a relative path starting at `dir`, which has to be a real directory of the tree.
    ///
    /// # Errors
    /// The path leads nowhere.
    pub(crate) fn resolve_at(
        &self,
        dir: &TreePath,
        path: impl AsRef<[u8]>,
        follow_last: bool,
    ) -> Result<Resolved, ResolveError> {
        let asked = path.as_ref();
        let show = || super::path::escape(asked);
        let mut todo: Vec<Vec<u8>> = Vec::new();
        let push = |todo: &mut Vec<Vec<u8>>, p: &[u8]| {
            if p.last() == Some(&b'/') {
                todo.push(b".".to_vec());
            }
            todo.extend(p.split(|&b| b == b'/').rev().filter(|c| !c.is_empty()).map(<[u8]>::to_vec));
        };
        push(&mut todo, asked);
        let mut at = if asked.first() == Some(&b'/') { TreePath::root() } else { dir.clone() };
        let mut links = Vec::new();
        while let Some(component) = todo.pop() {
            match self.get(&at) {
                Some(n) if n.is_dir() => {}
                Some(_) => return Err(ResolveError::NotADirectory { path: show(), file: at }),
                None => return Err(ResolveError::NotFound { path: show(), missing: at }),
            }
            match component.as_slice() {
                b"." => continue,
                b".." => {
                    at = at.parent().unwrap_or_else(TreePath::root);
                    continue;
                }
                _ => {}
            }
            let next = at.join(&component)?;
            match self.get(&next).map(Node::symlink_target) {
                None => return Err(ResolveError::NotFound { path: show(), missing: next }),
                Some(Some(target)) if follow_last || !todo.is_empty() => {
                    if links.len() >= MAX_SYMLINKS {
                        return Err(ResolveError::Loop { path: show() });
                    }
                    if target.first() == Some(&b'/') {
                        at = TreePath::root();
                    }
                    push(&mut todo, target);
                    links.push(next);
                }
                Some(_) => at = next,
            }
        }
        if !self.contains(&at) {
            return Err(ResolveError::NotFound { path: show(), missing: at });
        }
        Ok(Resolved { path: at, links })
    }
}
