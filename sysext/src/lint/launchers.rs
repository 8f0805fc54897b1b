//! What D-Bus and udev start.

use super::references::Units;
use super::{UNIT_REFERENCE, finding};
use crate::extension::accounts::texts;
use crate::extension::unit_programs::is_launcher;
use crate::extension::units::{parse, words};
use crate::extension::{Finding, program_problem, rule};
use tree::{ContentError, StaticPath, Tree, TreePath, escape};

const DBUS: [StaticPath; 2] =
    [StaticPath::new("/usr/share/dbus-1/system-services"), StaticPath::new("/usr/share/dbus-1/services")];
const RULES: StaticPath = StaticPath::new("/usr/lib/udev/rules.d");

pub(super) fn check(tree: &Tree, units: &Units, out: &mut Vec<Finding>) -> Result<(), ContentError> {
    let mut say = |path: &TreePath, key: &str, program: &[u8]| {
        let problem = program_problem(tree, program).filter(|_| program.starts_with(b"/"));
        if let (Some(problem), Some(rule)) = (problem, rule("unit-exec")) {
            out.push(finding(rule, Some(path.clone()), format!("{key}{}: {problem}", escape(program))));
        }
    };
    let mut missing = Vec::new();
    for dir in DBUS {
        for (path, text) in texts(tree, &dir.path(), is_launcher).map_err(|(_, error)| error)? {
            for d in parse(&text).into_iter().filter(|d| d.section == "D-BUS Service") {
                match d.key.as_str() {
                    "Exec" => words(&d.value).first().into_iter().for_each(|w| say(&path, "Exec=", &w.text)),
                    "SystemdService" if dir == DBUS[0] => missing.push((path.clone(), escape(&d.value))),
                    _ => {}
                }
            }
        }
    }
    for (path, text) in texts(tree, &RULES.path(), is_launcher).map_err(|(_, error)| error)? {
        for (key, program) in text.split(|&b| b == b'\n').flat_map(commands) {
            say(&path, key, program);
        }
    }
    for (path, name) in missing.into_iter().filter(|(_, name)| !units.has(name)) {
        let message =
            format!("SystemdService={name}: the host has to have this unit, which isn't in the extension");
        out.push(finding(&UNIT_REFERENCE, Some(path), message));
    }
    Ok(())
}

/// The programs that a rule starts. udev(7).
fn commands(line: &[u8]) -> Vec<(&'static str, &[u8])> {
    const KEYS: [&str; 6] = ["RUN+=", "RUN=", "RUN{program}+=", "PROGRAM==", "PROGRAM=", "IMPORT{program}="];
    if line.trim_ascii_start().starts_with(b"#") {
        return Vec::new();
    }
    let mut out = Vec::new();
    for key in KEYS {
        let mut rest = line;
        while let Some(at) = rest.windows(key.len()).position(|w| w == key.as_bytes()) {
            rest = &rest[at + key.len()..];
            let Some(value) = rest.strip_prefix(b"\"") else { continue };
            let end = value.iter().position(|b| matches!(b, b' ' | b'"')).unwrap_or(value.len());
            out.push((key, &value[..end]));
        }
    }
    out
}
