//! Units that start by themselves.

use sysext::ExtensionName;
use sysext::extension::units::{parse, words};
use tree::{Meta, Node, Tree, TreeError, TreePath};

use crate::inventory::TEXT_LIMIT;
use crate::places::UNITS;

/// Why a unit can't be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum StartError {
    /// Not of the form of a unit's name.
    #[error("unit {0:?} is invalid, expected a name such as \"x.service\"")]
    Name(String),
    #[error("unit {unit} is not in the extension")]
    Missing {
        unit: String,
        /// The units that are.
        units: Vec<String>,
    },
    /// A template without an instance.
    #[error("unit {0} is a template, expected an instance such as \"x@1.service\"")]
    Template(String),
    #[error("extension: {0}")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Path(#[from] tree::PathError),
}

/// The targets that systems start, and which units of the extension are started with when theirs isn't among them.
const TARGETS: [(&str, &str); 4] = [
    (".socket", "sockets.target"),
    (".timer", "timers.target"),
    (".path", "paths.target"),
    ("", "multi-user.target"),
];

/// The units of the system's manager in an extension that something could start: no drop-ins, no targets.
pub fn units(extension: &Tree) -> Vec<String> {
    let names = extension.children(&UNITS.path()).filter(|(_, n)| !n.is_dir());
    let names = names.filter_map(|(p, _)| String::from_utf8(p.file_name()?.to_vec()).ok());
    let starts = [".service", ".socket", ".timer", ".path", ".mount"];
    names.filter(|n| starts.iter().any(|end| n.ends_with(end))).collect()
}

/// Units that are enabled with others, at most.
const ALSO_LIMIT: usize = 100;

/// Lets a unit of the extension, or an instance of a template of it, start by itself, as `systemctl enable` does: it, and
/// the units of the extension that `Also=` names, get a drop-in with `Upholds=` for the target that the `[Install]` section
/// names, if every system starts that, else for the usual one of its kind. `Alias=` becomes a symlink. systemd.unit(5).
///
/// # Errors
/// The extension has no such unit.
pub fn enable(extension: &mut Tree, name: &ExtensionName, unit: &str) -> Result<Vec<Enabled>, StartError> {
    check(extension, unit).map_err(|error| match error {
        // What is generated isn't the user's to enable.
        StartError::Missing { unit, mut units } => {
            units.retain(|unit| *unit != format!("{name}-setup.service"));
            StartError::Missing { unit, units }
        }
        other => other,
    })?;
    let mut out: Vec<Enabled> = Vec::new();
    let mut todo = vec![unit.to_owned()];
    while let Some(unit) = todo.pop() {
        if out.len() >= ALSO_LIMIT || out.iter().any(|one| one.unit == unit) {
            continue;
        }
        let file = file_of(&unit)?;
        uphold(extension, name, &unit, &file)?;
        let also = installed(extension, &file, &["Also"]);
        todo.extend(also.into_iter().filter(|also| check(extension, also).is_ok()));
        let aliases = alias(extension, &unit, &file)?;
        out.push(Enabled { unit, aliases });
    }
    Ok(out)
}

/// A unit that starts by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enabled {
    /// Its name.
    pub unit: String,
    /// Its further names.
    pub aliases: Vec<String>,
}

/// The file of a unit, or of its template.
fn file_of(unit: &str) -> Result<TreePath, tree::PathError> {
    UNITS.path().join(template_of(unit).as_deref().unwrap_or(unit))
}

/// Adds symlinks for the further names of a unit that has no instances. One that the extension has already stays.
fn alias(extension: &mut Tree, unit: &str, file: &TreePath) -> Result<Vec<String>, StartError> {
    let mut out = Vec::new();
    let kind = unit.rsplit_once('.').map(|(_, kind)| kind);
    for alias in installed(extension, file, &["Alias"]) {
        let is_usable =
            is_name(&alias) && !unit.contains('@') && alias.rsplit_once('.').map(|(_, kind)| kind) == kind;
        let path = UNITS.path().join(&alias);
        let (true, Ok(path)) = (is_usable && alias != unit, path) else { continue };
        if !extension.contains(&path) {
            extension.insert_all(path, Node::symlink(unit), &Meta::dir())?;
            out.push(alias);
        }
    }
    Ok(out)
}

/// Adds the drop-in for one unit.
fn uphold(extension: &mut Tree, name: &ExtensionName, unit: &str, file: &TreePath) -> Result<(), StartError> {
    let usual = TARGETS.iter().find(|(end, _)| unit.ends_with(end)).map_or("multi-user.target", |(_, t)| t);
    let wanted = installed(extension, file, &["WantedBy", "RequiredBy", "UpheldBy"]);
    let target = TARGETS.iter().map(|(_, t)| *t).find(|t| wanted.iter().any(|w| w == t)).unwrap_or(usual);
    let drop_in: String =
        unit.chars().map(|c| if c.is_ascii_alphanumeric() || "_@".contains(c) { c } else { '-' }).collect();
    let path = UNITS.path().join(format!("{target}.d/10-{name}-{drop_in}.conf"))?;
    let text = format!("[Unit]\nUpholds={unit}\n");
    Ok(extension.insert_all(path, Node::file(0o644, text), &Meta::dir())?)
}

/// Checks that a unit is in the extension, or that its template is.
fn check(extension: &Tree, unit: &str) -> Result<(), StartError> {
    if !is_name(unit) {
        return Err(StartError::Name(unit.to_owned()));
    }
    if unit.contains("@.") {
        return Err(StartError::Template(unit.to_owned()));
    }
    let has = |name: &str| UNITS.path().join(name).is_ok_and(|p| extension.contains(&p));
    if has(unit) || template_of(unit).is_some_and(|t| has(&t)) {
        return Ok(());
    }
    Err(StartError::Missing { unit: unit.to_owned(), units: units(extension) })
}

/// Whether it has the form of a unit's name.
fn is_name(unit: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    unit.contains('.') && !unit.starts_with('.') && unit.chars().all(is_part)
}

/// `a@.service` for `a@1.service`.
fn template_of(unit: &str) -> Option<String> {
    let (prefix, rest) = unit.split_once('@')?;
    let (_, kind) = rest.rsplit_once('.')?;
    Some(format!("{prefix}@.{kind}"))
}

/// The words of settings of a unit's `[Install]` section.
fn installed(extension: &Tree, file: &TreePath, keys: &[&str]) -> Vec<String> {
    let found = extension.resolve(file.to_absolute(), true).ok();
    let content = found.and_then(|f| extension.get(&f.path)?.content().cloned());
    let Some(Ok(text)) = content.map(|c| c.read(TEXT_LIMIT)) else { return Vec::new() };
    let directives = parse(&text);
    let wanted = directives.iter().filter(|d| d.section == "Install" && keys.contains(&d.key.as_str()));
    wanted.flat_map(|d| words(&d.value)).filter_map(|w| String::from_utf8(w.text).ok()).collect()
}
