//! Scripts that a package manager runs when it installs a package.

use tree::{Tree, TreePath};

use crate::{Database, Manager, Package};

const DPKG: &str = "/var/lib/dpkg/info";

impl Database {
    /// The scripts of a package that are files of the tree: dpkg's that run when it is installed and configured. Other
    /// managers keep theirs in archives.
    pub fn scripts(&self, tree: &Tree, package: &Package) -> Vec<TreePath> {
        if self.manager() != Manager::Dpkg {
            return Vec::new();
        }
        let (name, architecture) = package.key();
        let names = [name.to_owned(), format!("{name}:{architecture}")];
        let scripts =
            names.iter().flat_map(|n| ["preinst", "postinst"].map(|end| format!("{DPKG}/{n}.{end}")));
        scripts.filter_map(|path| TreePath::new(path).ok()).filter(|path| tree.contains(path)).collect()
    }
}
