//! A host that extensions are merged into, without booting it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{Outcome, Program, roots};

/// A Debian host's root directory. It is never changed: what a test adds stands on memory file systems.
#[derive(Debug)]
pub struct Host {
    root: PathBuf,
}

/// Runs in a mount namespace of its own. systemd-sysext makes another one for itself, and what it mounts comes back
/// only through shared propagation; /run is private to it, so the root can't be below that. Without /sys, loop
/// devices are "busy".
const MERGE: &str = r#"
mount --make-rshared /
host=$1; place=$2; work=$3; shift 3
mount --bind "$host" "$place"
mount -o remount,ro,bind "$place"
mount -t tmpfs tmpfs "$place/run"
mount -t tmpfs tmpfs "$place/tmp"
mount -t tmpfs tmpfs "$place/etc/extensions"
mount -t proc proc "$place/proc"
mount -t sysfs -o ro sysfs "$place/sys"
mount --rbind /dev "$place/dev"
for extension; do cp -a "$extension" "$place/etc/extensions/"; done
chroot "$place" systemd-sysext --no-pager merge >&2
cd "$work"
. ./script
"#;

impl Host {
    /// Debian 12, systemd 252.
    ///
    /// # Errors
    /// Its root can't be made.
    pub fn bookworm() -> Result<Host> {
        Ok(Host { root: roots::host("bookworm")? })
    }

    /// The root directory. Don't change it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Merges the extensions with the host's own systemd-sysext, then runs a shell script (`sh -eu`, outside of the
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
            .args([&self.root, &place, work])
            .args(extensions)
            .run()
    }
}
