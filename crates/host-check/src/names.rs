//! Programs that are scripts without an interpreter, and names on D-Bus that lead nowhere.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use sysext::extension::units::{Directive, parse};
use tree::{StaticPath, Tree, TreePath, escape};

use crate::files::{file, text};
use crate::layer::Layer;
use crate::overlay::{Merged, Owner};
use crate::rules::{DBUS_NAME, INTERPRETER};
use crate::services::no_interpreter;
use crate::units::Units;
use crate::{Finding, Severity};

/// Whose programs are started by their names.
const PROGRAMS: [StaticPath; 2] = [StaticPath::new("/usr/bin"), StaticPath::new("/usr/sbin")];
/// What the bus starts when a name is asked for. D-Bus specification, "Message Bus Starting Services".
const ACTIVATED: StaticPath = StaticPath::new("/usr/share/dbus-1/system-services");
/// Who may have which name. dbus-daemon(1).
const POLICIES: [&str; 4] = [
    "/usr/share/dbus-1/system.conf",
    "/usr/share/dbus-1/system.d",
    "/etc/dbus-1/system.conf",
    "/etc/dbus-1/system.d",
];

pub(crate) fn findings(merged: &Merged, units: &Units, layers: &[Layer<'_>]) -> Vec<Finding> {
    let mut out = Vec::new();
    let policies = OnceCell::new();
    for (i, layer) in layers.iter().enumerate() {
        let own = |path: &TreePath| merged.owner(path) == Owner::Extension(i);
        interpreters(merged, layer, &own, &mut out);
        activated(merged, units, layer, &own, &mut out);
        let may_own = |name: &str| policies.get_or_init(|| Policies::of(&merged.tree)).allow(name);
        owned(layer, &own, &may_own, &mut out);
    }
    out
}

fn interpreters(merged: &Merged, layer: &Layer<'_>, own: &dyn Fn(&TreePath) -> bool, out: &mut Vec<Finding>) {
    let name = Some(layer.name.as_str());
    for (path, node) in PROGRAMS.iter().flat_map(|dir| layer.tree.children(&dir.path())) {
        if !own(path) || node.meta.mode & 0o111 == 0 {
            continue;
        }
        if let Some(missing) = no_interpreter(&merged.tree, node) {
            let message = format!("is a script for {missing}, which isn't there");
            out.push(INTERPRETER.finding(name, Some(path), message));
        }
    }
}

/// Files by which the bus starts something.
fn activated(
    merged: &Merged,
    units: &Units,
    layer: &Layer<'_>,
    own: &dyn Fn(&TreePath) -> bool,
    out: &mut Vec<Finding>,
) {
    for (path, _) in layer.tree.children(&ACTIVATED.path()).filter(|(path, _)| own(path)) {
        let lines = text(&merged.tree, path.to_absolute()).map(|text| parse(&text)).unwrap_or_default();
        let value = |key: &str| {
            let found = lines.iter().rfind(|d| d.section == "D-BUS Service" && d.key == key)?;
            Some(String::from_utf8_lossy(&found.value).into_owned())
        };
        let bus_name = value("Name").unwrap_or_default();
        let problem = match (value("SystemdService"), value("Exec")) {
            (Some(unit), _) if !units.has(&unit) => format!("{unit}, and there is no such unit"),
            (None, Some(line)) => {
                let program = line.split_whitespace().next().unwrap_or_default();
                if !program.starts_with('/') || file(&merged.tree, program).is_some() {
                    continue;
                }
                format!("{program}, and there is no such program")
            }
            _ => continue,
        };
        let message = format!("{bus_name} is to start {problem}");
        out.push(DBUS_NAME.finding(Some(layer.name.as_str()), Some(path), message));
    }
}

/// Services that own a name.
fn owned(
    layer: &Layer<'_>,
    own: &dyn Fn(&TreePath) -> bool,
    may_own: &dyn Fn(&str) -> bool,
    out: &mut Vec<Finding>,
) {
    let units = Units::of(layer.tree);
    for (unit, path) in units.files.iter().filter(|(_, path)| own(path)) {
        let lines = units.directives(layer.tree, unit);
        let of_service = |key: &str| -> Option<&Directive> {
            lines.iter().rfind(|d| d.section == "Service" && d.key == key)
        };
        let Some(line) = of_service("BusName") else { continue };
        let bus_name = escape(&line.value);
        if bus_name.is_empty() || bus_name.contains('%') || may_own(&bus_name) {
            continue;
        }
        let waits = of_service("Type").is_none_or(|d| d.value == b"dbus");
        let message = format!("no policy of D-Bus lets it have its BusName={bus_name}");
        let severity = if waits { Severity::Error } else { Severity::Warning };
        out.push(DBUS_NAME.finding(Some(layer.name.as_str()), Some(path), message).with(severity));
    }
}

/// The names that any policy lets anybody own. By whom is left to the bus.
#[derive(Default)]
struct Policies {
    names: BTreeSet<String>,
    /// A name and all below it.
    prefixes: BTreeSet<String>,
}

impl Policies {
    fn of(tree: &Tree) -> Policies {
        let mut out = Policies::default();
        for place in POLICIES {
            let Ok(found) = tree.resolve(place, true) else { continue };
            let is_file = tree.get(&found.path).is_some_and(|node| !node.is_dir());
            let below = tree.children(&found.path).map(|(path, _)| path.clone()).collect::<Vec<_>>();
            for path in if is_file { vec![found.path] } else { below } {
                out.add(&text(tree, path.to_absolute()).unwrap_or_default());
            }
        }
        out
    }

    fn add(&mut self, text: &[u8]) {
        // system.conf denies everything to everybody first.
        for allow in String::from_utf8_lossy(text).split("<allow").skip(1) {
            let allow = allow.split('>').next().unwrap_or_default();
            self.names.extend(value(allow, "own").map(str::to_owned));
            self.prefixes.extend(value(allow, "own_prefix").map(str::to_owned));
        }
    }

    fn allow(&self, name: &str) -> bool {
        let dots = name.match_indices('.').map(|(at, _)| &name[..at]);
        self.names.contains("*")
            || self.names.contains(name)
            || dots.chain([name]).any(|prefix| self.prefixes.contains(prefix))
    }
}

/// The value of an element's attribute.
fn value<'t>(element: &'t str, attribute: &str) -> Option<&'t str> {
    let (_, rest) = element.split_once(&format!("{attribute}="))?;
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    rest[1..].split(quote).next()
}
