//! A host that updates its extensions, without booting it: Debian 13 with systemd-sysupdate 257.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{Outcome, Program, roots};

/// A host with an /etc and an /opt of its own, which stay from one script to the next.
#[derive(Debug)]
pub struct Updater {
    root: PathBuf,
    dir: PathBuf,
}

/// As in `host.rs`, but for what stays.
const STAND: &str = r#"
mount --make-rshared /
root=$1; dir=$2; place=$dir/place
mount --bind "$root" "$place"
mount -o remount,ro,bind "$place"
for d in run tmp root var/lib; do mount -t tmpfs tmpfs "$place/$d"; done
for d in etc opt; do mount --bind "$dir/$d" "$place/$d"; done
mount -t proc proc "$place/proc"
mount -t sysfs -o ro sysfs "$place/sys"
mount --rbind /dev "$place/dev"
cp "$dir/script" "$place/run/script"
# Not `exec`: what systemd-sysext has mounted goes with this shell's namespace.
chroot "$place" sh -eu /run/script
"#;

impl Updater {
    /// A fresh one in this directory, which trusts the certificates of an authority.
    ///
    /// # Errors
    /// Its root can't be made.
    pub fn new(dir: &Path, ca: &Path) -> Result<Updater> {
        let root = roots::host("trixie")?;
        for sub in ["place", "opt"] {
            fs::create_dir_all(dir.join(sub)).with_context(|| format!("{dir:?}"))?;
        }
        let script = r#"cp -a "$1/etc" "$2/etc" && mkdir -p "$2/etc/ssl/certs" "$2/etc/extensions" && cp "$3" "$2/etc/ssl/certs/ca-certificates.crt""#;
        Program::new("sh").args(["-euc", script, "updater"]).args([&root, dir, ca]).run()?;
        Ok(Updater { root, dir: dir.to_owned() })
    }

    /// A file or directory of its /etc or /opt, seen from outside.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path.trim_start_matches('/'))
    }

    /// Puts a file there.
    ///
    /// # Errors
    /// It can't be written.
    pub fn put(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("{parent:?}"))?;
        }
        fs::write(&path, content).with_context(|| format!("{path:?}"))
    }

    /// Runs a shell script (`sh -eu`) in the host, however it ends. What it merges is gone afterwards.
    ///
    /// # Errors
    /// It can't be started.
    pub fn outcome(&self, script: &str) -> Result<Outcome> {
        fs::write(self.dir.join("script"), script)?;
        Program::new("unshare")
            .clean_env()
            .args(["--mount", "--propagation", "private", "sh", "-euc", STAND, "updater"])
            .args([&self.root, &self.dir])
            .outcome()
    }

    /// The same, for what has to succeed.
    ///
    /// # Errors
    /// The script fails.
    pub fn run(&self, script: &str) -> Result<Outcome> {
        self.outcome(script)?.success()
    }
}
