//! A package, whatever manager installed it.

use tree::TreePath;

/// One thing that a package needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// Any of these is enough, the first one preferred. Names of packages, or of what packages provide (`so:libz.so.1`,
    /// `/bin/sh`), without versions.
    pub alternatives: Vec<String>,
}

/// An installed package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package {
    /// As its manager calls it, without the architecture.
    pub name: String,
    /// As the manager writes it.
    pub version: String,
    /// As the manager calls it: `amd64`, `x86_64`, `all`, `noarch`.
    pub architecture: String,
    /// Files, symlinks and empty directories of it that are in the tree, sorted, by their paths there: the directories
    /// resolved, the last symlink not. Links of update-alternatives(1) that lead to it are among them, and what its scripts
    /// made in its own folders.
    pub files: Vec<TreePath>,
    /// Directories below /etc, /srv and /var that it lists and that are in the tree, sorted, by their real paths.
    pub directories: Vec<TreePath>,
    /// Those of the files that are configuration.
    pub configuration: Vec<TreePath>,
    /// What it needs at run time.
    pub depends: Vec<Dependency>,
    /// Names beside its own by which others depend on it.
    pub provides: Vec<String>,
}

impl Package {
    /// Name and architecture, which identify a package, and by which packages are sorted.
    pub fn key(&self) -> (&str, &str) {
        (&self.name, &self.architecture)
    }
}
