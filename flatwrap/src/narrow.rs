//! A private root of some of the image's files instead of all of them.

use std::collections::BTreeSet;

use tree::{Node, Tree, TreePath};

/// Leaves of an image what is at `paths`: files and symlinks, what these lead to, and the directories above them; a
/// directory without what is in it. Paths that the image lacks are ignored. All stay where they were.
///
/// Symlinks in the image's root directory stay if they lead to something: they are what it calls its directories (/bin,
/// /lib64).
pub fn narrow(image: &mut Tree, paths: &BTreeSet<TreePath>) {
    let mut kept: BTreeSet<TreePath> = BTreeSet::from([TreePath::root()]);
    let top: Vec<TreePath> = image
        .children(&TreePath::root())
        .filter(|(_, node)| node.symlink_target().is_some())
        .map(|(path, _)| path.clone())
        .collect();
    for path in paths {
        // A symlink that leads nowhere stays one.
        let found = [true, false].iter().find_map(|follow| image.resolve(path.to_absolute(), *follow).ok());
        let Some(found) = found else { continue };
        for place in found.links.into_iter().chain([found.path]) {
            let mut above = place.parent();
            while let Some(dir) = above.filter(|dir| !kept.contains(dir)) {
                above = dir.parent();
                kept.insert(dir);
            }
            kept.insert(place);
        }
    }
    for link in top {
        if image.resolve(link.to_absolute(), true).is_ok_and(|found| kept.contains(&found.path)) {
            kept.insert(link);
        }
    }
    // Directories last: those that go are empty by then.
    let gone: Vec<TreePath> =
        image.iter().map(|(path, _)| path).filter(|p| !kept.contains(p)).cloned().collect();
    for path in gone.iter().rev() {
        image.remove(path);
    }
}

/// The programs among `paths`: files that can be executed, or symlinks to them, in a directory of programs.
pub fn programs<'a>(image: &Tree, paths: impl IntoIterator<Item = &'a TreePath>) -> Vec<TreePath> {
    const DIRS: [&str; 7] =
        ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/usr/games", "/bin", "/sbin"];
    let in_dir = |path: &TreePath| {
        path.parent().is_some_and(|dir| DIRS.iter().any(|d| dir.to_absolute() == d.as_bytes()))
    };
    let runs = |path: &TreePath| {
        let real = image.resolve(path.to_absolute(), true).ok();
        let node = real.and_then(|r| image.get(&r.path));
        node.is_some_and(|n: &Node| n.is_file() && n.meta.mode & 0o111 != 0)
    };
    paths.into_iter().filter(|path| in_dir(path) && runs(path)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::Meta;

    fn image() -> Tree {
        let mut tree = Tree::default();
        let mut add = |path: &str, node: Node| {
            tree.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
        };
        for path in [
            "/usr/bin/one",
            "/usr/bin/two",
            "/usr/games/three",
            "/usr/share/a/b/c",
            "/usr/share/a/d",
            "/etc/x/conf",
        ] {
            add(path, Node::file(0o755, "x"));
        }
        add("/usr/share/empty", Node::dir());
        add("/bin", Node::symlink("usr/bin"));
        add("/lib", Node::symlink("usr/lib"));
        add("/usr/bin/link", Node::symlink("/etc/alternatives/link"));
        add("/etc/alternatives/link", Node::symlink("/usr/bin/one"));
        add("/usr/bin/dead", Node::symlink("nowhere"));
        add("/usr/bin/data", Node::file(0o644, "x"));
        tree
    }

    fn set(paths: &[&str]) -> BTreeSet<TreePath> {
        paths.iter().map(|p| p.parse().unwrap()).collect()
    }

    #[test]
    fn what_stays() {
        for (paths, expected) in [
            (&[][..], "/"),
            (&["/usr/bin/one"], "/ /bin /usr /usr/bin /usr/bin/one"),
            (&["/bin/one"], "/ /bin /usr /usr/bin /usr/bin/one"),
            (
                &["/usr/bin/link"],
                "/ /bin /etc /etc/alternatives /etc/alternatives/link /usr /usr/bin /usr/bin/link /usr/bin/one",
            ),
            (&["/usr/bin/dead"], "/ /bin /usr /usr/bin /usr/bin/dead"),
            (&["/usr/share/a", "/usr/share/empty"], "/ /usr /usr/share /usr/share/a /usr/share/empty"),
            (&["/usr/share/a/b/c"], "/ /usr /usr/share /usr/share/a /usr/share/a/b /usr/share/a/b/c"),
            (&["/none", "/etc/x/conf"], "/ /etc /etc/x /etc/x/conf"),
        ] {
            let mut tree = image();
            narrow(&mut tree, &set(paths));
            let got: Vec<String> = tree.iter().map(|(p, _)| p.to_string()).collect();
            assert_eq!(got.join(" "), expected, "{paths:?}");
        }
    }

    #[test]
    fn what_runs() {
        let paths = set(&[
            "/bin/two",
            "/usr/bin/link",
            "/usr/bin/dead",
            "/usr/bin/data",
            "/usr/games/three",
            "/usr/share/a/d",
        ]);
        let got: Vec<String> = programs(&image(), &paths).iter().map(ToString::to_string).collect();
        assert_eq!(got.join(" "), "/bin/two /usr/bin/link /usr/games/three");
    }
}
