//! From inputs to the extension's tree: what is installed where. A pure function, but for the texts that it reads.

use std::collections::{BTreeMap, BTreeSet};

use tree::{Content, ContentError, Kind, Meta, Node, Tree, TreeError, TreePath};

use crate::{
    recipe::Instance,
    recipe::instance::{Install, Static},
};

/// A download, or what was compiled.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    File(Content),
    /// What was in an archive.
    Tree(Tree),
}

/// Why there is no tree. The caller knows recipe and URL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum AssembleError {
    /// An input that the caller didn't give.
    #[error("{0} is missing")]
    NoInput(String),
    /// A pattern for a file, or none for an archive.
    #[error("{from} is {got}, expected {expected}")]
    Kind {
        from: String,
        got: &'static str,
        /// What the rule takes it for.
        expected: &'static str,
    },
    /// The layout is another one.
    #[error("{from}: nothing matches {pattern:?}, got {}", some(.has))]
    NoMatch {
        from: String,
        /// What was looked for.
        pattern: String,
        has: Vec<String>,
    },
    /// Several files for one name.
    #[error("{from}: {pattern:?} matches {count} files, expected one for {to}")]
    Several {
        from: String,
        /// What was looked for.
        pattern: String,
        count: usize,
        to: TreePath,
    },
    /// Two things for one place.
    #[error("{path} is installed twice, from {first} and from {second}")]
    Twice { path: TreePath, first: String, second: String },
    /// A text that isn't there.
    #[error("{from}: {pattern:?} has no {text:?} to replace")]
    NoText { from: String, pattern: String, text: String },
    /// A device, socket or pipe.
    #[error("{from}: {path} is no file, directory or symbolic link")]
    Special {
        from: String,
        /// Its path in the input.
        path: TreePath,
    },
    /// A path that Linux doesn't take.
    #[error(transparent)]
    Path(#[from] tree::PathError),
    /// A pattern that can't be parsed.
    #[error(transparent)]
    Pattern(#[from] globset::Error),
    /// Something stands in the way.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A file can't be read.
    #[error("{path}: {source}")]
    Content {
        /// Its path in the input.
        path: TreePath,
        source: ContentError,
    },
}

impl AssembleError {
    /// The input that isn't as it should be.
    pub fn input(&self) -> Option<&str> {
        match self {
            AssembleError::NoInput(from)
            | AssembleError::Kind { from, .. }
            | AssembleError::NoMatch { from, .. }
            | AssembleError::Several { from, .. }
            | AssembleError::NoText { from, .. }
            | AssembleError::Special { from, .. } => Some(from),
            _ => None,
        }
    }
}

fn some(list: &[String]) -> String {
    match list {
        [] => "an empty archive".to_owned(),
        list if list.len() > 8 => format!("{}, … ({} in all)", list[..8].join(", "), list.len()),
        list => list.join(", "),
    }
}

/// Bytes. Texts that are changed are units and scripts.
const TEXT_MAX: u64 = 16 << 20;

/// The input that `[build]` makes.
pub(crate) const BUILD: &str = "build";

/// The tree of an extension: the recipe's own files, and what is installed from `inputs`, over `base` (what was taken out of
/// an image, or an empty tree).
///
/// # Errors
/// Inputs don't have what the recipe wants of them; see [`AssembleError`].
pub(crate) fn assemble(
    instance: &Instance,
    inputs: &BTreeMap<String, Input>,
    base: Tree,
) -> Result<Tree, AssembleError> {
    let sources = base.iter().filter(|(_, n)| !n.is_dir()).map(|(p, _)| (p.clone(), "the image".to_owned()));
    let mut assembly = Assembly { sources: sources.collect(), tree: base };
    for (path, file) in &instance.files {
        let node = match file {
            Static::File { mode, content } => Node::file(*mode, content.to_vec()),
            Static::Symlink(target) => Node::symlink(target),
        };
        assembly.put(path.clone(), node, "the recipe")?;
    }
    for install in &instance.installs {
        assembly.install(install, inputs)?;
    }
    Ok(assembly.tree)
}

struct Assembly {
    tree: Tree,
    sources: BTreeMap<TreePath, String>,
}

/// A file of an input, its place, and what is in it.
struct Found {
    source: TreePath,
    place: TreePath,
    node: Node,
}

impl Assembly {
    fn put(&mut self, path: TreePath, node: Node, from: &str) -> Result<(), AssembleError> {
        if let Some(first) = self.sources.get(&path) {
            return Err(AssembleError::Twice { path, first: first.clone(), second: from.to_owned() });
        }
        if !node.is_dir() {
            self.sources.insert(path.clone(), from.to_owned());
        }
        Ok(self.tree.insert_all(path, node, &Meta::dir())?)
    }

    fn install(&mut self, install: &Install, inputs: &BTreeMap<String, Input>) -> Result<(), AssembleError> {
        let from = install.from.as_str();
        let input = inputs.get(from).ok_or_else(|| AssembleError::NoInput(from.to_owned()))?;
        let wrong = |got, expected| AssembleError::Kind { from: from.to_owned(), got, expected };
        let mut found = match (input, &install.pattern) {
            (Input::File(content), None) => {
                // An input's ID stands for a file only with its new name.
                if install.into {
                    return Err(wrong("just a file", "an archive: its new name is missing in \"to\""));
                }
                let (source, place) = (TreePath::root(), install.to.clone());
                vec![Found { source, place, node: Node::file(0o644, content.clone()) }]
            }
            (Input::Tree(tree), Some(pattern)) => matches(install, tree, pattern)?,
            (Input::File(_), Some(_)) => return Err(wrong("just a file", "an archive")),
            (Input::Tree(_), None) => {
                return Err(wrong("an archive", "just a file: a pattern is missing in \"from\""));
            }
        };
        replace(install, &mut found)?;
        for Found { source, place, node } in found {
            let node = match node.kind {
                Kind::File(content) => {
                    let upstream = if node.meta.mode & 0o111 == 0 { 0o644 } else { 0o755 };
                    Node::file(install.mode.unwrap_or(upstream), content)
                }
                Kind::Symlink(target) => Node::symlink(target),
                Kind::Dir => Node::dir(),
                _ => return Err(AssembleError::Special { from: from.to_owned(), path: source }),
            };
            self.put(place, node, from)?;
        }
        Ok(())
    }
}

/// What of a tree a rule takes, and where it goes. A directory that matches brings all below it.
fn matches(install: &Install, tree: &Tree, pattern: &str) -> Result<Vec<Found>, AssembleError> {
    let from = || install.from.clone();
    let glob = |text: &str| Ok::<_, globset::Error>(crate::recipe::glob(text)?.compile_matcher());
    let wanted = glob(pattern.trim_end_matches('/'))?;
    let except = install.except.iter().map(|e| glob(e.trim_matches('/'))).collect::<Result<Vec<_>, _>>()?;
    let fixed = fixed_part(pattern);
    let mut out = Vec::new();
    let mut inside: BTreeSet<TreePath> = BTreeSet::new();
    let mut outside: BTreeSet<TreePath> = BTreeSet::new();
    for (path, node) in tree.iter().filter(|(p, _)| !p.is_root()) {
        let text = path.as_host_relative();
        let parent = path.parent().unwrap_or_else(TreePath::root);
        if outside.contains(&parent) || except.iter().any(|e| e.is_match(text)) {
            if node.is_dir() {
                outside.insert(path.clone());
            }
            continue;
        }
        if !inside.contains(&parent) && !wanted.is_match(text) {
            continue;
        }
        if node.is_dir() {
            inside.insert(path.clone());
        }
        let kept = &path.as_relative()[fixed.len().min(path.as_relative().len())..];
        let place = if install.into { install.to.join(kept)? } else { install.to.clone() };
        // A directory needs no entry of its own, unless there is nothing in it.
        if !node.is_dir() || tree.children(path).next().is_none() {
            out.push(Found { source: path.clone(), place, node: node.clone() });
        }
    }
    if out.is_empty() && !install.optional {
        let has = tree.iter().filter(|(_, n)| !n.is_dir()).map(|(p, _)| p.to_string()[1..].to_owned());
        return Err(AssembleError::NoMatch { from: from(), pattern: pattern.to_owned(), has: has.collect() });
    }
    if out.len() > 1 && !install.into {
        let (pattern, to) = (pattern.to_owned(), install.to.clone());
        return Err(AssembleError::Several { from: from(), pattern, count: out.len(), to });
    }
    Ok(out)
}

/// The directories before the first component with a sign of a pattern; never the last component.
fn fixed_part(pattern: &str) -> &str {
    let end = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
    let end = pattern[..end].rfind('/').map_or(0, |slash| slash + 1);
    &pattern[..end]
}

/// Changes texts. Each has to be in one of the files.
fn replace(install: &Install, found: &mut [Found]) -> Result<(), AssembleError> {
    for (old, new) in &install.replace {
        let mut hit = found.is_empty();
        for file in found.iter_mut() {
            let Kind::File(content) = &file.node.kind else { continue };
            if content.len() > TEXT_MAX {
                continue;
            }
            let read = content.read(TEXT_MAX);
            let bytes =
                read.map_err(|source| AssembleError::Content { path: file.source.clone(), source })?;
            let Some(text) = std::str::from_utf8(&bytes).ok().filter(|t| !t.contains('\0')) else { continue };
            if text.contains(old.as_str()) {
                hit = true;
                file.node.kind = Kind::File(text.replace(old.as_str(), new).into());
            }
        }
        if !hit {
            let pattern = install.pattern.clone().unwrap_or_default();
            return Err(AssembleError::NoText { from: install.from.clone(), pattern, text: old.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
