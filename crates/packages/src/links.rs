//! Files that belong to a package although no package lists them: files that its scripts make in a folder of its own (an
//! index of plugins), and symlinks that lead to a file of the package. These are the links of update-alternatives(1), which
//! have the names that people know (`/usr/bin/vim`), and those that scripts make in the folders of programs.

use std::collections::{BTreeMap, BTreeSet};

use tree::{StaticPath, Tree, TreePath};

use crate::DatabaseError;
use crate::budget::Budget;

/// Where alternatives are recorded, one file each: Debian's, and that of chkconfig.
const RECORDS: [&str; 3] =
    ["/var/lib/dpkg/alternatives", "/var/lib/alternatives", "/var/lib/rpm/alternatives"];

const PROGRAMS: [&str; 7] =
    ["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/usr/games"];

/// Bytes. More than the record of any alternative has.
const RECORD_LIMIT: u64 = 1 << 20;

/// The links, and the package that each leads to, by its place among the packages.
pub(crate) fn links(
    tree: &Tree,
    owners: &BTreeMap<TreePath, usize>,
    budget: &mut Budget,
) -> Result<BTreeMap<TreePath, usize>, DatabaseError> {
    let mut links = BTreeSet::new();
    for dir in RECORDS.iter().filter_map(|d| tree.resolve(d, true).ok()) {
        for (_, node) in tree.children(&dir.path) {
            let Some(content) = node.content().filter(|c| c.len() <= RECORD_LIMIT) else { continue };
            budget.bytes(content.len() as usize)?;
            let Ok(text) = content.read(RECORD_LIMIT) else { continue };
            // Names of links and of what they may lead to stand on lines of their own; only the former are links now.
            for line in text.split(|&b| b == b'\n').filter(|l| l.starts_with(b"/")) {
                if let Some(found) = budget.resolve(tree, line, false)? {
                    budget.path(&found.path)?;
                    links.insert(found.path);
                }
            }
        }
    }
    for dir in PROGRAMS.iter().filter_map(|d| tree.resolve(d, true).ok()) {
        links.extend(tree.children(&dir.path).map(|(path, _)| path.clone()));
    }
    let mut out = BTreeMap::new();
    for link in links {
        let is_link = tree.get(&link).is_some_and(|n| n.symlink_target().is_some());
        if owners.contains_key(&link) || !is_link {
            continue;
        }
        let found = budget.resolve(tree, link.to_absolute(), true)?;
        if let Some(owner) = found.and_then(|found| owners.get(&found.path)) {
            out.insert(link, *owner);
        }
    }
    Ok(out)
}

/// A folder with files of this many packages or more is shared.
const SHARED: usize = 4;

/// Folders whose files are those of many packages are nearer to the root than this: /usr/share/x.
const OWN_DEPTH: usize = 3;

const USR: StaticPath = StaticPath::new("/usr");

/// Unlisted files in a folder where one package, or a few, have files. They belong to the package with most files there. Python bytecode is excluded: it isn't needed and doubles the size.
pub(crate) fn generated(tree: &Tree, owners: &BTreeMap<TreePath, usize>) -> BTreeMap<TreePath, usize> {
    let mut folders: BTreeMap<TreePath, BTreeMap<usize, usize>> = BTreeMap::new();
    for (file, &owner) in owners {
        let Some(dir) = file.parent().filter(|d| d.depth() >= OWN_DEPTH) else { continue };
        *folders.entry(dir).or_default().entry(owner).or_default() += 1;
    }
    let maker = |files: &BTreeMap<usize, usize>| {
        if files.len() >= SHARED {
            return None;
        }
        let most = files.iter().max_by_key(|(index, count)| (**count, std::cmp::Reverse(**index)));
        most.map(|(index, _)| *index)
    };
    let mut out = BTreeMap::new();
    // The folders on the way to a path, and whose each is: if none of its files is listed, that of the one above.
    let mut above: Vec<(&TreePath, Option<usize>)> = Vec::new();
    for (path, node) in tree.subtree(&USR.path()) {
        while above.last().is_some_and(|(dir, _)| !path.starts_with(dir)) {
            above.pop();
        }
        let owner = above.last().and_then(|(_, owner)| *owner);
        if node.is_dir() {
            above.push((path, folders.get(path).map_or(owner, maker)));
        } else if let Some(owner) = owner
            && !owners.contains_key(path)
            && !path.components().any(|c| c == b"__pycache__")
        {
            out.insert(path.clone(), owner);
        }
    }
    out
}
