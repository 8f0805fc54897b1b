//! What an image has that is of use to services.

use std::collections::{BTreeSet, HashSet};

use packages::base::{is_base, is_install_time};
use packages::{Database, DatabaseError, Package};
use tree::{ContentError, Node, PathError, Tree, TreeError, TreePath};

use crate::accounts::Accounts;
use crate::places::{ETC, SRV, VAR, is_configuration, is_hosts_state, is_state};
use crate::script::{OF_PACKAGES, Script};

/// Why it can't be found out what services need.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ServicesError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A file that can't be read.
    #[error("{path}: {source}")]
    Content { path: TreePath, source: ContentError },
    /// A file of the extension that can't be read.
    #[error(transparent)]
    Extension(#[from] sysext::ExtensionError),
    /// The place of a file that is generated.
    #[error("{0} is part of the extension, and a file with this name is generated")]
    Taken(TreePath),
    #[error("extension: {0}")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Bytes. Larger scripts, units and configuration files aren't searched for names.
pub(crate) const TEXT_LIMIT: u64 = 1 << 20;

/// Users of Debian's base system whose names are words: scripts name other things with them.
const WORDS: [&str; 17] = [
    "_apt", "backup", "bin", "daemon", "games", "irc", "list", "lp", "mail", "man", "news", "nobody",
    "operator", "proxy", "root", "sync", "sys",
];

/// What an image has that is of use to services: accounts, state, configuration. Taken from the whole image, before
/// anything is left out of it.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// /etc, /srv and /var.
    pub(crate) tree: Tree,
    pub(crate) accounts: Accounts,
    /// Those whose files the extension has.
    pub(crate) packages: Vec<Package>,
    /// Directories below /etc, /srv and /var that a package of the image lists.
    pub(crate) listed: BTreeSet<TreePath>,
    /// Files below /etc, /srv and /var that a package of the image owns.
    pub(crate) owned: BTreeSet<TreePath>,
    /// Users that the packages' scripts name.
    pub(crate) scripted: BTreeSet<String>,
    /// Groups that they name and that no base system has.
    pub(crate) scripted_groups: BTreeSet<String>,
    /// Paths below /srv and /var that they name.
    pub(crate) scripted_paths: BTreeSet<TreePath>,
    pub(crate) has_database: bool,
}

