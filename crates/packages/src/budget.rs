//! The limits on reading a database: one budget for its files and everything that is kept of them.

use tree::{ResolveError, Resolved, Tree, TreePath};

use crate::{DatabaseError, Dependency, Package};

/// More packages than any root file system has.
const PACKAGES: u64 = 200_000;

/// More files than the packages of any root file system have together.
const FILES: u64 = 20_000_000;

/// Bytes of the files that are read, counted each time, and of what is kept of them.
const BYTES: u64 = 1 << 30;

/// Bytes. The lengths of all paths, one for each component, that are looked up because the tree doesn't have a listed path
/// as it is listed. As `tree::Limits::resolution`.
const RESOLUTION: u64 = 256 << 20;

/// What is left.
#[derive(Debug)]
pub(crate) struct Budget {
    packages: Count,
    files: Count,
    bytes: Count,
    resolution: Count,
}

#[derive(Debug)]
struct Count {
    what: &'static str,
    limit: u64,
    left: u64,
}

impl Count {
    fn new(what: &'static str, limit: u64) -> Count {
        Count { what, limit, left: limit }
    }

    fn take(&mut self, n: usize) -> Result<(), DatabaseError> {
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| self.exceeded())?;
        Ok(())
    }

    fn exceeded(&self) -> DatabaseError {
        DatabaseError::TooMany { what: self.what, limit: self.limit }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Budget::new(PACKAGES, FILES, BYTES, RESOLUTION)
    }
}

impl Budget {
    fn new(packages: u64, files: u64, bytes: u64, resolution: u64) -> Budget {
        Budget {
            packages: Count::new("packages", packages),
            files: Count::new("files", files),
            bytes: Count::new("bytes", bytes),
            resolution: Count::new("bytes of paths looked up", resolution),
        }
    }

    /// A package, without its lists.
    pub(crate) fn package(&mut self, package: &Package) -> Result<(), DatabaseError> {
        self.packages.take(1)?;
        let texts = package.name.len() + package.version.len() + package.architecture.len();
        self.bytes(texts + size_of::<Package>())
    }

    /// A path of a list that is kept.
    pub(crate) fn file(&mut self, path: &TreePath) -> Result<(), DatabaseError> {
        self.files.take(1)?;
        self.path(path)
    }

    /// A path that is kept, whether it is one of a list or not.
    pub(crate) fn path(&mut self, path: &TreePath) -> Result<(), DatabaseError> {
        self.bytes(path.as_relative().len() + size_of::<TreePath>())
    }

    /// A name that a package provides or depends on.
    pub(crate) fn name(&mut self, name: &str) -> Result<(), DatabaseError> {
        self.bytes(name.len() + size_of::<String>() + size_of::<Dependency>())
    }

    /// Bytes that are read or kept.
    pub(crate) fn bytes(&mut self, n: usize) -> Result<(), DatabaseError> {
        self.bytes.take(n)
    }

