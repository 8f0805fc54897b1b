//! From what a command looked up to the files of the image that it needs.

use std::collections::{BTreeSet, HashSet};

use tree::{StaticPath, Tree, TreePath};

use super::explain;
use super::wire::Access;

/// A script's interpreter may be a script. BINPRM_MAX_RECURSION, fs/exec.c.
const INTERPRETERS: usize = 5;
/// Bytes of a file that the kernel looks at before it executes it; more for ELF, whose program headers may follow.
const HEAD: usize = 4096;

/// The kernel's: no file of the image is seen there.
const KERNEL: [StaticPath; 3] = [StaticPath::new("/dev"), StaticPath::new("/proc"), StaticPath::new("/sys")];

/// The paths of the image that lookups led to, symlinks on the way included, and what the kernel loads for programs: their
/// interpreters. The root itself is none.
pub(super) fn paths(image: &Tree, looked: &[Access]) -> BTreeSet<TreePath> {
    let mut found = Found { image, paths: BTreeSet::new(), executed: HashSet::new() };
    for access in looked {
        if let Some(place) = found.add(&access.path, access.followed)
            && access.executed
        {
            found.add_interpreters(place);
        }
    }
    let kernels = KERNEL.map(StaticPath::path);
    found.paths.retain(|path| !path.is_root() && !kernels.iter().any(|k| path.starts_with(k)));
    found.paths
}

struct Found<'a> {
    image: &'a Tree,
    paths: BTreeSet<TreePath>,
    executed: HashSet<TreePath>,
}

impl Found<'_> {
    /// Gives the file itself, if it is in the image.
    fn add(&mut self, path: &[u8], followed: bool) -> Option<TreePath> {
        let resolved = match self.image.resolve(path, followed) {
            Ok(resolved) => resolved,
            // A symlink that leads out of the image, or nowhere, was read all the same.
            Err(_) => {
                let link = self.image.resolve(path, false).ok()?;
                self.paths.extend(link.links);
                self.paths.insert(link.path);
                return None;
            }
        };
        self.paths.extend(resolved.links);
        self.paths.insert(resolved.path.clone());
        Some(resolved.path)
    }

    fn add_interpreters(&mut self, program: TreePath) {
        let mut program = program;
        for _ in 0..INTERPRETERS {
            if !self.executed.insert(program.clone()) {
                return;
            }
            let head = self.image.get(&program).and_then(|n| n.content()?.head(HEAD).ok());
            let Some(interpreter) = head.and_then(|head| explain::interpreter(&head)) else { return };
            let Some(place) = self.add(&interpreter, true) else { return };
            program = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::{Meta, Node};

    #[test]
    fn what_lookups_lead_to() {
        let mut image = Tree::default();
        let mut add = |path: &str, node: Node| {
            image.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
        };
        add("/usr/bin/sh", Node::file(0o755, "x"));
        add("/usr/bin/tool", Node::file(0o755, "#! /usr/bin/awk -f\n"));
        add("/usr/bin/mawk", Node::file(0o755, "#!/bin/sh\n"));
        add("/usr/bin/awk", Node::symlink("/etc/alternatives/awk"));
        add("/etc/alternatives/awk", Node::symlink("/usr/bin/mawk"));
        add("/etc/mtab", Node::symlink("/proc/self/mounts"));
        add("/bin", Node::symlink("usr/bin"));
        add("/usr/share/d/f", Node::file(0o644, "x"));
        add("/dev/null", Node::file(0o644, ""));
        add("/usr/bin/loop", Node::file(0o755, "#!/usr/bin/loop\n"));
        let rows: &[(&str, bool, bool, &str)] = &[
            ("/usr/share/d/f", true, false, "/usr/share/d/f"),
            ("/usr/share/d/../d//f", true, false, "/usr/share/d/f"),
            ("/usr/share/d/", true, false, "/usr/share/d"),
            ("/usr/share/none", true, false, ""),
            ("/usr/share/d/f/none", true, false, ""),
            ("/usr/share (deleted)/x", true, false, ""),
            ("/bin/sh", true, true, "/bin /usr/bin/sh"),
            ("/bin/awk", false, false, "/bin /usr/bin/awk"),
            ("/bin/awk", true, false, "/bin /etc/alternatives/awk /usr/bin/awk /usr/bin/mawk"),
            ("/etc/mtab", true, false, "/etc/mtab"),
            ("/dev/null", true, false, ""),
            ("/", true, false, ""),
            ("/usr/bin/tool", true, false, "/usr/bin/tool"),
            (
                "/usr/bin/tool",
                true,
                true,
                "/bin /etc/alternatives/awk /usr/bin/awk /usr/bin/mawk /usr/bin/sh /usr/bin/tool",
            ),
            ("/usr/bin/loop", true, true, "/usr/bin/loop"),
        ];
        for (path, followed, executed, expected) in rows {
            let access = Access {
                path: path.as_bytes().to_vec(),
                followed: *followed,
                executed: *executed,
                made: false,
            };
            let got: Vec<String> = paths(&image, &[access]).iter().map(ToString::to_string).collect();
            assert_eq!(got.join(" "), *expected, "{path}");
        }
    }
}