impl Inventory {
    /// Takes from an image what services of the packages need that own `paths`. Packages of the base system don't count.
    ///
    /// # Errors
    /// The package database, or another file, can't be read.
    pub fn read<'p>(
        image: &Tree,
        paths: impl IntoIterator<Item = &'p TreePath>,
    ) -> Result<Inventory, ServicesError> {
        Inventory::with_database(image, Database::read(image)?.as_ref(), paths)
    }

    /// As [`Inventory::read`], by a package database that was read before.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn with_database<'p>(
        image: &Tree,
        database: Option<&Database>,
        paths: impl IntoIterator<Item = &'p TreePath>,
    ) -> Result<Inventory, ServicesError> {
        let content = |(path, source)| ServicesError::Content { path, source };
        let mut out = Inventory { accounts: Accounts::read(image).map_err(content)?, ..Inventory::default() };
        for top in [ETC, SRV, VAR] {
            let top = top.path();
            for (path, node) in image.subtree(&top) {
                if *path == top || !is_hosts_state(path) || path.depth() < 3 {
                    let parent_is_in =
                        path.parent().is_none_or(|p| out.tree.get(&p).is_some_and(|n| n.is_dir()));
                    if parent_is_in {
                        out.tree.insert(path.clone(), node.clone())?;
                    }
                }
            }
        }
        let Some(database) = database else { return Ok(out) };
        out.has_database = true;
        let mut kept = BTreeSet::new();
        // Packages share directories, also those in which they have nothing.
        for path in paths.into_iter().filter(|path| !image.get(path).is_some_and(Node::is_dir)) {
            let Some(package) = database.owner(path) else { continue };
            if !is_base(package) && !is_install_time(package) && kept.insert(package.key()) {
                out.packages.push(changing(package));
            }
        }
        for package in database.packages() {
            out.listed.extend(package.directories.iter().cloned());
            out.owned.extend(package.files.iter().filter(|f| is_changing(f)).cloned());
            if kept.contains(&package.key()) {
                out.read_scripts(image, database, package)?;
            }
        }
        out.packages.sort_by(|a, b| a.key().cmp(&b.key()));
        out.read_names();
        Ok(out)
    }

    /// Accounts that a package's scripts make, or give files to, and the paths of the state that they name.
    fn read_scripts(
        &mut self,
        image: &Tree,
        database: &Database,
        package: &Package,
    ) -> Result<(), ServicesError> {
        for path in database.scripts(image, package) {
            let content = image.get(&path).and_then(|n| n.content()).filter(|c| c.len() <= TEXT_LIMIT);
            let Some(content) = content else { continue };
            let text = content.read(TEXT_LIMIT).map_err(|source| ServicesError::Content { path, source })?;
            let script = Script::parse(&String::from_utf8_lossy(&text));
            for name in script.names {
                if self.accounts.user(&name).is_some() && !WORDS.contains(&name.as_str()) {
                    self.scripted.insert(name.clone());
                }
                if self.accounts.group(&name).is_some_and(|g| OF_PACKAGES.contains(&g.gid)) {
                    self.scripted_groups.insert(name);
                }
            }
            self.scripted_paths.extend(script.paths.into_iter().filter(is_state));
        }
        Ok(())
    }

    /// Users with the name of a package, or whose home is a package's directory.
    fn read_names(&mut self) {
        let names: HashSet<&str> = self.packages.iter().map(|p| p.name.as_str()).collect();
        let directories: HashSet<&TreePath> = self.packages.iter().flat_map(|p| &p.directories).collect();
        for user in &self.accounts.users {
            let plain = user.name.trim_start_matches('_');
            let home = TreePath::new(&user.home).ok().filter(|h| h.depth() > 2);
            let is_ones =
                names.contains(plain) || home.as_ref().is_some_and(|home| directories.contains(home));
            if is_ones && !WORDS.contains(&user.name.as_str()) {
                self.scripted.insert(user.name.clone());
            }
        }
    }

    /// Files and directories of the packages below /etc, /srv and /var, and those below /etc that their scripts made, or that
    /// are named.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn files(&self, named: &BTreeSet<TreePath>) -> Result<BTreeSet<TreePath>, ServicesError> {
        let owned = self.packages.iter().flat_map(|p| p.files.iter().chain(&p.directories));
        let owned = owned.filter(|path| !path.starts_with(&ETC.path()) || is_configuration(path));
        let made = self.configuration(named, &[])?.paths.into_keys();
        Ok(owned.cloned().chain(made).collect())
    }

    /// Users that the packages' scripts make, or give files to.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.scripted.iter().map(String::as_str)
    }

    /// The packages whose files below /etc, /srv and /var count.
    pub fn packages(&self) -> impl Iterator<Item = &str> {
        self.packages.iter().map(|p| p.name.as_str())
    }
}

fn is_changing(path: &TreePath) -> bool {
    [ETC, SRV, VAR].iter().any(|top| path.starts_with(&top.path()))
}

/// A package with no files but those that hosts change.
fn changing(package: &Package) -> Package {
    let files = package.files.iter().filter(|f| is_changing(f)).cloned().collect();
    Package { files, depends: Vec::new(), provides: Vec::new(), ..package.clone() }
}

/// The text of a file, its symlinks followed.
pub(crate) fn text_of(tree: &Tree, path: &TreePath) -> Result<Option<String>, ServicesError> {
    let Ok(found) = tree.resolve(path.to_absolute(), true) else { return Ok(None) };
    let content = tree.get(&found.path).and_then(|n| n.content()).filter(|c| c.len() <= TEXT_LIMIT);
    let Some(content) = content else { return Ok(None) };
    let bytes =
        content.read(TEXT_LIMIT).map_err(|source| ServicesError::Content { path: path.clone(), source })?;
    Ok(String::from_utf8(bytes).ok())
}
