//! Files that systemd passes over, or takes for something else: by their names, their directories, or what they are.

use std::collections::BTreeSet;

use super::references::Units;
use super::{IGNORED_FILE, LATE_START, MASKED_UNIT, WANTS_LINK, finding};
use crate::Release;
use crate::extension::Finding;
use crate::extension::unit_programs::{UNIT_ENDINGS, UNIT_LIMIT, is_unit};
use crate::extension::units::{parse, template};
use tree::{ContentError, StaticPath, Tree, escape};

const UNITS: StaticPath = StaticPath::new("/usr/lib/systemd/system");
const SYSTEMD: StaticPath = StaticPath::new("/usr/lib/systemd");

/// Directories of which programs of systemd's read the files that end so.
const READ: [(StaticPath, &[&str]); 8] = [
    (StaticPath::new("/usr/lib/sysusers.d"), &[".conf"]),
    (StaticPath::new("/usr/lib/tmpfiles.d"), &[".conf"]),
    (StaticPath::new("/usr/lib/sysctl.d"), &[".conf"]),
    (StaticPath::new("/usr/lib/modules-load.d"), &[".conf"]),
    (StaticPath::new("/usr/lib/binfmt.d"), &[".conf"]),
    (StaticPath::new("/usr/lib/modprobe.d"), &[".conf"]),
    (StaticPath::new("/usr/lib/udev/rules.d"), &[".rules"]),
    (UNITS, &UNIT_ENDINGS),
];

pub(super) fn check(
    tree: &Tree,
    units: &Units,
    release: Option<&Release>,
    out: &mut Vec<Finding>,
) -> Result<(), ContentError> {
    for (dir, endings) in READ {
        for (path, node) in tree.children(&dir.path()).filter(|(_, node)| !node.is_dir()) {
            let name = path.file_name().map(escape).unwrap_or_default();
            let is_text = name.starts_with("README") || node.symlink_target() == Some(b"/dev/null");
            // `x.conf.example` isn't meant to be read.
            if !is_text && !endings.iter().any(|e| name.ends_with(e) || name.contains(&format!("{e}."))) {
                let message = format!("systemd reads no file of this name in {}", dir.path());
                out.push(finding(&IGNORED_FILE, Some(path.clone()), message));
            }
        }
    }
    for (path, _) in tree.children(&SYSTEMD.path()).filter(|(_, node)| !node.is_dir()) {
        let name = path.file_name().map(escape).unwrap_or_default();
        if [".service", ".socket", ".timer", ".path", ".target"].iter().any(|kind| name.ends_with(kind)) {
            let message = format!("systemd reads units in {}", UNITS.path());
            out.push(finding(&IGNORED_FILE, Some(path.clone()), message));
        }
    }
    for (path, node) in tree.children(&UNITS.path()) {
        if is_unit(path) && node.content().is_some_and(|content| content.is_empty()) {
            let message = "is empty, which masks the unit: systemd never starts it";
            out.push(finding(&MASKED_UNIT, Some(path.clone()), message));
        }
    }
    links(tree, units, release, out)
}

/// Links that start units: `multi-user.target.wants/x.service`. systemd.unit(5).
fn links(
    tree: &Tree,
    units: &Units,
    release: Option<&Release>,
    out: &mut Vec<Finding>,
) -> Result<(), ContentError> {
    let started = started(tree, release)?;
    for (path, node) in tree.subtree(&UNITS.path()) {
        let dir = path.parent().filter(|dir| dir.parent() == Some(UNITS.path()));
        let Some(dir) = dir.and_then(|dir| dir.file_name().map(escape)) else { continue };
        let kind = [".wants", ".requires", ".upholds"].into_iter().find(|kind| dir.ends_with(kind));
        let (Some(kind), Some(name)) = (kind, path.file_name().map(escape)) else { continue };
        let mut say = |rule, message: String| out.push(finding(rule, Some(path.clone()), message));
        let Some(target) = node.symlink_target() else {
            say(&WANTS_LINK, "is no link, which systemd ignores".to_owned());
            continue;
        };
        if name.contains("@.") {
            say(&WANTS_LINK, "is a link to a template: its name lacks the instance".to_owned());
            continue;
        }
        let leads_to = target.rsplit(|&b| b == b'/').next().map(escape).unwrap_or_default();
        if !units.has(&name) && leads_to != name && template(&name).as_ref() != Some(&leads_to) {
            say(&WANTS_LINK, format!("starts {name}, the name of the link, and not {leads_to}"));
        } else if kind == ".wants"
            && dir.ends_with(".target.wants")
            && !started.contains(&name)
            && units.own(&name)
        {
            let message = format!(
                "{name} isn't started by a merge, whether at boot or later: Upholds= in a drop-in of the target starts it"
            );
            say(&LATE_START, message);
        }
    }
    Ok(())
}

/// Units that are started after a merge: those that are upheld, and those that the release file restarts.
fn started(tree: &Tree, release: Option<&Release>) -> Result<BTreeSet<String>, ContentError> {
    let mut out = BTreeSet::new();
    for (path, node) in tree.subtree(&UNITS.path()) {
        let is_upheld =
            path.parent().is_some_and(|dir| dir.file_name().is_some_and(|n| n.ends_with(b".upholds")));
        if is_upheld {
            out.extend(path.file_name().map(escape));
        } else if let Some(content) = node.content().filter(|c| c.len() <= UNIT_LIMIT && is_unit(path)) {
            let upheld = parse(&content.read(UNIT_LIMIT)?).into_iter().filter(|d| d.key == "Upholds");
            let names = upheld.flat_map(|d| words(&d.value));
            out.extend(names);
        }
    }
    let restarted =
        release.into_iter().flat_map(|r| r.restart_units.iter().chain(&r.reload_or_restart_units));
    out.extend(restarted.cloned());
    Ok(out)
}

fn words(value: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(value).split_whitespace().map(str::to_owned).collect()
}
