//! Units, checked by systemd itself: `systemd-analyze verify` in a root that has nothing but them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::extension::units::parse;
use crate::extension::{Finding, unit_programs};
use tree::{Tree, TreePath};

use super::{UNIT_SYNTAX, finding};

const SYSTEM: &str = "usr/lib/systemd/system";
/// Bytes. As in the rules for trees.
const UNIT_MAX: u64 = 1 << 20;
/// What every unit depends on without saying so. systemd.special(7).
const ALWAYS: [&str; 8] = [
    "sysinit.target",
    "basic.target",
    "shutdown.target",
    "sockets.target",
    "timers.target",
    "paths.target",
    "multi-user.target",
    "local-fs.target",
];

/// What systemd-analyze says of the system's units of a tree.
///
/// # Errors
/// It isn't installed, or the units can't be laid out for it.
pub fn units(tree: &Tree) -> io::Result<Vec<Finding>> {
    let mut names = BTreeSet::new();
    let mut named = BTreeSet::new();
    let mut files = Vec::new();
    for (path, node) in tree.iter() {
        let Some(content) = node.content().filter(|c| c.len() <= UNIT_MAX && unit_programs::is_unit(path))
        else {
            continue;
        };
        let text = content.read(UNIT_MAX).map_err(io::Error::other)?;
        let Some(rest) = TreePath::new(SYSTEM)
            .ok()
            .and_then(|d| Some(String::from_utf8_lossy(path.strip_prefix(&d)?).into_owned()))
        else {
            continue;
        };
        match rest.split_once('/') {
            None => drop(names.insert(rest.clone())),
            // Of a unit that may be the host's.
            Some((dir, _)) => named.extend(dir.strip_suffix(".d").map(str::to_owned)),
        }
        mentioned(&text, &mut named);
        files.push((rest, text));
    }
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let root = tempfile::Builder::new().prefix("bakery-units-").tempdir()?;
    let dir = root.path().join(SYSTEM);
    for (rest, text) in &files {
        write(&dir.join(rest), text)?;
    }
    named.extend(ALWAYS.map(str::to_owned));
    for name in named.difference(&names) {
        write(&dir.join(name), stand_in(name).as_bytes())?;
    }
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", "--generators=no"]).arg(format!("--root={}", root.path().display()));
    // Names of units may start with a dash: `-.mount`.
    command.arg("--");
    // A template is no unit without an instance.
    command.args(names.iter().map(|n| n.replacen("@.", "@lint.", 1)));
    command.args(
        named.difference(&names).filter(|n| files.iter().any(|(f, _)| f.starts_with(&format!("{n}.d/")))),
    );
    command.env("LC_ALL", "C").env("SYSTEMD_LOG_LEVEL", "warning").env("SYSTEMD_LOG_TARGET", "console");
    let output = command.stdin(Stdio::null()).output().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => io::Error::new(e.kind(), "systemd-analyze isn't installed"),
        _ => e,
    })?;
    Ok(told(&String::from_utf8_lossy(&output.stderr), root.path(), tree))
}

/// The units that a unit names.
fn mentioned(text: &[u8], out: &mut BTreeSet<String>) {
    for directive in parse(text) {
        let relation = matches!(
            directive.key.as_str(),
            "Requires"
                | "Requisite"
                | "Wants"
                | "BindsTo"
                | "PartOf"
                | "Upholds"
                | "After"
                | "Before"
                | "Conflicts"
                | "OnFailure"
                | "Unit"
                | "Sockets"
                | "Slice"
        );
        if relation {
            let value = String::from_utf8_lossy(&directive.value).into_owned();
            let plain =
                |w: &&str| w.contains('.') && !w.contains(['/', '%', '@']) && !w.starts_with(['.', '-']);
            out.extend(value.split_whitespace().filter(plain).map(str::to_owned));
        }
    }
}

/// A unit of the host's, as far as others can depend on it.
fn stand_in(name: &str) -> String {
    let unit = "[Unit]\nDefaultDependencies=no\n";
    let of_kind = match name.rsplit('.').next() {
        Some("service") => "[Service]\nType=oneshot\nExecStart=/bin/true\n",
        Some("socket") => "[Socket]\nListenStream=/run/x\n",
        Some("timer") => "[Timer]\nOnBootSec=1\n",
        Some("path") => "[Path]\nPathExists=/x\n",
        Some("mount") => "[Mount]\nWhat=none\nWhere=/x\n",
        _ => "",
    };
    format!("{unit}{of_kind}")
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

/// The lines that are about the extension.
fn told(text: &str, root: &Path, tree: &Tree) -> Vec<Finding> {
    let root = root.to_string_lossy();
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        // The root has no programs at all; rules of this crate know which are missing, and the files that mask or that are no links.
        let known = ["is not executable", "is masked.", "is not a symlink, ignoring."];
        if known.iter().any(|k| line.contains(k)) || !seen.insert(line) {
            continue;
        }
        let short = line.replace(root.as_ref(), "");
        // `PATH:LINE: MESSAGE`, or `UNIT: MESSAGE`.
        let (place, message) = short.split_once(": ").unwrap_or(("", &short));
        let file = place.split(':').next().filter(|p| p.starts_with('/')).and_then(|p| TreePath::new(p).ok());
        match file {
            Some(path) if !tree.contains(&path) => {}
            Some(path) => {
                let line = place.rsplit(':').next().filter(|l| l.bytes().all(|b| b.is_ascii_digit()));
                let message = line.map_or(message.to_owned(), |l| format!("line {l}: {message}"));
                out.push(finding(&UNIT_SYNTAX, Some(path), message));
            }
            None => out.push(finding(&UNIT_SYNTAX, None, short)),
        }
    }
    out
}
