//! Directories in /var and files in /etc that units need, and what makes them.

use std::collections::BTreeSet;

use super::{STATE, configuration, finding};
use crate::extension::unit_programs::{UNIT_LIMIT, is_unit};
use crate::extension::units::{Directive, parse, words};
use crate::extension::{Finding, program_problem};
use tree::{ContentError, StaticPath, Tree, TreePath};

const UNITS: StaticPath = StaticPath::new("/usr/lib/systemd/system");
const TMPFILES: StaticPath = StaticPath::new("/usr/lib/tmpfiles.d");

/// What every host has there, or makes itself.
const HOSTS: [&str; 24] = [
    "/etc/hostname",
    "/etc/hosts",
    "/etc/localtime",
    "/etc/machine-id",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/group",
    "/etc/resolv.conf",
    "/etc/shadow",
    "/etc/ssl",
    "/etc/systemd",
    "/srv",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/lib/systemd",
    "/var/log",
    "/var/log/journal",
    "/var/run",
    "/var/spool",
    "/var/tmp",
    "/etc/pki",
    "/etc/environment",
];

/// One path that a unit can't do without.
struct Need {
    path: TreePath,
    key: String,
    line: usize,
}

/// Finds what units need and nothing in the extension makes.
pub(super) fn check(tree: &Tree, out: &mut Vec<Finding>) -> Result<(), ContentError> {
    let made = made(tree)?;
    for (path, node) in tree.subtree(&UNITS.path()).filter(|(p, _)| is_unit(p)) {
        let Some(content) = node.content().filter(|c| c.len() <= UNIT_LIMIT) else { continue };
        let directives = parse(&content.read(UNIT_LIMIT)?);
        let own = own(&directives);
        let mut seen = BTreeSet::new();
        for need in needs(&directives) {
            let text = need.path.to_absolute();
            if need.path.starts_with(&USR.path()) || need.path.starts_with(&OPT.path()) {
                if lacks(tree, &need) && seen.insert(need.path.clone()) {
                    let message = format!(
                        "{} (line {}): the host has to have {}, which isn't in the extension",
                        need.key, need.line, need.path
                    );
                    out.push(finding(&STATE, Some(path.clone()), message));
                }
                continue;
            }
            let is_hosts = HOSTS.iter().any(|h| h.as_bytes() == text) || text.starts_with(b"/etc/ssl/");
            // What is below a directory that is copied as a whole, or above something that is made, is there, too.
            let is_made = made
                .iter()
                .any(|m| m.path.starts_with(&need.path) || (m.whole && need.path.starts_with(&m.path)));
            let is_own = own.iter().any(|o| o.starts_with(&need.path) || need.path.starts_with(o));
            if is_hosts || is_made || is_own || !seen.insert(need.path.clone()) {
                continue;
            }
            let message = format!(
                "{} (line {}): the host has to have {}, which nothing in the extension makes",
                need.key, need.line, need.path
            );
            out.push(finding(&STATE, Some(path.clone()), message));
        }
    }
    Ok(())
}

const USR: StaticPath = StaticPath::new("/usr");
const OPT: StaticPath = StaticPath::new("/opt");

/// Whether a file of the extension isn't there. An argument of a command may name one of the host's: it counts if the
/// extension has its directory, and no host does.
fn lacks(tree: &Tree, need: &Need) -> bool {
    let absolute = need.path.to_absolute();
    let is_own = || {
        let parent = need.path.parent().filter(|parent| parent.depth() > 2);
        parent.is_some_and(|parent| {
            tree.get(&parent).is_some_and(tree::Node::is_dir) && !UNITS.path().starts_with(&parent)
        })
    };
    tree.resolve(&absolute, true).is_err()
        && (need.key != "ExecStart" || is_own())
        && !(need.key.starts_with("Condition") && program_problem(tree, &absolute).is_none())
}

