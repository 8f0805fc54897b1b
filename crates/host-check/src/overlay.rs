//! The tree that overlayfs shows when systemd-sysext has merged extensions over a host.
//!
//! Documentation/filesystems/overlayfs.rst, systemd-sysext(8). Layers are applied from the lowest one up, which comes to the
//! same as the kernel's way down: what isn't a directory, a whiteout and an opaque directory hide all below them.

use std::collections::{BTreeMap, BTreeSet};

use tree::{Content, Kind, Meta, Node, StaticPath, Tree, TreeError, TreePath};

/// The hierarchies that systemd-sysext merges.
const HIERARCHIES: [StaticPath; 2] = [StaticPath::new("/usr"), StaticPath::new("/opt")];

/// What overlayfs keeps for itself in a layer, and shows to nobody.
const OVERLAY: &[u8] = b"trusted.overlay.";
const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// Who a path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The host.
    Host,
    /// An extension, by its index among the layers.
    Extension(usize),
}

/// How a path differs from what it hides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The same kind of file, the same bytes or target, and the same metadata.
    Same,
    /// A file with other bytes.
    Content,
    /// A link that leads elsewhere.
    Target {
        /// Where it led before.
        before: Vec<u8>,
        /// Where it leads now.
        now: Vec<u8>,
    },
    /// A link takes the place of a file, or the other way around.
    Kind,
    /// A directory takes the place of a link.
    DirectoryOverLink {
        /// Where the link leads.
        target: Vec<u8>,
    },
    /// A directory takes the place of a file.
    DirectoryOverFile,
    /// Something else takes the place of a directory.
    OverDirectory {
        /// Files and directories that are gone.
        gone: usize,
    },
    /// A whiteout takes a file away, or a directory with all that is in it.
    Deleted {
        /// Files and directories that are gone.
        gone: usize,
    },
    /// A directory that shows nothing of those below it.
    Opaque {
        /// Files and directories that are gone.
        gone: usize,
    },
    /// Other permissions.
    Mode {
        /// Before.
        before: u32,
        /// Now.
        now: u32,
    },
    /// Another user or group.
    Ids {
        /// Before: user and group.
        before: (u32, u32),
        /// Now: user and group.
        now: (u32, u32),
    },
    /// Other extended attributes: the names of those that differ.
    Attributes(Vec<Vec<u8>>),
}

/// Something that can't be seen any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// Where.
    pub path: TreePath,
    /// Who hides it: an index among the layers.
    pub by: usize,
    /// Whose it is.
    pub whose: Owner,
    /// How what is seen now differs from it.
    pub change: Change,
    /// Whether a directory is seen there now.
    pub is_directory: bool,
}

/// One overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted: `/usr`, or what the host has in its place.
    pub path: TreePath,
    /// The extensions in it, by their index among the layers, the lowest first.
    pub layers: Vec<usize>,
    /// Files and directories of the host's own in it.
    pub host_files: usize,
}

/// What the host shows with the extensions merged.
#[derive(Debug, Default)]
pub struct Merged {
    /// All its files, without the `.systemd-sysext` that the tool adds.
    pub tree: Tree,
    /// Which extension a path comes from. Paths of the host are left out.
    pub owners: BTreeMap<TreePath, usize>,
    /// What each extension hides, in the order of the layers and of the paths.
    pub hidden: Vec<Hidden>,
    /// The overlays.
    pub hierarchies: Vec<Hierarchy>,
}

/// Merges the trees of extensions, the lowest one first, over a host's.
///
/// # Errors
/// None, unless a tree is broken.
pub fn merge(host: &Tree, layers: &[&Tree]) -> Result<Merged, TreeError> {
    let mut out = Merged { tree: host.clone(), ..Merged::default() };
    for hierarchy in HIERARCHIES {
        let place = match host.resolve(hierarchy.as_str(), true) {
            Ok(found) => found.path,
            Err(_) => hierarchy.path(),
        };
        let root = |(i, layer): (usize, &&Tree)| {
            let root = layer.resolve(hierarchy.as_str(), true).ok()?.path;
            layer.children(&root).next()?;
            Some((i, root))
        };
        let roots: Vec<(usize, TreePath)> = layers.iter().enumerate().filter_map(root).collect();
        if roots.is_empty() {
            continue;
        }
        // systemd-sysext makes what is missing. What is no directory on the host keeps it from merging anything there.
        if out.tree.get(&place).is_none() {
            out.tree.insert_all(place.clone(), Node::dir(), &Meta::dir())?;
        }
        if !out.tree.get(&place).is_some_and(Node::is_dir) {
            continue;
        }
        let host_files = out.tree.subtree(&place).count() - 1;
        // On top is a layer with the tool's own notes, and its root directory is the one that is seen.
        if let Some(meta) = out.tree.meta_mut(&place) {
            *meta = Meta { mtime: meta.mtime, ..Meta::dir() };
        }
        for (i, root) in &roots {
            out.apply(*i, layers[*i], root, &place)?;
        }
        let layers = roots.iter().map(|(i, _)| *i).collect();
        out.hierarchies.push(Hierarchy { path: place, layers, host_files });
    }
    Ok(out)
}

