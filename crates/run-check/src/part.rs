//! A part of what programs see, which grows by what they look for: a whole image takes longer to write than its programs
//! take to start.

use std::collections::BTreeSet;

use sandbox::Looked;
use tree::{Meta, Node, ResolveError, Resolved, Tree, TreePath};

/// Files of a tree that is written as a whole.
const FEW: usize = 1000;
/// Bytes of content of a tree that is written as a whole.
const SMALL: u64 = 64 << 20;
/// Entries of a directory that are included with one of them.
const MOST_BESIDE: usize = 300;
/// Bytes of such files.
const MOST_BYTES: u64 = 8 << 20;

/// A part of a tree.
pub(crate) struct Part<'a> {
    seen: &'a Tree,
    pub(crate) tree: Tree,
    /// Directories with all that is directly in them.
    complete: BTreeSet<TreePath>,
    is_whole: bool,
    /// Of [`Tree::resolve_within`].
    left: u64,
}

/// Of [`Tree::resolve_within`], for all that programs look up before the whole tree is written.
const RESOLUTION: u64 = 1 << 28;

impl<'a> Part<'a> {
    /// All of a small tree; of others, what `first` leads to, and the directories above.
    pub(crate) fn new(seen: &'a Tree, first: &[Vec<u8>]) -> Part<'a> {
        let bytes: u64 = seen.iter().filter_map(|(_, node)| node.content()).map(tree::Content::len).sum();
        if seen.len() <= FEW && bytes <= SMALL {
            return Part::whole(seen);
        }
        let mut part = Part {
            seen,
            tree: Tree::default(),
            complete: BTreeSet::new(),
            is_whole: false,
            left: RESOLUTION,
        };
        let links = |(_, node): &(&TreePath, &Node)| node.symlink_target().is_some();
        let shallow: Vec<&TreePath> =
            seen.iter().map(|(path, _)| path).filter(|path| path.depth() <= 2).collect();
        let dirs = shallow.iter().filter(|path| seen.get(path).is_some_and(Node::is_dir));
        for dir in dirs {
            part.insert(dir);
        }
        let top = seen.children(&TreePath::root()).filter(links);
        for (path, _) in top {
            part.insert(path);
        }
        for path in first {
            part.add(path);
        }
        part
    }

    pub(crate) fn whole(seen: &'a Tree) -> Part<'a> {
        Part { seen, tree: seen.clone(), complete: BTreeSet::new(), is_whole: true, left: RESOLUTION }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Adds what was looked for and isn't in it yet. Whether there was anything.
    pub(crate) fn grow(&mut self, looked: &Looked) -> bool {
        if self.is_whole {
            return false;
        }
        let before = self.tree.len();
        let Ok(missing) = looked.missing(&self.tree, self.seen) else {
            *self = Part::whole(self.seen);
            return true;
        };
        for missing in missing {
            self.add(&missing.path.to_absolute());
        }
        for path in looked.paths() {
            let dir = self.resolve(path, true).map(|found| found.path);
            if let Some(dir) = dir.filter(|dir| self.seen.get(dir).is_some_and(Node::is_dir)) {
                self.complete(&dir);
            }
        }
        if self.left == 0 {
            *self = Part::whole(self.seen);
        }
        self.tree.len() > before
    }

    fn resolve(&mut self, path: &[u8], follow: bool) -> Option<Resolved> {
        match self.seen.resolve_within(path, follow, &mut self.left) {
            Ok(found) => Some(found),
            Err(ResolveError::Spent { .. }) => {
                self.left = 0;
                None
            }
            Err(_) => None,
        }
    }

    /// What a path leads to, with its neighbors.
    fn add(&mut self, path: &[u8]) {
        // A symlink that leads nowhere stays one.
        let found = [true, false].into_iter().find_map(|follow| self.resolve(path, follow));
        let Some(found) = found else { return };
        for link in &found.links {
            self.insert(link);
        }
        self.insert(&found.path);
        if self.seen.get(&found.path).is_some_and(Node::is_dir) {
            self.complete(&found.path);
        } else if let Some(dir) = found.path.parent() {
            self.complete(&dir);
        }
    }

    fn complete(&mut self, dir: &TreePath) {
        if dir.is_root() || !self.complete.insert(dir.clone()) {
            return;
        }
        let children: Vec<(&TreePath, &Node)> = self.seen.children(dir).take(MOST_BESIDE + 1).collect();
        let bytes: u64 = children.iter().filter_map(|(_, n)| n.content()).map(tree::Content::len).sum();
        if children.len() > MOST_BESIDE || bytes > MOST_BYTES {
            return;
        }
        for (child, _) in children {
            self.insert(child);
        }
    }

    fn insert(&mut self, path: &TreePath) {
        for place in path.ancestors_from_root().chain([path.clone()]) {
            if !self.tree.contains(&place)
                && let Some(node) = self.seen.get(&place)
            {
                // Its parents are there, or it is below what is no directory.
                let _ = self.tree.insert_all(place, node.clone(), &Meta::dir());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_large_tree() {
        let mut seen = Tree::default();
        let mut add = |path: &str, node: Node| {
            seen.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
        };
        for i in 0..FEW {
            add(&format!("/usr/share/many/{i}"), Node::file(0o644, "x"));
        }
        add("/usr/bin/tool", Node::file(0o755, "x"));
        add("/usr/lib/tool/a", Node::file(0o644, "x"));
        add("/usr/lib/tool/b", Node::file(0o644, "x"));
        add("/usr/lib/tool/c/d", Node::file(0o644, "x"));
        add("/etc/tool", Node::symlink("/usr/lib/tool"));
        add("/bin", Node::symlink("usr/bin"));
        let mut part = Part::new(&seen, &[b"/bin/tool".to_vec()]);
        let dump = |part: &Part<'_>| {
            let paths: Vec<String> = part.tree.iter().map(|(p, _)| p.to_string()).collect();
            paths.join(" ")
        };
        assert_eq!(dump(&part), "/ /bin /etc /usr /usr/bin /usr/bin/tool /usr/lib /usr/share");
        part.add(b"/etc/tool/a");
        part.add(b"/usr/share/many/1");
        assert_eq!(
            dump(&part),
            "/ /bin /etc /etc/tool /usr /usr/bin /usr/bin/tool /usr/lib /usr/lib/tool /usr/lib/tool/a /usr/lib/tool/b \
             /usr/lib/tool/c /usr/share /usr/share/many /usr/share/many/1"
        );
    }
}
