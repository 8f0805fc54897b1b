//! What becomes read-only, and what the kernel stacks.

use tree::{StaticPath, TreePath};

use crate::files::text;
use crate::overlay::{Hierarchy, Merged};
use crate::rules::{NESTED_MOUNT, NO_SYSEXT, OPT_READ_ONLY, STACK, USR_READ_ONLY};
use crate::units::Units;
use crate::{Finding, Host, Severity};

/// OVL_MAX_STACK, fs/overlayfs/params.h.
const MAX_LAYERS: usize = 500;
/// Bytes of the options of a mount: a page. mount(2).
const MAX_OPTIONS: usize = 4096;

/// Databases of package managers that write to /usr, and their managers.
pub const PACKAGE_DATABASES: [(&str, &str); 4] = [
    ("/var/lib/dpkg/status", "dpkg"),
    ("/var/lib/rpm", "rpm"),
    ("/usr/lib/apk/db/installed", "apk"),
    ("/var/lib/pacman/local", "pacman"),
];

/// Bytes of the `lowerdir=` option with which systemd-sysext mounts an overlay: a list of paths with colons between them.
pub(crate) fn option_bytes(hierarchy: &Hierarchy, names: &[&str]) -> usize {
    const PLACE: &str = "/run/systemd/sysext/extensions/";
    let path = hierarchy.path.to_absolute().len();
    let layer = |i: &usize| PLACE.len() + names.get(*i).map_or(0, |name| name.len()) + path + 1;
    let meta = "/run/systemd/sysext/meta".len() + path + 1;
    "lowerdir=".len() + meta + hierarchy.layers.iter().map(layer).sum::<usize>() + path
}

pub(crate) fn findings(host: &Host, units: &Units, merged: &Merged, names: &[&str]) -> Vec<Finding> {
    let mut out = Vec::new();
    if !host.has_sysext() {
        out.push(NO_SYSEXT.finding(
            None,
            None,
            "the host has no systemd-sysext: nothing merges extensions there",
        ));
    }
    for hierarchy in &merged.hierarchies {
        read_only(host, hierarchy, names, &mut out);
        nested(host, units, hierarchy, &mut out);
        let bytes = option_bytes(hierarchy, names);
        // systemd 256 gives the layers to the kernel one by one, where that takes them so (Linux 6.5).
        if bytes >= MAX_OPTIONS && host.systemd.is_none_or(|version| version < 256) {
            let message = format!(
                "the layers' paths take {bytes} bytes, and mount(2) takes fewer than {MAX_OPTIONS}: nothing is merged"
            );
            out.push(STACK.finding(None, Some(&hierarchy.path), message));
        }
        // The host's own layer, and the tool's notes.
        if hierarchy.layers.len() + 2 > MAX_LAYERS {
            let message =
                format!("has {} layers, and the kernel takes {MAX_LAYERS}", hierarchy.layers.len() + 2);
            out.push(STACK.finding(None, Some(&hierarchy.path), message));
        }
    }
    if !merged.hierarchies.is_empty() {
        out.extend(depth(host));
    }
    out
}

fn read_only(host: &Host, hierarchy: &Hierarchy, names: &[&str], out: &mut Vec<Finding>) {
    const USR: StaticPath = StaticPath::new("/usr");
    let by: Vec<&str> = hierarchy.layers.iter().filter_map(|i| names.get(*i).copied()).collect();
    let extension = by.first().copied();
    if hierarchy.path == USR.path() {
        let has = |(path, _): &&(&str, &str)| host.tree.resolve(path, true).is_ok();
        if let Some((_, manager)) = PACKAGE_DATABASES.iter().find(has) {
            let message = format!("is read-only while extensions are merged: {manager} can't write to it");
            out.push(USR_READ_ONLY.finding(None, Some(&hierarchy.path), message));
        }
        return;
    }
    let message = match hierarchy.host_files {
        0 => format!("becomes read-only by {}: nothing can be installed there", by.join(", ")),
        n => format!(
            "becomes read-only by {}, with {n} files and directories of the host in it",
            by.join(", ")
        ),
    };
    out.push(OPT_READ_ONLY.finding(extension, Some(&hierarchy.path), message));
}

/// What the host mounts below a hierarchy. Flatcar #2111, systemd PR 41875.
fn nested(host: &Host, units: &Units, hierarchy: &Hierarchy, out: &mut Vec<Finding>) {
    let fstab = text(&host.tree, "/etc/fstab").unwrap_or_default();
    let fstab = String::from_utf8_lossy(&fstab).into_owned();
    let lines = fstab.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut places: Vec<String> =
        lines.filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect();
    for name in units.files.keys().filter(|name| name.ends_with(".mount")) {
        let lines = units.directives(&host.tree, name);
        let place = lines.iter().rev().find(|d| d.section == "Mount" && d.key == "Where");
        places.extend(place.map(|d| String::from_utf8_lossy(&d.value).into_owned()));
    }
    places.sort();
    places.dedup();
    for place in places.iter().filter_map(|place| TreePath::new(place).ok()) {
        if place == hierarchy.path || !place.starts_with(&hierarchy.path) {
            continue;
        }
        let (message, severity) = match host.systemd {
            Some(257) => ("is a mount of the host: with systemd 257 nothing is merged", Severity::Error),
            _ => ("is a mount of the host, which the merge may hide", Severity::Warning),
        };
        out.push(NESTED_MOUNT.finding(None, Some(&place), message).with(severity));
    }
}

/// FILESYSTEM_MAX_STACK_DEPTH is 2, include/linux/fs.h: a root that is an overlay itself leaves room for systemd-sysext's,
/// and for none in it.
fn depth(host: &Host) -> Option<Finding> {
    const CONFIGURATION: StaticPath = StaticPath::new("/usr/lib/ostree/prepare-root.conf");
    let path: TreePath = CONFIGURATION.path();
    let configuration = text(&host.tree, CONFIGURATION.as_str())?;
    let on = |section: &str, key: &str| {
        let directives = sysext::extension::units::parse(&configuration);
        let value = directives.iter().rev().find(|d| d.section == section && d.key == key)?.value.clone();
        let yes: [&[u8]; 6] = [b"yes", b"true", b"1", b"signed", b"verity", b"maybe"];
        Some(yes.contains(&value.as_slice()))
    };
    let (composefs, transient) = (on("composefs", "enabled")?, on("root", "transient").unwrap_or(false));
    match (composefs, transient) {
        (true, true) => Some(STACK.finding(
            None,
            Some(&path),
            "the root is an overlay over composefs, which is one itself: the kernel refuses a third",
        )),
        (true, false) => Some(
            STACK
                .finding(
                    None,
                    Some(&path),
                    "the root is composefs, an overlay itself: systemd-sysext's is the last one that the kernel stacks",
                )
                .with(Severity::Note),
        ),
        (false, _) => None,
    }
}
