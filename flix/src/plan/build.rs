//! From a plan to the tree of the extension.

use std::collections::{BTreeSet, HashMap};

use sysext::extension::resized;
use tree::{Content, Ino, Kind, Meta, Node, Patch, Tree, TreePath};

use super::{Action, BuildError, Entry, Plan, Relocation};
use crate::scripts::SCRIPT_LIMIT;
use elf::closure::{ExtraLib, Options, Resolver};
use elf::{Edit, rewrite};

impl Plan {
    /// Follows the plan, then checks the result: each program has to load in it what it loads in the image.
    ///
    /// # Errors
    /// A file can't be edited or read, or the check fails.
    pub fn build(&self, image: &Tree) -> Result<Tree, BuildError> {
        let mut out = Tree::default();
        // Names of one inode that get the same treatment stay names of one inode.
        let mut first: HashMap<Ino, Vec<(&Action, &TreePath)>> = HashMap::new();
        for (target, entry) in &self.entries {
            let ino = entry.source.as_ref().and_then(|s| image.ino(s)).filter(|_| !is_new(&entry.action));
            if let Some(ino) = ino {
                let known = first.entry(ino).or_default();
                if let Some((_, old)) = known.iter().find(|(a, _)| *a == &entry.action) {
                    if let Some(dir) = target.parent() {
                        out.make_dirs(&dir, &Meta::dir())?;
                    }
                    out.link(target.clone(), old)?;
                    continue;
                }
                known.push((&entry.action, target));
            }
            out.insert_all(target.clone(), self.node(image, entry)?, &Meta::dir())?;
        }
        self.bytecode(image, &mut out)?;
        self.check(&out)?;
        Ok(out)
    }

    /// Python's bytecode records the length of its source, which another first line changes, and nothing else.
    fn bytecode(&self, image: &Tree, out: &mut Tree) -> Result<(), BuildError> {
        for (target, entry) in &self.entries {
            let (Action::Script { .. }, Some(source)) = (&entry.action, &entry.source) else { continue };
            let Some(old) = image.get(source).and_then(Node::content) else { continue };
            resized(out, target, old.len())
                .map_err(|error| BuildError::Content { path: source.clone(), source: error })?;
        }
        Ok(())
    }

    fn node(&self, image: &Tree, entry: &Entry) -> Result<Node, BuildError> {
        let made = TreePath::root();
        let source = entry.source.as_ref().unwrap_or(&made);
        let error = |source_error| BuildError::Content { path: source.clone(), source: source_error };
        let old = || -> Result<(&Meta, &Content), BuildError> {
            let node = image.get(source).ok_or_else(|| BuildError::Source(source.clone()))?;
            let content = node.content().ok_or_else(|| BuildError::Source(source.clone()))?;
            Ok((&node.meta, content))
        };
        let file = |meta: &Meta, content| Node { meta: meta.clone(), kind: Kind::File(content) };
        Ok(match &entry.action {
            Action::Directory(meta) => Node { meta: meta.clone(), kind: Kind::Dir },
            Action::Symlink(target) => Node::symlink(target),
            Action::Copy => {
                let (meta, content) = old()?;
                file(meta, content.clone())
            }
            Action::Text(text) => match old() {
                Ok((meta, _)) => file(meta, text.clone().into()),
                Err(_) => Node::file(0o644, text.clone()),
            },
            Action::Confine(patches) => {
                let (meta, content) = old()?;
                file(meta, content.patched(content.len(), patches.clone()).map_err(error)?)
            }
            Action::Script { line, old: len } => {
                let (meta, content) = old()?;
                if line.len() == *len {
                    let patch = Patch { at: 0, bytes: line.clone() };
                    return Ok(file(meta, content.patched(content.len(), vec![patch]).map_err(error)?));
                }
                let text = content.read(SCRIPT_LIMIT).map_err(error)?;
                let mut new = line.clone();
                new.extend_from_slice(text.get(*len..).unwrap_or_default());
                file(meta, new.into())
            }
            Action::Relocate(relocation) => {
                let (meta, content) = old()?;
                file(meta, relocate(source, content, relocation)?)
            }
        })
    }

