//! What a command looked for that is in the original root file system, and not in the one that it ran in.

use std::collections::BTreeMap;

use tree::{ResolveError, Resolved, StaticPath, Tree, TreePath};

use super::error::SandboxError;
use super::wire::Access;

/// Something that a command didn't find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// As the command looked for it; of something that was to be made, the directory above it.
    pub path: TreePath,
    /// What it was to be.
    pub kind: MissingKind,
}

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MissingKind {
    /// A directory in which the command wanted to make something.
    Directory,
    /// A program that it wanted to execute.
    Program,
    /// Any file or directory.
    File,
}

/// Of [`Tree::resolve_within`], for all that a command looked up. 200,000 usual paths take a tenth of it.
const RESOLUTION: u64 = 1 << 30;

/// The kernel's, and what no host keeps.
const KERNELS: [StaticPath; 3] = [StaticPath::new("/dev"), StaticPath::new("/proc"), StaticPath::new("/sys")];

/// What a command looked up.
#[derive(Debug, Clone)]
pub struct Looked(pub(super) Vec<Access>);

impl Looked {
    /// The paths, absolute, as the command had them: neither normalized nor resolved.
    pub fn paths(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|access| access.path.as_slice())
    }

    /// What the command looked for that `original` has, and `tree`, in which it ran, hasn't.
    ///
    /// # Errors
    /// Looking all of it up exceeds a limit, which only symlinks made for it do.
    pub fn missing(&self, tree: &Tree, original: &Tree) -> Result<Vec<Missing>, SandboxError> {
        missing(tree, original, &self.0, RESOLUTION).map_err(SandboxError::Lookups)
    }
}

/// Of what was looked up, what `original` has and `tree` hasn't. What the command made itself on the way, or found by another
/// name afterwards, can't be told, and is among it.
fn missing(
    tree: &Tree,
    original: &Tree,
    looked: &[Access],
    mut left: u64,
) -> Result<Vec<Missing>, ResolveError> {
    let mut out: BTreeMap<TreePath, MissingKind> = BTreeMap::new();
    let mut find = |tree: &Tree, path: &[u8], followed| -> Result<Option<Resolved>, ResolveError> {
        match tree.resolve_within(path, followed, &mut left) {
            Ok(found) => Ok(Some(found)),
            Err(e @ ResolveError::Spent { .. }) => Err(e),
            Err(_) => Ok(None),
        }
    };
    for access in looked {
        let mut path = access.path.as_slice();
        let mut kind = match access.executed {
            true => MissingKind::Program,
            false => MissingKind::File,
        };
        if find(tree, path, access.followed)?.is_some() {
            continue;
        }
        if find(original, path, access.followed)?.is_none() {
            // To be made: what counts is the directory above it.
            let Some(dir) = access.made.then(|| parent(path)).flatten() else { continue };
            if find(tree, dir, true)?.is_some() || find(original, dir, true)?.is_none() {
                continue;
            }
            (path, kind) = (dir, MissingKind::Directory);
        } else if access.made
            && let Some(found) = find(original, path, true)?
            && original.get(&found.path).is_some_and(|n| n.is_dir())
        {
            kind = MissingKind::Directory;
        }
        let Ok(path) = TreePath::new(normal(path)) else { continue };
        if !KERNELS.iter().any(|k| path.starts_with(&k.path())) {
            let known = out.entry(path).or_insert(kind);
            *known = (*known).min(kind);
        }
    }
    Ok(out.into_iter().map(|(path, kind)| Missing { path, kind }).collect())
}

fn parent(path: &[u8]) -> Option<&[u8]> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let end = path.iter().rposition(|&b| b == b'/')?;
    Some(&path[..end.max(1)])
}

/// Without `.` and empty components, and with `..` taken back, as if no symlink were before it.
fn normal(path: &[u8]) -> Vec<u8> {
    let mut out: Vec<&[u8]> = Vec::new();
    for part in path.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => _ = out.pop(),
            part => out.push(part),
        }
    }
    [b"/".as_slice(), &out.join(&b'/')].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::{Meta, Node};

    fn tree(paths: &[&str]) -> Tree {
        let mut tree = Tree::default();
        for path in paths {
            let node = if path.ends_with('/') { Node::dir() } else { Node::file(0o755, "x") };
            tree.insert_all(path.trim_end_matches('/').parse().unwrap(), node, &Meta::dir()).unwrap();
        }
        tree
    }

    #[test]
    fn what_is_missing() {
        let original =
            tree(&["/usr/bin/tool", "/usr/share/t/d", "/var/lib/t/", "/var/log/t/", "/dev/x", "/etc/both"]);
        let seen = tree(&["/usr/bin/other", "/etc/both", "/var/lib/"]);
        for (path, executed, made, expected) in [
            ("/usr/bin/tool", true, false, "Program /usr/bin/tool"),
            ("/usr/share/t/../t//d", false, false, "File /usr/share/t/d"),
            ("/etc/both", false, false, ""),
            ("/nowhere", false, false, ""),
            ("/var/lib/t/new", false, false, ""),
            ("/var/lib/t/new", false, true, "Directory /var/lib/t"),
            ("/var/lib/t", false, true, "Directory /var/lib/t"),
            ("/var/log/t/log", false, true, "Directory /var/log/t"),
            ("/var/lib/new", false, true, ""),
            ("/dev/x", false, false, ""),
        ] {
            let access = Access { path: path.as_bytes().to_vec(), followed: true, executed, made };
            let found = missing(&seen, &original, &[access], RESOLUTION).unwrap();
            let found: Vec<String> = found.iter().map(|m| format!("{:?} {}", m.kind, m.path)).collect();
            assert_eq!(found.join(" "), expected, "{path}");
        }
    }

    #[test]
    fn what_costs_too_much_to_look_up_is_an_error() {
        let mut original = tree(&["/x/y"]);
        original.insert("/l".parse().unwrap(), Node::symlink("x/../".repeat(800) + "x")).unwrap();
        let path = b"/l/y".to_vec();
        let access = |path| Access { path, followed: true, executed: false, made: false };
        let found = |left| missing(&tree(&[]), &original, &[access(path.clone())], left);
        assert_eq!(found(RESOLUTION).unwrap().len(), 1);
        assert!(matches!(found(1000), Err(ResolveError::Spent { .. })));
    }
}