/// The last assignments hold, and an empty one takes those before it back. systemd.exec(5), systemd.unit(5).
fn needs(directives: &[Directive]) -> Vec<Need> {
    let mut out: Vec<Need> = Vec::new();
    for d in directives {
        if d.value.is_empty() {
            out.retain(|need| need.key != d.key);
            continue;
        }
        let found = words(&d.value).into_iter().map(|w| w.text);
        let paths: Vec<Vec<u8>> = match (d.section.as_str(), d.key.as_str()) {
            // `-`: may be missing.
            ("Service", "EnvironmentFile" | "WorkingDirectory") => vec![d.value.clone()],
            (
                "Service",
                "ReadWritePaths" | "ReadOnlyPaths" | "ReadWriteDirectories" | "ReadOnlyDirectories",
            ) => found.map(|w| w.strip_prefix(b"+").map_or(w.clone(), <[u8]>::to_vec)).collect(),
            ("Service", "BindPaths" | "BindReadOnlyPaths") => {
                found.filter_map(|w| w.split(|&b| b == b':').next().map(<[u8]>::to_vec)).collect()
            }
            // Without `!` (must be missing) and `|` (one of several is enough).
            (
                "Unit",
                "ConditionPathExists"
                | "AssertPathExists"
                | "ConditionPathIsDirectory"
                | "ConditionFileIsExecutable"
                | "ConditionFileNotEmpty",
            ) => vec![d.value.clone()],
            ("Service", "LoadCredential" | "LoadCredentialEncrypted") => {
                d.value.split(|&b| b == b':').nth(1).map(<[u8]>::to_vec).into_iter().collect()
            }
            ("Service", "ExecStart") => found.skip(1).filter_map(|w| argument(&w)).collect(),
            _ => continue,
        };
        for path in paths {
            let is_plain = path.starts_with(b"/") && !path.iter().any(|b| b"%$*?[".contains(b));
            let Some(path) = Some(path).filter(|_| is_plain).and_then(|p| TreePath::new(p).ok()) else {
                continue;
            };
            let top = path.components().next();
            let is_in_image = matches!(top, Some(b"usr" | b"opt")) && !READ_WRITE.contains(&d.key.as_str());
            let is_on_host = matches!(top, Some(b"etc" | b"srv" | b"var")) && !path.starts_with(&RUN.path());
            if is_on_host || is_in_image {
                out.push(Need { path, key: d.key.clone(), line: d.line });
            }
        }
    }
    out
}

/// Settings of the unit's own view of the host's directories.
const READ_WRITE: [&str; 6] = [
    "ReadWritePaths",
    "ReadOnlyPaths",
    "ReadWriteDirectories",
    "ReadOnlyDirectories",
    "BindPaths",
    "BindReadOnlyPaths",
];
const RUN: StaticPath = StaticPath::new("/var/run");

/// A file of /etc that is an argument, or an option's value: `/etc/x`, `--config=/etc/x`. What is in /var may be made by the
/// program.
fn argument(word: &[u8]) -> Option<Vec<u8>> {
    let value = match word.iter().position(|&b| b == b'=') {
        Some(at) if word.starts_with(b"-") => &word[at + 1..],
        _ => word,
    };
    [&b"/etc/"[..], b"/usr/", b"/opt/"].iter().any(|top| value.starts_with(top)).then(|| value.to_vec())
}

/// Directories that systemd makes for the unit, and paths that its own commands before the start name.
fn own(directives: &[Directive]) -> Vec<TreePath> {
    let mut out = Vec::new();
    for d in directives.iter().filter(|d| d.section == "Service") {
        let base = match d.key.as_str() {
            "StateDirectory" => "/var/lib",
            "CacheDirectory" => "/var/cache",
            "LogsDirectory" => "/var/log",
            "ConfigurationDirectory" => "/etc",
            "ExecStartPre" => {
                let paths = words(&d.value).into_iter().filter(|w| w.text.starts_with(b"/"));
                out.extend(paths.skip(1).filter_map(|w| TreePath::new(w.text).ok()));
                continue;
            }
            _ => continue,
        };
        for word in words(&d.value) {
            let name = word.text.split(|&b| b == b':').next().unwrap_or_default().to_vec();
            out.extend(TreePath::new(base).and_then(|b| b.join(name)).ok());
        }
    }
    out
}

/// A path that tmpfiles.d makes.
struct Made {
    path: TreePath,
    /// With what is below it.
    whole: bool,
}

/// tmpfiles.d(5).
fn made(tree: &Tree) -> Result<Vec<Made>, ContentError> {
    let mut out = Vec::new();
    for (_, text) in configuration(tree, TMPFILES)? {
        for line in text.split(|&b| b == b'\n') {
            let mut columns = words(line.trim_ascii()).into_iter();
            let (Some(kind), Some(path)) = (columns.next(), columns.next()) else { continue };
            let whole = matches!(kind.text.first(), Some(b'C' | b'L'));
            if matches!(kind.text.first(), Some(b'C' | b'L' | b'd' | b'D' | b'f' | b'F' | b'v' | b'q' | b'Q'))
            {
                out.extend(TreePath::new(path.text).ok().map(|path| Made { path, whole }));
            }
        }
    }
    Ok(out)
}
