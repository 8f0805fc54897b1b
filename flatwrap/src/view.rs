//! What a program sees on a given host.

use tree::{Kind, Meta, Node, Tree, TreePath};

use crate::mounts::{MountError, Source};
use crate::plan::{Plan, PlanError, Shown};

impl Plan {
    /// The private root of the entry points on a host, as a tree. `image` is what the plan was made for.
    ///
    /// # Errors
    /// The image has something in the way of a mount.
    pub fn private_root(&self, image: &Tree, host: &Tree) -> Result<Tree, PlanError> {
        let mut out = image.clone();
        self.mounts.make_places(&mut out)?;
        for mount in self.mounts.iter() {
            let (tree, source) = match &mount.source {
                Source::Host(path) => (host, path),
                Source::Image(path) => (image, path),
            };
            let Ok(source) = tree.resolve(source.to_absolute(), true) else { continue };
            replace(&mut out, &mount.target, tree, &source.path)?;
        }
        Ok(out)
    }

    /// The programs behind the entry points, by their paths in the image.
    pub fn programs(&self) -> impl Iterator<Item = &TreePath> {
        self.shown.values().filter_map(|shown| match shown {
            Shown::EntryPoint(path) => Some(path),
            Shown::Command(command) => Some(&command.program),
            Shown::Link(_) | Shown::Unit(_) => None,
        })
    }

    /// The variables that the entry points set, whatever the caller has.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.variables.iter().map(|v| (v.name.clone(), v.value.clone())).collect()
    }
}

/// Puts what is at `from` of a tree in place of what is at `to`.
fn replace(out: &mut Tree, to: &TreePath, tree: &Tree, from: &TreePath) -> Result<(), MountError> {
    out.remove(to);
    for (path, node) in tree.subtree(from) {
        let rest = path.strip_prefix(from).unwrap_or_default();
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        let target = if rest.is_empty() { Ok(to.clone()) } else { to.join(rest) };
        let Ok(target) = target else { continue };
        if matches!(node.kind, Kind::File(_) | Kind::Dir | Kind::Symlink(_)) {
            let node: Node = node.clone();
            out.insert_all(target, node, &Meta::dir())?;
        }
    }
    Ok(())
}
