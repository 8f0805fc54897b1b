//! Files that no package lists and that belong to one all the same: those that its scripts make in a folder of its own
//! (an index of plugins), and symlinks that lead to a file of one: those of update-alternatives(1), which have the names
//! that people know (`/usr/bin/vim`), and those that scripts of packages make in the folders of programs.

use std::collections::{BTreeMap, BTreeSet};

use tree::{StaticPath, Tree, TreePath};

use crate::DatabaseError;
use crate::budget::Budget;

/// Where alternatives are recorded, one file each: Debian's, and that of chkconfig.
const RECORDS: [&str; 3] =
    ["/var/lib/dpkg/alternatives", "/var/lib/alternatives", "/var/lib/rpm/alternatives"];

const PROGRAMS: [&str; 6] = ["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];

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

/// A folder with files of more packages than this is nobody's own.
const SHARED: usize = 4;

/// Folders whose files are those of many packages are nearer to the root than this: /usr/share/x.
const OWN_DEPTH: usize = 3;

const USR: StaticPath = StaticPath::new("/usr");

/// Files that stand in the folder of a package, or of a few, and that none of them lists: the package that has most files
/// there made them. Bytecode of Python is none of them: it doubles what it is made of, and isn't needed.
pub(crate) fn generated(tree: &Tree, owners: &BTreeMap<TreePath, usize>) -> BTreeMap<TreePath, usize> {
    let mut folders: BTreeMap<TreePath, BTreeMap<usize, usize>> = BTreeMap::new();
    for (file, &owner) in owners {
        let Some(dir) = file.parent().filter(|d| d.depth() >= OWN_DEPTH) else { continue };
        *folders.entry(dir).or_default().entry(owner).or_default() += 1;
    }
    let owner_of = |dir: &TreePath| {
        let mut dir = dir.clone();
        while dir.depth() >= OWN_DEPTH {
            if let Some(all) = folders.get(&dir) {
                let most = all.iter().max_by_key(|(index, count)| (**count, std::cmp::Reverse(**index)));
                return most.filter(|_| all.len() < SHARED).map(|(index, _)| *index);
            }
            dir = dir.parent()?;
        }
        None
    };
    let mut out = BTreeMap::new();
    let mut last: Option<(TreePath, Option<usize>)> = None;
    for (path, node) in tree.subtree(&USR.path()) {
        if node.is_dir() || owners.contains_key(path) || path.components().any(|c| c == b"__pycache__") {
            continue;
        }
        let Some(dir) = path.parent() else { continue };
        let owner = match &last {
            Some((known, owner)) if *known == dir => *owner,
            _ => owner_of(&dir),
        };
        last = Some((dir, owner));
        if let Some(owner) = owner {
            out.insert(path.clone(), owner);
        }
    }
    out
}