impl Merged {
    /// Lays what is below `root` of a layer over what is below `place`.
    fn apply(&mut self, by: usize, layer: &Tree, root: &TreePath, place: &TreePath) -> Result<(), TreeError> {
        for (path, node) in layer.subtree(root).skip(1) {
            let rest = path.strip_prefix(root).unwrap_or_default();
            // What is too long can't be opened by anybody.
            let Ok(target) = TreePath::new([place.as_relative(), b"/", rest].concat()) else { continue };
            self.put(by, target, node)?;
        }
        Ok(())
    }

    fn put(&mut self, by: usize, path: TreePath, node: &Node) -> Result<(), TreeError> {
        let whose = self.owners.get(&path).map_or(Owner::Host, |i| Owner::Extension(*i));
        let is_directory = node.is_dir();
        let mut changes = Vec::new();
        let below = self.tree.get(&path).cloned();
        if node.is_overlay_whiteout() {
            if below.is_some() {
                let gone = self.tree.remove(&path);
                self.hidden.push(Hidden {
                    path,
                    by,
                    whose,
                    change: Change::Deleted { gone },
                    is_directory: false,
                });
            }
            return Ok(());
        }
        if let Some(below) = &below {
            match (&below.kind, &node.kind) {
                (Kind::Dir, Kind::Dir) => {
                    if is_opaque(node) {
                        let gone = self.tree.remove(&path).saturating_sub(1);
                        if gone > 0 {
                            changes.push(Change::Opaque { gone });
                        }
                    }
                    metadata(&below.meta, &node.meta, true, &mut changes);
                }
                (Kind::Dir, _) => {
                    let gone = self.tree.remove(&path).saturating_sub(1);
                    changes.push(Change::OverDirectory { gone });
                }
                (Kind::Symlink(target), Kind::Dir) => {
                    changes.push(Change::DirectoryOverLink { target: target.to_vec() });
                    self.tree.remove(&path);
                }
                (_, Kind::Dir) => {
                    changes.push(Change::DirectoryOverFile);
                    self.tree.remove(&path);
                }
                (Kind::File(before), Kind::File(now)) => {
                    if !before.has_same_bytes(now) {
                        changes.push(Change::Content);
                    }
                    metadata(&below.meta, &node.meta, false, &mut changes);
                }
                (Kind::Symlink(before), Kind::Symlink(now)) => {
                    if before != now {
                        changes.push(Change::Target { before: before.to_vec(), now: now.to_vec() });
                    }
                }
                // Libraries are links in one package and files in another.
                (Kind::Symlink(_), Kind::File(now)) if self.leads_to(&path, now) => {}
                _ => changes.push(Change::Kind),
            }
            if changes.is_empty() && !is_directory {
                changes.push(Change::Same);
            }
        }
        let is_new = below.is_none() || !is_directory || !changes.is_empty();
        if is_new {
            self.owners.insert(path.clone(), by);
        }
        let hidden =
            changes.into_iter().map(|change| Hidden { path: path.clone(), by, whose, change, is_directory });
        self.hidden.extend(hidden);
        let mut node = node.clone();
        node.meta.xattrs.retain(|name, _| !name.starts_with(OVERLAY));
        self.tree.insert(path, node)
    }

    /// Whether a path leads to a file with these bytes.
    fn leads_to(&self, path: &TreePath, content: &Content) -> bool {
        let real = self.tree.resolve(path.to_absolute(), true).ok();
        let before = real.and_then(|found| self.tree.get(&found.path)?.content());
        before.is_some_and(|before| before.has_same_bytes(content))
    }

    /// The extension that a path comes from.
    pub fn owner(&self, path: &TreePath) -> Owner {
        self.owners.get(path).map_or(Owner::Host, |i| Owner::Extension(*i))
    }
}

fn is_opaque(node: &Node) -> bool {
    node.meta.xattrs.get(OPAQUE).is_some_and(|value| value == b"y")
}

fn metadata(before: &Meta, now: &Meta, is_directory: bool, out: &mut Vec<Change>) {
    if before.mode != now.mode {
        out.push(Change::Mode { before: before.mode, now: now.mode });
    }
    if (before.uid, before.gid) != (now.uid, now.gid) {
        out.push(Change::Ids { before: (before.uid, before.gid), now: (now.uid, now.gid) });
    }
    // Labels are a matter of the whole extension, and extensions' directories have none of the host's other attributes.
    let counts = |name: &[u8]| {
        name != b"security.selinux"
            && !name.starts_with(OVERLAY)
            && !(is_directory && name.starts_with(b"user."))
    };
    let names: BTreeSet<&Vec<u8>> =
        before.xattrs.keys().chain(now.xattrs.keys()).filter(|n| counts(n)).collect();
    let differing = names.into_iter().filter(|n| before.xattrs.get(*n) != now.xattrs.get(*n));
    let differing: Vec<Vec<u8>> = differing.cloned().collect();
    if !differing.is_empty() {
        out.push(Change::Attributes(differing));
    }
}

#[cfg(test)]
mod tests;