    /// Simulates the loader once more, now in the extension alone, and without what comes after LD_LIBRARY_PATH: what is
    /// found so is found on every host, whatever the variable says there.
    fn check(&self, extension: &Tree) -> Result<(), BuildError> {
        for (root, map) in &self.maps {
            let Some(program) = self.places.get(root) else { continue };
            if !matches!(&self.entries.get(program).map(|e| &e.action), Some(Action::Relocate(r)) if r.interpreter.is_some())
            {
                continue;
            }
            let place = |p: &TreePath| self.home(p);
            let later = map.later().iter().filter_map(place).map(ExtraLib::Path);
            let options = Options { sealed: true, extra_libs: later.collect(), ..Options::of_start() };
            let mut resolver = Resolver::new(extension, options);
            resolver.add_root(program)?;
            let closure = resolver.finish()?;
            let expected: BTreeSet<TreePath> = map
                .start()
                .iter()
                .map(|p| if p == root { program.clone() } else { place(p).unwrap_or_else(|| p.clone()) })
                .collect();
            let got: BTreeSet<TreePath> =
                closure.maps.get(program).map(|m| m.start().iter().cloned().collect()).unwrap_or_default();
            let known = |name: &str| self.missing.iter().any(|m| m.name == name);
            let missing: Vec<String> =
                closure.missing.iter().filter(|m| !known(&m.name)).map(|m| m.name.clone()).collect();
            // A library that the image lacks in one place may be found in the extension, which has one search path for
            // what the image has several for.
            let more = !self.missing.is_empty() && got.is_superset(&expected);
            if (got != expected && !more) || !missing.is_empty() {
                let show = |a: &BTreeSet<TreePath>, b: &BTreeSet<TreePath>| {
                    a.difference(b).map(TreePath::to_string).collect::<Vec<_>>().join(", ")
                };
                let mut lacks = vec![show(&got, &expected)];
                lacks.extend(missing.iter().map(|m| format!("no {m}")));
                return Err(BuildError::Differs {
                    program: program.clone(),
                    got: lacks.join(" "),
                    expected: show(&expected, &got),
                });
            }
        }
        Ok(())
    }

    /// Where an object is loaded from: the sysroot, or the place that the user gave it.
    pub fn home(&self, path: &TreePath) -> Option<TreePath> {
        let inside = self.sysroot.join(path.as_relative()).ok()?;
        if self.entries.contains_key(&inside) { Some(inside) } else { self.places.get(path).cloned() }
    }
}

/// The content of a file of the image, edited.
pub(super) fn relocate(
    path: &TreePath,
    content: &Content,
    relocation: &Relocation,
) -> Result<Content, BuildError> {
    let rpath = relocation.rpath.iter().map(TreePath::to_absolute).collect::<Vec<_>>().join(&b':');
    let edit = Edit {
        interpreter: relocation.interpreter.as_ref().map(TreePath::to_absolute),
        runpath: Some(rpath),
        force_rpath: true,
        nodeflib: true,
        needed: relocation.needed.iter().map(|(old, new)| (old.clone(), new.to_absolute())).collect(),
        add_needed: relocation.add_needed.iter().map(|n| n.clone().into_bytes()).collect(),
    };
    let content = match relocation.patches.as_slice() {
        [] => content.clone(),
        patches => content
            .patched(content.len(), patches.to_vec())
            .map_err(|source| BuildError::Content { path: path.clone(), source })?,
    };
    rewrite(&content, &edit).map_err(|source| BuildError::Rewrite { path: path.clone(), source })
}

/// Whether the node has nothing to do with the inode of its source.
fn is_new(action: &Action) -> bool {
    matches!(action, Action::Directory(_) | Action::Symlink(_) | Action::Text(_))
}
