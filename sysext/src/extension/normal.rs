//! What every file of an extension has in common: owner, time, and modes and attributes that do no harm.

use std::collections::BTreeMap;

use super::findings::Findings;
use super::rules::*;
use tree::{Node, Tree, TreePath, escape};

/// Set-user-ID and set-group-ID. inode(7).
const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;

/// Directories below /usr that extensions share with hosts, deeper than /usr/X itself; `*` stands for all directories
/// right in it.
const SHARED: &[&str] = &[
    "/usr/lib/systemd",
    "/usr/lib/systemd/*",
    "/usr/lib/extension-release.d",
    "/usr/lib/binfmt.d",
    "/usr/lib/firmware",
    "/usr/lib/modprobe.d",
    "/usr/lib/modules",
    "/usr/lib/modules-load.d",
    "/usr/lib/sysctl.d",
    "/usr/lib/sysusers.d",
    "/usr/lib/tmpfiles.d",
    "/usr/lib/udev",
    "/usr/lib/udev/*",
    "/usr/local/*",
    "/usr/share/*",
    "/usr/share/man/*",
];

fn is_shared(path: &TreePath) -> bool {
    if path.depth() <= 2 {
        return true;
    }
    let absolute = path.to_absolute();
    let parent = absolute.iter().rposition(|&b| b == b'/').unwrap_or(0);
    SHARED.iter().any(|s| match s.strip_suffix("/*") {
        Some(dir) => dir.as_bytes() == &absolute[..parent],
        None => s.as_bytes() == absolute,
    })
}

/// Whether Linux has such an attribute; file systems can't store others, or the kernel doesn't show them. xattr(7).
fn is_linux(name: &[u8]) -> bool {
    [&b"user."[..], b"trusted.", b"security.", b"system."]
        .iter()
        .any(|prefix| name.strip_prefix(*prefix).is_some_and(|rest| !rest.is_empty()))
}

/// Makes all of `tree` root's and of one time, and takes from it what must not reach a host.
pub(super) fn normalise(tree: &mut Tree, epoch: i64, lint: &mut Findings) {
    let mut foreign_xattrs: BTreeMap<Vec<u8>, (TreePath, usize)> = BTreeMap::new();
    let paths: Vec<TreePath> = tree.iter().map(|(p, _)| p.clone()).collect();
    for path in &paths {
        let is_dir = tree.get(path).is_some_and(Node::is_dir);
        let Some(meta) = tree.meta_mut(path) else { continue };
        let foreign = (if meta.uid == 0 { 0 } else { SETUID }) | (if meta.gid == 0 { 0 } else { SETGID });
        if meta.mode & foreign != 0 {
            // A directory's says whose the files are that are made in it, and none are: Debian's /var/local.
            if !is_dir {
                let message =
                    format!("mode {:04o} of {}:{} would become root's", meta.mode, meta.uid, meta.gid);
                lint.add(&FOREIGN_SETUID, Some(path), message);
            }
            meta.mode &= !foreign;
        }
        if !is_dir && meta.mode & (SETUID | SETGID) != 0 {
            lint.add(
                &super::rules::SETUID,
                Some(path),
                format!("mode {:04o} holds on the host, too", meta.mode),
            );
        }
        if is_dir && meta.mode != 0o755 && is_shared(path) {
            // The root itself is not merged.
            if !path.is_root() {
                let message = format!("mode {:04o} would become the host's; made 0755", meta.mode);
                lint.add(&DIR_MODE, Some(path), message);
            }
            meta.mode = 0o755;
        }
        meta.uid = 0;
        meta.gid = 0;
        meta.mtime = epoch;
        meta.xattrs.retain(|name, _| {
            if name.starts_with(b"trusted.overlay.") {
                lint.add(&OVERLAY_XATTR, Some(path), format!("{} takes effect when merged", escape(name)));
            } else if name.starts_with(b"user.overlay.") {
                lint.add(&USER_OVERLAY, Some(path), format!("{} is dropped", escape(name)));
                return false;
            } else if name.starts_with(b"system.") {
                lint.add(&SYSTEM_XATTR, Some(path), format!("{} is dropped", escape(name)));
                return false;
            } else if name == b"security.capability" {
                lint.add(&CAPABILITY, Some(path), "has file capabilities, which hold on the host, too");
            } else if !is_linux(name) {
                foreign_xattrs.entry(name.clone()).or_insert_with(|| (path.clone(), 0)).1 += 1;
                return false;
            }
            true
        });
    }
    for (name, (path, count)) in &foreign_xattrs {
        let others = match count {
            1 => String::new(),
            2 => ", as is one more of this name".to_owned(),
            n => format!(", as are {} more of this name", n - 1),
        };
        let message = format!("{} is dropped{others}: no attribute of Linux's", escape(name));
        lint.add(&FOREIGN_XATTR, Some(path), message);
    }
}
