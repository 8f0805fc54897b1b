//! What a merge changes for a loader.

use std::collections::{BTreeSet, HashMap};

use elf::closure::Closure;
use tree::{Tree, TreePath};

use crate::overlay::{Change, Merged};

/// What may lead a loader elsewhere.
pub(crate) struct Changes {
    /// Paths that show another file than before, or none, with all that is below them.
    pub(crate) other: BTreeSet<TreePath>,
    /// Names of files that are new, and the directories in which they are.
    pub(crate) new: HashMap<Vec<u8>, BTreeSet<TreePath>>,
}

impl Changes {
    pub(crate) fn new(host: &Tree, merged: &Merged) -> Changes {
        let visible = |change: &Change| {
            !matches!(change, Change::Same | Change::Mode { .. } | Change::Ids { .. } | Change::Attributes(_))
        };
        let other = merged.hidden.iter().filter(|h| visible(&h.change)).map(|h| h.path.clone()).collect();
        let mut new: HashMap<Vec<u8>, BTreeSet<TreePath>> = HashMap::new();
        for path in merged.owners.keys().filter(|path| !host.contains(path)) {
            let (Some(name), Some(dir)) = (path.file_name(), path.parent()) else { continue };
            if merged.tree.get(path).is_some_and(|node| !node.is_dir()) {
                new.entry(name.to_vec()).or_default().insert(dir);
            }
        }
        Changes { other, new }
    }

    /// Whether a path may lead to something else than before.
    pub(crate) fn touches(&self, path: &TreePath) -> bool {
        !self.other.is_empty() && path.ancestors_from_root().any(|at| self.other.contains(&at))
    }

    /// Whether a process that loads these objects may load others now.
    pub(crate) fn concerns(&self, host: &Tree, closure: &Closure, objects: &[TreePath]) -> bool {
        objects.iter().any(|path| {
            let Some(object) = closure.objects.get(path) else { return false };
            let found_now = |name: &[u8]| {
                // A directory that the host lacks may be one that the object's own path names.
                let own = object.elf.rpath.is_some() || object.elf.runpath.is_some();
                let searched = |dir: &TreePath| object.dirs.contains(dir) || (own && !host.contains(dir));
                self.new.get(last_part(name)).is_some_and(|dirs| dirs.iter().any(searched))
            };
            self.touches(path) || object.elf.asks_for().any(found_now)
        })
    }
}

/// `libc.so.6` of `/lib/libc.so.6`.
pub(crate) fn last_part(name: &[u8]) -> &[u8] {
    name.rsplit(|&b| b == b'/').next().unwrap_or(name)
}
