//! One layer onto a tree.

use std::collections::HashSet;

use tree::{Entry, Item, Limits, Node, Tree, TreePath, Usage, entries};

use super::{LayerError, LayerProblem};
use store::LayerBlob;

/// What a layer did, as far as somebody should know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    pub entries: usize,
    /// Paths that hide something of the layers below.
    pub whiteouts: usize,
    /// Paths whose `trusted.overlay.*` or `user.overlay.*` attributes were left out: they tell overlayfs where to look for
    /// other files, and have no meaning, or a hostile one, outside the file system that wrote them.
    pub(crate) overlay_xattrs: Vec<TreePath>,
}

/// What an entry's name says.
enum Name {
    Plain,
    /// Hides all that the layers below have in this directory.
    Opaque(TreePath),
    /// Hides this path of the layers below.
    Whiteout(TreePath),
    /// What aufs kept for itself and old Docker versions packed by mistake.
    Aufs,
}

fn classify(path: &TreePath) -> Result<Name, &'static str> {
    const PREFIX: &[u8] = b".wh.";
    let Some(last) = path.file_name() else { return Ok(Name::Plain) };
    let mut above = path.components().rev().skip(1);
    if let Some(odd) = above.find(|c| c.starts_with(PREFIX)) {
        return if odd == b".wh..wh.plnk" { Ok(Name::Aufs) } else { Err("has entries below it") };
    }
    let Some(hidden) = last.strip_prefix(PREFIX) else { return Ok(Name::Plain) };
    let Some(parent) = path.parent() else { return Ok(Name::Plain) };
    match hidden {
        b".wh..opq" => Ok(Name::Opaque(parent)),
        b".wh.aufs" | b".wh.plnk" | b".wh.orph" => Ok(Name::Aufs),
        b"" => Err("names no file"),
        b"." | b".." => Err("names a directory itself"),
        _ if hidden.starts_with(PREFIX) => Err("is of an unknown kind"),
        _ => parent.join(hidden).map(Name::Whiteout).map_err(|_| "names no path"),
    }
}

/// Applies a layer: first its whiteouts to what is there already, then its entries in their order, each as
/// [`Entry::apply`] does. So a whiteout hides what the layers below have and nothing of its own layer, wherever in the tar it
/// stands (image-spec#171, moby#17819). `usage` is what the image's layers so far have taken of the limits.
///
/// # Errors
/// A malformed tar, a whiteout that names nothing, an entry that fits no tree. The tree is half-done then.
pub(crate) fn apply(
    tree: &mut Tree,
    layer: &LayerBlob,
    limits: &Limits,
    usage: &mut Usage,
) -> Result<Applied, LayerError> {
    let named = layer.digest.unwrap_or(layer.diff_id);
    run(tree, layer, limits, usage).map_err(|problem| LayerError { layer: named, problem: problem.into() })
}

fn run(
    tree: &mut Tree,
    layer: &LayerBlob,
    limits: &Limits,
    usage: &mut Usage,
) -> Result<Applied, LayerProblem> {
    let mut applied = Applied::default();
    let mut plain: Vec<Entry> = Vec::new();
    let mut hidden: Vec<(u64, Name)> = Vec::new();
    let mut all = entries(&layer.blob, layer.offset, layer.len, limits).continuing(*usage);
    for entry in all.by_ref() {
        let mut entry = entry?;
        applied.entries += 1;
        // A name that is no path is reported when it is applied.
        let Ok(path) = TreePath::new(&entry.path) else {
            plain.push(entry);
            continue;
        };
        match classify(&path) {
            Ok(Name::Plain) => {
                let before = entry.meta.xattrs.len();
                entry.meta.xattrs.retain(|name, _| {
                    !name.starts_with(b"trusted.overlay.") && !name.starts_with(b"user.overlay.")
                });
                if entry.meta.xattrs.len() < before {
                    applied.overlay_xattrs.push(path);
                }
                plain.push(entry);
            }
            Ok(Name::Aufs) => {}
            Ok(name) => hidden.push((entry.position, name)),
            Err(why) => {
                let entry_name = path.to_string();
                return Err(LayerProblem::Whiteout { position: entry.position, entry: entry_name, why });
            }
        }
    }
    applied.whiteouts = hidden.len();
    *usage = all.usage();
    if !tree.is_empty() {
        hide(tree, &hidden, &plain, limits, usage)?;
    }
    for entry in plain {
        entry.apply(tree, limits, usage)?;
    }
    Ok(applied)
}

fn hide(
    tree: &mut Tree,
    hidden: &[(u64, Name)],
    plain: &[Entry],
    limits: &Limits,
    usage: &mut Usage,
) -> Result<(), LayerProblem> {
    // The names that the layer itself has; only made if a whiteout lies behind a symlink.
    let mut own: Option<HashSet<TreePath>> = None;
    for (position, name) in hidden {
        match name {
            // Never through a symlink: whoever writes an opaque directory has a directory there.
            Name::Opaque(dir) => {
                let children: Vec<TreePath> = tree.children(dir).map(|(p, _)| p.clone()).collect();
                for child in children {
                    tree.remove(&child);
                }
            }
            Name::Whiteout(path) => {
                let own = own.get_or_insert_with(HashSet::new);
                let Some(parent) = behind_link(tree, path, own, plain) else {
                    tree.remove(path);
                    continue;
                };
                if let Some(real) = usage.resolve(tree, &parent, *position, limits)?
                    && let Some(Ok(real)) = path.file_name().map(|name| real.join(name))
                {
                    tree.remove(&real);
                }
            }
            Name::Plain | Name::Aufs => {}
        }
    }
    Ok(())
}

/// The folder of what a whiteout hides, if it is behind a symlink. Tools that don't know the image write `bin/.wh.x` where
/// /bin is a symlink, and container engines follow it as for any other entry. A symlink that the layer replaces is not
/// followed.
fn behind_link(
    tree: &Tree,
    path: &TreePath,
    own: &mut HashSet<TreePath>,
    plain: &[Entry],
) -> Option<TreePath> {
    if tree.contains(path) {
        return None;
    }
    let parent = path.parent()?;
    if tree.get(&parent).is_some_and(Node::is_dir) {
        return None;
    }
    let link =
        parent.ancestors_from_root().find(|p| tree.get(p).is_some_and(|n| n.symlink_target().is_some()))?;
    if own.is_empty() {
        let nodes = plain.iter().filter(|e| matches!(e.item, Item::Node(_) | Item::Hardlink(_)));
        own.extend(nodes.filter_map(|e| TreePath::new(&e.path).ok()));
    }
    (!own.contains(&link)).then_some(parent)
}
