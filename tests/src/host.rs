//! A host that extensions are merged into, without booting it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{Outcome, Program, roots};

/// A host's root directory. It is never changed: what a test adds stands on memory file systems.
#[derive(Debug)]
pub struct Host {
    root: PathBuf,
    /// Another root, whose systemd-sysext merges.
    merger: Option<PathBuf>,
}

/// Runs in a mount namespace of its own. systemd-sysext makes another one for itself, and what it mounts comes back
/// only through shared propagation; /run is private to it, so the root can't be below that. Without /sys, loop
/// devices are "busy".
const MERGE: &str = r#"
mount --make-rshared /
host=$1; merger=$2; place=$3; work=$4; shift 4
stand() {
    mount --bind "$1" "$2"
    mount -o remount,ro,bind "$2"
    mount -t tmpfs tmpfs "$2/run"
    mount -t tmpfs tmpfs "$2/tmp"
    mount -t proc proc "$2/proc"
    mount -t sysfs -o ro sysfs "$2/sys"
    mount --rbind /dev "$2/dev"
}
at=$place; root=/
if [ -n "$merger" ]; then
    stand "$merger" "$place"
    place=$place/mnt; root=/mnt
fi
stand "$host" "$place"
mount -t tmpfs tmpfs "$place/etc/extensions"
for extension; do cp -a "$extension" "$place/etc/extensions/"; done
chroot "$at" systemd-sysext --no-pager --root="$root" merge >&2
cd "$work"
. ./script
"#;

impl Host {
    /// Debian 12, systemd 252.
    ///
    /// # Errors
    /// Its root can't be made.
    pub fn bookworm() -> Result<Host> {
        Ok(Host { root: roots::host("bookworm")?, merger: None })
    }

    /// Debian 13, systemd 257.
    ///
    /// # Errors
    /// Its root can't be made.
    pub fn trixie() -> Result<Host> {
        Ok(Host { root: roots::host("trixie")?, merger: None })
    }

    /// A root without systemd, into which Debian 12's merges. It has to have /etc/os-release and /usr, and of the
    /// directories that a host mounts something on: dev, etc/extensions, proc, run, sys, tmp.
    ///
    /// # Errors
    /// Debian's root can't be made.
    pub fn foreign(root: PathBuf) -> Result<Host> {
        Ok(Host { root, merger: Some(roots::host("bookworm")?) })
    }

    /// The root directory. Don't change it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Merges the extensions with systemd-sysext, then runs a shell script (`sh -eu`, outside of the
    /// host's root, which is `$place`; in `work`).
    ///
    /// # Errors
    /// The merge or the script fails.
    pub fn merged(&self, work: &Path, extensions: &[&Path], script: &str) -> Result<Outcome> {
        let place = work.join("place");
        std::fs::create_dir_all(&place).with_context(|| format!("{place:?}"))?;
        std::fs::write(work.join("script"), script)?;
        // cargo's LD_LIBRARY_PATH is no part of a host.
        Program::new("unshare")
            .clean_env()
            .args(["--mount", "--propagation", "private", "sh", "-euc", MERGE, "merge"])
            .arg(&self.root)
            .arg(self.merger.as_deref().unwrap_or(Path::new("")))
            .args([&place, work])
            .args(extensions)
            .run()
    }
}
