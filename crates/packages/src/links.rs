//! Symlinks that no package lists, and that lead to a file of one: those of update-alternatives(1), which have the names
//! that people know (`/usr/bin/vim`), and those that scripts of packages make in the folders of programs.

use std::collections::{BTreeMap, BTreeSet};

use tree::{Tree, TreePath};

/// Where alternatives are recorded, one file each: Debian's, and that of chkconfig.
const RECORDS: [&str; 3] =
    ["/var/lib/dpkg/alternatives", "/var/lib/alternatives", "/var/lib/rpm/alternatives"];

const PROGRAMS: [&str; 6] = ["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// Bytes. More than the record of any alternative has.
const RECORD_LIMIT: u64 = 1 << 20;

/// The links, and the package that each leads to, by its place among the packages.
pub(crate) fn unowned(tree: &Tree, owners: &BTreeMap<TreePath, usize>) -> BTreeMap<TreePath, usize> {
    let mut links = BTreeSet::new();
    for dir in RECORDS.iter().filter_map(|d| tree.resolve(d, true).ok()) {
        for (_, node) in tree.children(&dir.path) {
            let Some(text) = node.content().and_then(|c| c.read(RECORD_LIMIT).ok()) else { continue };
            // Names of links and of what they may lead to stand on lines of their own; only the former are links now.
            for line in text.split(|&b| b == b'\n').filter(|l| l.starts_with(b"/")) {
                links.extend(tree.resolve(line, false).ok().map(|r| r.path));
            }
        }
    }
    for dir in PROGRAMS.iter().filter_map(|d| tree.resolve(d, true).ok()) {
        links.extend(tree.children(&dir.path).map(|(path, _)| path.clone()));
    }
    let owner = |link: TreePath| {
        if owners.contains_key(&link) || tree.get(&link)?.symlink_target().is_none() {
            return None;
        }
        let real = tree.resolve(link.to_absolute(), true).ok()?.path;
        Some((link, *owners.get(&real)?))
    };
    links.into_iter().filter_map(owner).collect()
}
