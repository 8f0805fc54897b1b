//! Units: what the host's manager finds in a tree. systemd.unit(5).

use std::collections::{BTreeMap, BTreeSet};

use sysext::extension::units::{Directive, parse, template};
use tree::{Tree, TreePath};

use crate::files::text;

/// Where units are, the last one wins. What is made in /run is nobody's file.
const DIRS: [&str; 3] = ["/usr/lib/systemd/system", "/usr/local/lib/systemd/system", "/etc/systemd/system"];
const KINDS: [&str; 11] = [
    ".service",
    ".socket",
    ".target",
    ".timer",
    ".path",
    ".mount",
    ".automount",
    ".swap",
    ".slice",
    ".device",
    ".scope",
];

/// One unit has another one started, or started with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pull {
    /// Who: `multi-user.target`.
    pub(crate) by: String,
    /// How: `Wants`, `Requires`, `Upholds`.
    pub(crate) how: String,
    /// Whom.
    pub(crate) unit: String,
    /// The link or the drop-in that says so.
    pub(crate) path: TreePath,
}

/// A tree's units.
#[derive(Debug, Default)]
pub(crate) struct Units {
    /// The file that counts, by the unit's name; links and all.
    pub(crate) files: BTreeMap<String, TreePath>,
    /// Drop-ins, by the name of the unit, or of the kind of units, to which they belong.
    pub(crate) drop_ins: BTreeMap<String, Vec<TreePath>>,
    /// `.wants` and its like, as links and in drop-ins.
    pub(crate) pulls: Vec<Pull>,
}

impl Units {
    pub(crate) fn of(tree: &Tree) -> Units {
        let mut out = Units::default();
        for dir in DIRS {
            let Ok(dir) = tree.resolve(dir, true) else { continue };
            for (path, node) in tree.children(&dir.path) {
                let name = String::from_utf8_lossy(path.file_name().unwrap_or_default()).into_owned();
                if !node.is_dir() && KINDS.iter().any(|kind| name.ends_with(kind)) {
                    out.files.insert(name, path.clone());
                } else if let Some(unit) = name.strip_suffix(".d") {
                    out.add_drop_ins(tree, path, unit);
                } else if let Some((unit, how)) = linked(&name) {
                    let pull = |(path, _): (&TreePath, _)| Pull {
                        by: unit.to_owned(),
                        how: how.to_owned(),
                        unit: String::from_utf8_lossy(path.file_name().unwrap_or_default()).into_owned(),
                        path: path.clone(),
                    };
                    out.pulls.extend(tree.children(path).map(pull));
                }
            }
        }
        out
    }

    fn add_drop_ins(&mut self, tree: &Tree, dir: &TreePath, unit: &str) {
        // A directory, or a link to one.
        let Ok(dir) = tree.resolve(dir.to_absolute(), true) else { return };
        for (path, _) in tree.children(&dir.path) {
            if !path.file_name().is_some_and(|name| name.ends_with(b".conf")) {
                continue;
            }
            self.drop_ins.entry(unit.to_owned()).or_default().push(path.clone());
            for directive in directives(tree, path) {
                let how = directive.key.as_str();
                if directive.section == "Unit" && matches!(how, "Wants" | "Requires" | "Upholds" | "BindsTo")
                {
                    let pull = |name: String| Pull {
                        by: unit.to_owned(),
                        how: how.to_owned(),
                        unit: name,
                        path: path.clone(),
                    };
                    self.pulls.extend(names(&directive).map(pull));
                }
            }
        }
    }

    /// Whether the manager finds a unit of this name, or makes it itself.
    pub(crate) fn has(&self, name: &str) -> bool {
        const MADE: [&str; 5] = [".device", ".mount", ".scope", ".slice", ".swap"];
        self.files.contains_key(name)
            || name.contains('%')
            || MADE.iter().any(|kind| name.ends_with(kind))
            || template(name).is_some_and(|name| self.files.contains_key(&name))
    }

    /// The lines of a unit, those of its drop-ins behind its own.
    pub(crate) fn directives(&self, tree: &Tree, name: &str) -> Vec<Directive> {
        let mut out = self.files.get(name).map(|path| directives(tree, path)).unwrap_or_default();
        for path in self.drop_ins.get(name).into_iter().flatten() {
            out.extend(directives(tree, path));
        }
        out
    }

    /// The file that such a path is for a unit: its own, or a drop-in.
    pub(crate) fn path(&self, name: &str, is: impl Fn(&TreePath) -> bool) -> Option<&TreePath> {
        let files = self.files.get(name).into_iter();
        files.chain(self.drop_ins.get(name).into_iter().flatten()).find(|path| is(path))
    }

    /// Names of the units that have a file, or a drop-in, from such paths.
    pub(crate) fn with(&self, is: impl Fn(&TreePath) -> bool) -> BTreeSet<&str> {
        let files = self.files.iter().filter(|(_, path)| is(path)).map(|(name, _)| name.as_str());
        let drop_ins = self.drop_ins.iter().filter(|(_, paths)| paths.iter().any(&is));
        files.chain(drop_ins.map(|(name, _)| name.as_str())).collect()
    }
}

/// `multi-user.target.wants`: the unit, and the dependency's name.
fn linked(dir: &str) -> Option<(&str, &'static str)> {
    let kinds = [(".wants", "Wants"), (".requires", "Requires"), (".upholds", "Upholds")];
    kinds.into_iter().find_map(|(ending, how)| Some((dir.strip_suffix(ending)?, how)))
}

/// The lines of a unit's file; none of one that is masked, or that can't be read.
pub(crate) fn directives(tree: &Tree, path: &TreePath) -> Vec<Directive> {
    text(tree, path.to_absolute()).map(|text| parse(&text)).unwrap_or_default()
}

/// The words of a list of units.
pub(crate) fn names(directive: &Directive) -> impl Iterator<Item = String> + use<> {
    let value = String::from_utf8_lossy(&directive.value).into_owned();
    value.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter()
}
