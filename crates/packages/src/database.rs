//! Packages, whatever manager installed them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tree::{StaticPath, Tree, TreePath};

use crate::budget::Budget;
use crate::{DatabaseError, Package, apk, dpkg, links, pacman, rpm};

/// Architectures of packages for every machine: dpkg's, apk's and rpm's, pacman's, and none.
const ANY_ARCHITECTURE: [&str; 4] = ["all", "noarch", "any", ""];

/// A package manager whose databases are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// Debian and its derivatives.
    Dpkg,
    /// Alpine, Wolfi, Chainguard.
    Apk,
    /// Fedora, RHEL, openSUSE.
    Rpm,
    /// Arch Linux.
    Pacman,
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Manager::Dpkg => "dpkg",
            Manager::Apk => "apk",
            Manager::Rpm => "rpm",
            Manager::Pacman => "pacman",
        })
    }
}

/// The packages of a root file system.
#[derive(Debug)]
pub struct Database {
    manager: Manager,
    packages: Vec<Package>,
    names: Index,
    provided: Index,
    owners: BTreeMap<TreePath, usize>,
    /// Each has a number, in order of their names.
    architectures: BTreeMap<String, usize>,
    /// The image's: that of most packages.
    architecture: Option<usize>,
}

/// Where the managers have their databases.
pub const DATABASES: [&str; 6] = [
    "/var/lib/dpkg",
    "/lib/apk/db",
    "/usr/lib/apk/db",
    "/var/lib/rpm",
    "/usr/lib/sysimage/rpm",
    "/var/lib/pacman/local",
];

/// The place of the first package by a name and of an architecture, which is a number.
type Index = BTreeMap<(String, usize), usize>;

impl Database {
    /// Reads the database in a tree. None if it has none, or an empty one.
    ///
    /// # Errors
    /// A file of the database can't be read, or the database exceeds a limit (docs/limits.md).
    pub fn read(tree: &Tree) -> Result<Option<Database>, DatabaseError> {
        Database::read_within(tree, &mut Budget::default())
    }

    /// As [`Database::read`], for no more than the budget.
    pub(crate) fn read_within(tree: &Tree, budget: &mut Budget) -> Result<Option<Database>, DatabaseError> {
        let Some((manager, packages)) = Database::listed(tree, budget)? else { return Ok(None) };
        Database::new(tree, manager, packages, budget).map(Some)
    }

    /// What the packages of a tree's database have below /srv and /var, sorted, whether the tree has it or not.
    ///
    /// # Errors
    /// As [`Database::read`].
    pub fn listed_state(tree: &Tree) -> Result<Vec<TreePath>, DatabaseError> {
        let listed = Database::listed(tree, &mut Budget::default())?;
        let files = listed.into_iter().flat_map(|(_, packages)| packages).flat_map(|package| package.files);
        let is_state = |path: &TreePath| matches!(path.components().next(), Some(b"srv" | b"var"));
        let state: BTreeSet<TreePath> = files.filter(is_state).collect();
        Ok(state.into_iter().collect())
    }

    /// The packages as their manager lists them.
    fn listed(tree: &Tree, budget: &mut Budget) -> Result<Option<(Manager, Vec<Package>)>, DatabaseError> {
        type Reader = fn(&Tree, &mut Budget) -> Result<Vec<Package>, DatabaseError>;
        let readers: [(Manager, Reader); 4] = [
            (Manager::Dpkg, dpkg::read),
            (Manager::Apk, apk::read),
            (Manager::Rpm, rpm::read),
            (Manager::Pacman, pacman::read),
        ];
        for (manager, read) in readers {
            let packages = read(tree, budget)?;
            if !packages.is_empty() {
                return Ok(Some((manager, packages)));
            }
        }
        Ok(None)
    }

    /// Sorts the packages of a reader, whose files are as the manager lists them, and finds the files in the tree.
    fn new(
        tree: &Tree,
        manager: Manager,
        mut packages: Vec<Package>,
        budget: &mut Budget,
    ) -> Result<Database, DatabaseError> {
        packages.sort_by(|a, b| {
            (&a.name, &a.architecture, &a.version).cmp(&(&b.name, &b.architecture, &b.version))
        });
        let mut owners = BTreeMap::new();
        for (index, package) in packages.iter_mut().enumerate() {
            package.directories = directories(tree, &package.files, budget)?;
            package.files = in_tree(tree, &package.files, budget)?;
            package.configuration = in_tree(tree, &package.configuration, budget)?;
            for file in &package.files {
                owners.entry(file.clone()).or_insert(index);
            }
        }
        // A link may stand in another package's folder.
        let mut unlisted = links::generated(tree, &owners);
        unlisted.extend(links::links(tree, &owners, budget)?);
        for (path, index) in unlisted {
            if let Some(package) = packages.get_mut(index) {
                package.files.push(path.clone());
            }
            owners.insert(path, index);
        }
        for package in &mut packages {
            package.files.sort();
        }
        let mut counts = BTreeMap::<&str, usize>::new();
        for package in &packages {
            *counts.entry(&package.architecture).or_default() += 1;
        }
        let architectures: BTreeMap<String, usize> =
            counts.keys().enumerate().map(|(number, name)| ((*name).to_owned(), number)).collect();
        // Of several with as many, the first.
        let real = counts.iter().rev().filter(|(name, _)| !ANY_ARCHITECTURE.contains(*name));
        let architecture =
            real.max_by_key(|(_, count)| **count).and_then(|(name, _)| architectures.get(*name).copied());
        let (mut names, mut provided) = (Index::new(), Index::new());
        for (index, package) in packages.iter().enumerate() {
            let Some(&architecture) = architectures.get(&package.architecture) else { continue };
            names.entry((package.name.clone(), architecture)).or_insert(index);
            for name in &package.provides {
                provided.entry((name.clone(), architecture)).or_insert(index);
            }
        }
        Ok(Database { manager, packages, names, provided, owners, architectures, architecture })
    }

