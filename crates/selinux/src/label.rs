//! Labels on a tree.

use std::collections::BTreeMap;

use tree::{Tree, TreePath};

use crate::{ContextsError, FileContexts};

/// The attribute that holds a file's label.
pub const LABEL: &[u8] = b"security.selinux";

/// What became of a tree's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labelled {
    /// Number of files, directories and links that have a label now.
    pub labelled: usize,
    /// What the policy has no label for.
    pub without: Vec<TreePath>,
    /// Names of one file for which the policy has different labels; the one of the first name is taken.
    pub conflicts: Vec<(TreePath, TreePath)>,
}

/// Labels all of a tree as setfiles(8) would if it were a host's root directory. Labels that were there are gone.
///
/// # Errors
/// A pattern isn't supported.
pub fn label(tree: &mut Tree, contexts: &FileContexts) -> Result<Labelled, ContextsError> {
    let mut out = Labelled::default();
    // By the inode, the name that was first.
    let mut done: BTreeMap<usize, (TreePath, Option<Vec<u8>>)> = BTreeMap::new();
    let mut labels = Vec::new();
    for (path, ino, node) in tree.iter_inodes() {
        let label = contexts.lookup(&path.to_absolute(), &node.kind)?.map(<[u8]>::to_vec);
        if tree.nlink(ino) > 1 {
            if let Some((first, before)) = done.get(&ino.index()) {
                if *before != label {
                    out.conflicts.push((first.clone(), path.clone()));
                }
                continue;
            }
            done.insert(ino.index(), (path.clone(), label.clone()));
        }
        match label {
            Some(label) => labels.push((path.clone(), Some([&label, b"\0".as_slice()].concat()))),
            None => {
                out.without.push(path.clone());
                labels.push((path.clone(), None));
            }
        }
    }
    for (path, label) in labels {
        let Some(meta) = tree.meta_mut(&path) else { continue };
        match label {
            Some(label) => {
                meta.xattrs.insert(LABEL.to_vec(), label);
                out.labelled += 1;
            }
            None => _ = meta.xattrs.remove(LABEL),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sources;
    use tree::{Meta, Node};

    #[test]
    fn every_inode_has_one_label() {
        let mut tree = Tree::default();
        let path = |text: &str| text.parse::<TreePath>().unwrap();
        for name in ["/usr/bin/a", "/usr/lost/x"] {
            tree.insert_all(path(name), Node::file(0o755, "x"), &Meta::dir()).unwrap();
        }
        tree.insert(path("/usr/bin/l"), Node::symlink("a")).unwrap();
        tree.link(path("/usr/bin/b"), &path("/usr/bin/a")).unwrap();
        tree.meta_mut(&path("/usr/lost/x")).unwrap().xattrs.insert(LABEL.to_vec(), b"old".to_vec());
        let main = b"/.* -d dir\n/usr/bin/.* bin\n/usr/bin/b other\n/usr/bin/.* -l link\n".to_vec();
        let contexts = FileContexts::new(Sources { main, ..Sources::default() }).unwrap();
        let found = label(&mut tree, &contexts).unwrap();
        assert_eq!(found.labelled, 6);
        assert_eq!(found.without, [path("/usr/lost/x")]);
        assert_eq!(found.conflicts, [(path("/usr/bin/a"), path("/usr/bin/b"))]);
        let shown = |name: &str| tree.get(&path(name)).unwrap().meta.xattrs.get(LABEL).cloned();
        assert_eq!(shown("/usr/bin/b").as_deref(), Some(&b"bin\0"[..]));
        assert_eq!(shown("/usr/bin/l").as_deref(), Some(&b"link\0"[..]));
        assert_eq!(shown("/").as_deref(), Some(&b"dir\0"[..]));
        assert_eq!(shown("/usr/lost/x"), None);
    }
}
