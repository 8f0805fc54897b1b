//! What extensions of one set do to each other. Overlayfs shows the file of the upper layer, and systemd-sysext stacks by
//! name.

use std::collections::{BTreeMap, BTreeSet};

use crate::extension::Finding;
use tree::{Kind, Node, Tree, TreePath};

use super::{COLLISION, CONFLICT, SAME_FILE, VERSION_FORM, finding};

/// An extension of a set that is merged together. Several versions of one extension are alternatives.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version, if it is known.
    pub version: Option<&'a str>,
    /// What is in it.
    pub tree: &'a Tree,
    /// Names of extensions that can't be merged beside it.
    pub conflicts: &'a [String],
}

impl Member<'_> {
    /// For people: `docker 27.5.1`.
    fn title(&self) -> String {
        self.version.map_or_else(|| self.name.to_owned(), |version| format!("{} {version}", self.name))
    }

    fn excludes(&self, other: &Member<'_>) -> bool {
        self.conflicts.iter().any(|name| name == other.name)
    }
}

/// What the extensions of a set do to each other: one finding for each pair of versions that can't be merged together, and
/// one for each file that two of the other extensions have in any of their versions.
pub fn collisions(set: &[Member<'_>]) -> Vec<Finding> {
    let versions = set.iter().filter_map(|member| Some((member.name, member.version?)));
    let both = version_forms(versions).into_iter().map(|(name, plain, with_v)| {
        let text = format!(
            "{name} has versions of two forms, {plain} and {with_v}: systemd considers {plain} newer"
        );
        finding(&VERSION_FORM, None, text)
    });
    let mut out: Vec<Finding> = both.collect();
    let mut apart = BTreeSet::new();
    for (i, a) in set.iter().enumerate() {
        for (j, b) in set.iter().enumerate().skip(i + 1) {
            let conflict = a.name != b.name && (a.excludes(b) || b.excludes(a));
            if conflict {
                let text = format!("{} and {} can't be merged together", a.title(), b.title());
                out.push(finding(&CONFLICT, None, text));
            }
            if conflict || a.name == b.name {
                apart.insert((i, j));
            }
        }
    }
    let mut owners: BTreeMap<&TreePath, Vec<(usize, &Node)>> = BTreeMap::new();
    for (i, member) in set.iter().enumerate() {
        for (path, node) in member.tree.iter() {
            owners.entry(path).or_default().push((i, node));
        }
    }
    for (path, all) in owners {
        // Versions aren't named: each pair of extensions counts once.
        let mut named = BTreeSet::new();
        for (n, (i, node)) in all.iter().enumerate() {
            for (j, other) in &all[n + 1..] {
                if (node.is_dir() && other.is_dir()) || apart.contains(&(*i, *j)) {
                    continue;
                }
                let (rule, what) = match same(node, other) {
                    true => (&SAME_FILE, "the same file is"),
                    false => (&COLLISION, "different files are"),
                };
                let (a, b) = (set[*i].name, set[*j].name);
                if named.insert((rule.name, a.min(b), a.max(b))) {
                    out.push(finding(rule, Some(path.clone()), format!("{what} in {a} and {b}")));
                }
            }
        }
    }
    out
}

/// Extensions that have versions with and without a `v`: name, a version without, and one with it. `versions` are names and
/// versions of extensions.
pub fn version_forms<'a>(
    versions: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<(&'a str, &'a str, &'a str)> {
    let mut forms: BTreeMap<&str, [Option<&str>; 2]> = BTreeMap::new();
    for (name, version) in versions {
        let digits = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let form = match version.strip_prefix('v') {
            Some(rest) if digits(rest) => 1,
            None if digits(version) => 0,
            _ => continue,
        };
        forms.entry(name).or_default()[form].get_or_insert(version);
    }
    forms.into_iter().filter_map(|(name, [plain, with_v])| Some((name, plain?, with_v?))).collect()
}

fn same(a: &Node, b: &Node) -> bool {
    match (&a.kind, &b.kind) {
        (Kind::File(x), Kind::File(y)) => a.meta.mode == b.meta.mode && x.has_same_bytes(y),
        (Kind::Symlink(x), Kind::Symlink(y)) => x == y,
        _ => false,
    }
}