    /// The package manager that wrote it.
    pub fn manager(&self) -> Manager {
        self.manager
    }

    /// All packages, by name.
    pub fn packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter()
    }

    /// The installed package of this name: `git`, or `libc6:i386` where one is installed for several architectures; without
    /// one, that of the image is preferred. Names that a package provides don't count.
    pub fn package(&self, name: &str) -> Option<&Package> {
        let (plain, architecture) = match name.split_once(':') {
            Some((plain, architecture)) => (plain, Some(architecture)),
            None => (name, None),
        };
        match architecture {
            Some(a) => {
                let key = (plain.to_owned(), *self.architectures.get(a)?);
                self.packages.get(*self.names.get(&key)?)
            }
            None => self.best(&self.names, plain, ""),
        }
    }

    /// The package by a name for this architecture, or else for the image's, or else the first.
    fn best(&self, index: &Index, name: &str, architecture: &str) -> Option<&Package> {
        let mut key = (name.to_owned(), 0);
        for wanted in [self.architectures.get(architecture).copied(), self.architecture].into_iter().flatten()
        {
            key.1 = wanted;
            if let Some(&found) = index.get(&key) {
                return self.packages.get(found);
            }
        }
        key.1 = 0;
        let ((first, _), found) = index.range(key..).next()?;
        self.packages.get(*found).filter(|_| first == name)
    }

    /// The package that a path of the tree belongs to. The path may be as the manager or a program writes it: `/bin/x`
    /// where the tree has /usr/bin/x.
    pub fn owner(&self, path: &TreePath) -> Option<&Package> {
        let merged = || {
            let other = match path.as_relative().strip_prefix(b"usr/") {
                Some(rest) => TreePath::new(rest),
                None => TreePath::new([b"usr/".as_slice(), path.as_relative()].concat()),
            };
            self.owners.get(&other.ok()?)
        };
        self.packages.get(*self.owners.get(path).or_else(merged)?)
    }

    /// The package that something needs: by its name, by what it provides, or by its file; of several the one for the
    /// architecture of who needs it, or else for the image's.
    pub(crate) fn provider(&self, name: &str, architecture: &str) -> Option<&Package> {
        let by_name = self.best(&self.names, name, architecture);
        let by_name = by_name.or_else(|| self.best(&self.provided, name, architecture));
        by_name.or_else(|| match name.starts_with('/') {
            true => self.owner(&TreePath::new(name).ok()?),
            false => None,
        })
    }
}

/// Where packages have directories that are no part of their programs.
const CHANGING: [StaticPath; 3] = [StaticPath::new("/etc"), StaticPath::new("/srv"), StaticPath::new("/var")];

/// The directories of a manager's list in which hosts change files.
fn directories(
    tree: &Tree,
    listed: &[TreePath],
    budget: &mut Budget,
) -> Result<Vec<TreePath>, DatabaseError> {
    let mut found = BTreeSet::new();
    for path in listed {
        let below = CHANGING.iter().any(|top| path.starts_with(&top.path()));
        // A symlink of the list (/var/run) is no directory of the package.
        if below && path.depth() > 1 && tree.get(path).is_some_and(|n| n.is_dir()) {
            budget.path(path)?;
            found.insert(path.clone());
        }
    }
    Ok(found.into_iter().collect())
}

/// The paths of the tree for those of a manager's list: symlinks of directories resolved, and directories only if nothing
/// is in them. A directory of the list may be a symlink in the tree (`/bin`), which isn't the package's.
fn in_tree(tree: &Tree, listed: &[TreePath], budget: &mut Budget) -> Result<Vec<TreePath>, DatabaseError> {
    let sorted: BTreeSet<&TreePath> = listed.iter().collect();
    let is_listed_dir = |path: &TreePath| {
        sorted.range::<&TreePath, _>(path..).nth(1).is_some_and(|next| next.starts_with(path))
    };
    let mut found = BTreeSet::new();
    // The last directory whose files aren't where they are listed, and where it is. Lists are in order of directories.
    let mut last: Option<(TreePath, Option<TreePath>)> = None;
    for path in listed.iter().filter(|path| !is_listed_dir(path)) {
        let real = match (tree.get(path), path.parent(), path.file_name()) {
            // Most paths are real ones.
            (Some(_), ..) => Some(path.clone()),
            (None, Some(dir), Some(name)) => {
                if last.as_ref().is_none_or(|(known, _)| *known != dir) {
                    let real = budget.resolve(tree, dir.to_absolute(), true)?.map(|r| r.path);
                    last = Some((dir, real));
                }
                let real = last.as_ref().and_then(|(_, real)| real.as_ref());
                real.and_then(|dir| dir.join(name).ok()).filter(|path| tree.contains(path))
            }
            _ => None,
        };
        let Some(real) = real else { continue };
        let is_dir = tree.get(&real).is_some_and(|n| n.is_dir());
        if !real.is_root() && (!is_dir || tree.children(&real).next().is_none()) {
            budget.path(&real)?;
            found.insert(real);
        }
    }
    Ok(found.into_iter().collect())
}