    /// Where a path leads in the tree. None if nowhere.
    pub(crate) fn resolve(
        &mut self,
        tree: &Tree,
        path: impl AsRef<[u8]>,
        follow_last: bool,
    ) -> Result<Option<Resolved>, DatabaseError> {
        match tree.resolve_within(path, follow_last, &mut self.resolution.left) {
            Ok(resolved) => Ok(Some(resolved)),
            Err(ResolveError::Spent { .. }) => Err(self.resolution.exceeded()),
            Err(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Database, rpm};
    use tree::{Meta, Node};

    const MUCH: u64 = 1 << 20;

    #[test]
    fn what_exceeds_the_budget_is_an_error() {
        let status = "/var/lib/dpkg/status";
        let list = "/var/lib/dpkg/info/a.list";
        let pacman = "/var/lib/pacman/local/a/";
        let installed = "Package: a\n\n";
        let long = "/x".repeat(1000);
        let lines = |line: &dyn Fn(usize) -> String| (0..100).map(line).collect::<String>();
        let packages = lines(&|i| format!("Package: p{i}\n\n"));
        let paths = lines(&|i| format!("/usr/bin/{i}\n"));
        // Every other one in another directory, which is a link.
        let through_links = lines(&|i| format!("/l{}/{i}\n", i % 2));
        let names = lines(&|i| format!("n{i}, "));
        let bytes = |text: &str| text.as_bytes().to_vec();
        type Files = Vec<(String, Vec<u8>)>;
        let rows: Vec<(&str, Files, Budget, &str)> = vec![
            (
                "many packages",
                vec![(status.into(), bytes(&packages))],
                Budget::new(50, MUCH, MUCH, MUCH),
                "50 packages",
            ),
            (
                "one list for packages alike",
                vec![(status.into(), bytes(&installed.repeat(100))), (list.into(), vec![b'x'; 1000])],
                Budget::new(MUCH, MUCH, 60_000, MUCH),
                "60000 bytes",
            ),
            (
                "a long list",
                vec![(status.into(), bytes(installed)), (list.into(), bytes(&paths))],
                Budget::new(MUCH, 50, MUCH, MUCH),
                "50 files",
            ),
            (
                "many names",
                vec![(status.into(), bytes(&format!("Package: a\nDepends: {names}\n")))],
                Budget::new(MUCH, MUCH, 2000, MUCH),
                "2000 bytes",
            ),
            (
                "files diverted to a long path",
                vec![
                    (status.into(), bytes(&installed.repeat(50))),
                    (list.into(), bytes("/x\n")),
                    ("/var/lib/dpkg/diversions".into(), bytes(&format!("/x\n{long}\nb\n"))),
                ],
                Budget::new(MUCH, MUCH, 60_000, MUCH),
                "60000 bytes",
            ),
            (
                "paths through links",
                vec![(status.into(), bytes(installed)), (list.into(), bytes(&through_links))],
                Budget::new(MUCH, MUCH, MUCH, 1000),
                "1000 bytes of paths looked up",
            ),
            (
                "alternatives through links",
                vec![
                    (status.into(), bytes(installed)),
                    ("/var/lib/dpkg/alternatives/a".into(), bytes(&through_links)),
                ],
                Budget::new(MUCH, MUCH, MUCH, 1000),
                "1000 bytes of paths looked up",
            ),
            (
                "apk: files of a long directory",
                vec![(
                    "/lib/apk/db/installed".into(),
                    bytes(&format!("P:a\nF:{long}\n{}", "R:y\n".repeat(100))),
                )],
                Budget::new(MUCH, MUCH, 60_000, MUCH),
                "60000 bytes",
            ),
            (
                "apk: many names",
                vec![("/lib/apk/db/installed".into(), bytes(&format!("P:a\np:{names}\n")))],
                Budget::new(MUCH, MUCH, 2000, MUCH),
                "2000 bytes",
            ),
            (
                "pacman: a long list",
                vec![
                    (format!("{pacman}desc"), bytes("%NAME%\na\n")),
                    (format!("{pacman}files"), bytes(&format!("%FILES%\n{paths}"))),
                ],
                Budget::new(MUCH, 50, MUCH, MUCH),
                "50 files",
            ),
            (
                "rpm: files",
                vec![("/var/lib/rpm/Packages.db".into(), rpm::testing::database())],
                Budget::new(MUCH, 1, MUCH, MUCH),
                "1 files",
            ),
            (
                "rpm: the file itself",
                vec![("/var/lib/rpm/Packages.db".into(), rpm::testing::database())],
                Budget::new(MUCH, MUCH, 8000, MUCH),
                "8000 bytes",
            ),
        ];
        for (name, files, mut budget, expected) in rows {
            let mut tree = Tree::default();
            for (path, content) in files {
                let node = Node::file(0o644, content);
                tree.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
            }
            for link in ["/l0", "/l1"] {
                tree.insert(link.parse().unwrap(), Node::symlink("/var/lib")).unwrap();
            }
            assert!(Database::read(&tree).unwrap().is_some(), "{name}");
            let error = Database::read_within(&tree, &mut budget).map(|_| ()).unwrap_err();
            assert_eq!(error.to_string(), format!("package database: more than {expected}"), "{name}");
        }
    }
}
