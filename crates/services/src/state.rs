//! Directories below /var and /srv that services have to find.

use std::collections::{BTreeMap, BTreeSet};

use tree::{Node, Tree, TreePath};

use crate::configuration::is_secret;
use crate::inventory::{Inventory, ServicesError};
use crate::places::{Owner, SRV, StatePath, VAR, is_hosts_state, is_state};

impl Inventory {
    /// What packages list, and what their scripts made: directories of one of `users`, and those among `named`. What is in
    /// a directory that a script made is the service's own.
    pub(crate) fn state(
        &self,
        users: &BTreeSet<String>,
        named: &BTreeSet<TreePath>,
    ) -> BTreeMap<TreePath, StatePath> {
        let mut found = BTreeSet::new();
        for package in &self.packages {
            found.extend(package.directories.iter().filter(|d| is_state(d)).cloned());
            let link = |f: &&TreePath| self.tree.get(f).is_some_and(|n| n.symlink_target().is_some());
            found.extend(package.files.iter().filter(|f| is_state(f)).filter(link).cloned());
        }
        let groups: BTreeSet<u32> = users
            .iter()
            .filter_map(|name| self.accounts.user(name))
            .map(|u| u.gid)
            .chain(self.scripted_groups.iter().filter_map(|name| Some(self.accounts.group(name)?.gid)))
            .filter(|g| *g != 0)
            .collect();
        for (path, node) in self.unlisted() {
            let owner = self.accounts.user_of(node.meta.uid).map(|u| u.name.as_str());
            let is_users = owner.is_some_and(|o| users.contains(o))
                || (node.meta.uid == 0 && groups.contains(&node.meta.gid) && node.meta.gid != NOGROUP);
            if is_users || self.scripted_paths.contains(path) {
                found.insert(path.clone());
            }
        }
        let is_dir = |p: &&TreePath| self.tree.get(p).is_some_and(Node::is_dir);
        found.extend(named.iter().filter(|p| is_state(p)).filter(is_dir).cloned());
        let mut out = BTreeMap::new();
        for path in found {
            for place in path.ancestors_from_root().filter(|p| is_state(p) && !is_hosts_state(p)) {
                let node = self.tree.get(&place);
                if let Some(state) = node.and_then(|n| StatePath::of(&place, n, &self.accounts)) {
                    out.insert(place, state);
                }
            }
        }
        out
    }

    /// Directories that no package lists, in one that the host has or a package lists, if that has another owner; and
    /// those in directories of root that no package lists either.
    fn unlisted(&self) -> impl Iterator<Item = (&TreePath, &Node)> {
        let is_top = |path: &TreePath, node: &Node| {
            let Some(parent) = path.parent() else { return false };
            let Some(above) = self.tree.get(&parent) else { return false };
            match is_hosts_state(&parent) || self.listed.contains(&parent) {
                true => above.meta.uid == 0 || above.meta.uid != node.meta.uid,
                false => parent
                    .ancestors_from_root()
                    .chain([parent.clone()])
                    .all(|dir| self.tree.get(&dir).is_none_or(|node| node.meta.uid == 0)),
            }
        };
        [VAR, SRV].into_iter().flat_map(|top| self.tree.subtree(&top.path())).filter(move |(path, node)| {
            node.is_dir() && !is_hosts_state(path) && !self.listed.contains(*path) && is_top(path, node)
        })
    }

    /// Files below the directories that are no part of any package: what scripts made, and how many there are below each.
    pub(crate) fn made<'s>(
        &self,
        state: impl Iterator<Item = &'s StatePath>,
        except: &[TreePath],
    ) -> BTreeMap<TreePath, usize> {
        let mut out = BTreeMap::new();
        for dir in state.map(|s| &s.path) {
            // What was written there can be written again.
            let is_record =
                [&b"/var/log/"[..], b"/var/cache/"].iter().any(|d| dir.to_absolute().starts_with(d));
            let is_covered = except.iter().any(|e| e.starts_with(dir) || dir.starts_with(e));
            if is_record || is_covered || out.keys().any(|top: &TreePath| dir.starts_with(top)) {
                continue;
            }
            let is_made = |(path, node): &(&TreePath, &Node)| {
                let empty = node.content().is_none_or(tree::Content::is_empty);
                node.is_file() && !empty && !self.owned.contains(*path)
            };
            let count = self.tree.subtree(dir).filter(is_made).count();
            if count > 0 {
                out.insert(dir.clone(), count);
            }
        }
        out
    }

    /// Files below /var and /srv that the packages own, and those that scripts made in the directories `made`.
    pub(crate) fn contents<'m>(
        &self,
        made: impl Iterator<Item = &'m TreePath>,
    ) -> Result<BTreeMap<TreePath, Node>, ServicesError> {
        let owned = self.packages.iter().flat_map(|p| &p.files).filter(|f| is_state(f) && !is_hosts_state(f));
        let mut out: BTreeMap<TreePath, Node> = BTreeMap::new();
        for path in owned {
            out.extend(self.tree.get(path).filter(|n| n.is_file()).map(|n| (path.clone(), n.clone())));
        }
        for dir in made {
            for (path, node) in
                self.tree.subtree(dir).filter(|(p, n)| n.is_file() && !self.owned.contains(*p))
            {
                if !is_secret(path, node)? {
                    out.insert(path.clone(), node.clone());
                }
            }
        }
        Ok(out)
    }

    /// The owners of an inode of the image.
    pub(crate) fn owners(&self, node: &Node) -> (Owner, Owner) {
        Owner::of(node, &self.accounts)
    }
}

/// The group of those who have none. Debian's number, and systemd's for nobody.
pub(crate) const NOGROUP: u32 = 65534;

/// The directories and symlinks that the extension's own tmpfiles.d files make. tmpfiles.d(5).
pub(crate) fn made_by_extension(lines: &[Vec<Vec<u8>>]) -> BTreeSet<TreePath> {
    let makes = |kind: &[u8]| kind.first().is_some_and(|k| b"fFdDvqQLCcbpw".contains(k));
    let of = |line: &Vec<Vec<u8>>| match line.as_slice() {
        [kind, path, ..] if makes(kind) => TreePath::new(path).ok(),
        _ => None,
    };
    lines.iter().filter_map(of).collect()
}

/// Whether a tree has a program at a path, or at the path that it leads to.
pub(crate) fn is_file(tree: &Tree, path: &TreePath) -> bool {
    tree.resolve(path.to_absolute(), true).is_ok_and(|r| tree.get(&r.path).is_some_and(Node::is_file))
}
