//! A use, run in its own root or on the host that the extension is merged onto.

use std::fmt;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Use, Uses, Way};
use crate::{Program, Work};

/// How a use ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) status: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Runs `$work/use` in `$place`, which takes at most two minutes, and leaves nothing running. In a chroot(2) nobody but root
/// could use an entry point: user_namespaces(7).
const RUN: &str = r#"
for dir in tmp var root home; do mount -t tmpfs tmpfs "$place/$dir"; done
mkdir -p "$place/var/tmp" "$place/var/log" "$place/var/lib" "$place/var/cache" "$place/home/app"
chmod 1777 "$place/tmp" "$place/var/tmp"
chown 1000:1000 "$place/home/app"
cp -a files/. "$place/tmp/"
cd /
inside='mount --rbind "$1" "$1"; mount -t proc proc "$1/proc"; cd "$1"; mkdir tmp/old
pivot_root . tmp/old; cd /; umount -l /tmp/old; rmdir /tmp/old
exec env -i PATH=/usr/bin:/bin:/usr/sbin HOME=/root TERM=xterm /bin/sh -c "$2"'
timeout --kill-after=5 120 unshare --mount --pid --fork --kill-child \
    sh -euc "$inside" inside "$place" "$(cat "$work/use")" \
    > "$work/stdout" 2> "$work/stderr" < /dev/null && status=0 || status=$?
echo "$status" > "$work/status"
"#;

/// What a host does once an extension is merged: users and files in /etc and /var. sysusers.d(5), tmpfiles.d(5).
const SET_UP: &str = r#"
umount --lazy "$place/etc/extensions"
cp -a "$place/etc" "$work/etc"
mount -t tmpfs tmpfs "$place/etc"
cp -a "$work/etc/." "$place/etc/"
for dir in var home; do mount -t tmpfs tmpfs "$place/$dir"; done
chroot "$at" systemd-sysusers --root="$root" > "$work/set-up" 2>&1 || :
chroot "$at" systemd-tmpfiles --root="$root" --create --prefix=/etc --prefix=/var >> "$work/set-up" 2>&1 || :
"#;

/// The root with a layer in memory over it, so that nothing stays.
const AT_HOME: &str = r#"
work=$1; root=$2; place=$work/place
mkdir -p "$place" "$work/layer"
mount -t tmpfs tmpfs "$work/layer"
mkdir "$work/layer/upper" "$work/layer/work"
mount -t overlay -o "lowerdir=$root,upperdir=$work/layer/upper,workdir=$work/layer/work" overlay "$place"
mount -t tmpfs tmpfs "$place/run"
mount --rbind /dev "$place/dev"
mount -t sysfs -o ro sysfs "$place/sys"
cd "$work"
"#;

impl Uses {
    /// What runs, with its variables. The port is one that nobody uses at the moment: several uses run at the same time.
    pub(super) fn script(&self, program: &Use) -> Result<String> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (page, script) = (&self.page, &program.script);
        Ok(format!("set -eu; export TERM=xterm PAGE={page} PORT={port}\n{script}"))
    }

    /// What the program's use finds in /tmp.
    pub(super) fn files_of(&self, program: &Use, to: &Path) -> Result<PathBuf> {
        Program::new("cp").arg("-a").arg(&self.files).arg(to).run()?;
        for file in &program.files {
            let from = self.root.join(file.trim_start_matches('/'));
            let name = from.file_name().with_context(|| format!("{from:?}"))?;
            fs::copy(&from, to.join(name)).with_context(|| format!("{from:?}"))?;
        }
        Ok(to.to_owned())
    }

    pub(super) fn run_at_home(&self, program: &Use) -> Result<Ran> {
        let work = self.prepare(program)?;
        // /var and /home are the root's own.
        let run = RUN.replacen("tmp var root home", "tmp", 1);
        let unshare = Program::new("unshare").clean_env();
        let unshare = unshare.args(["--mount", "--propagation", "private", "sh", "-euc"]);
        unshare.arg(format!("{AT_HOME}{run}")).arg("at-home").arg(work.path()).arg(&self.root).run()?;
        Ran::read(work.path())
    }

    pub(super) fn run_merged(&self, program: &Use, way: Way, image: &Path) -> Result<Ran> {
        let work = self.prepare(program)?;
        let mut extensions = vec![image];
        if way.is_flatwrap() {
            extensions.push(&self.tools);
        }
        // /var and /home are set up.
        let run = RUN.replacen("tmp var root home", "tmp root", 1);
        match self.host.merged(work.path(), &extensions, &format!("{SET_UP}{run}")) {
            Ok(_) => Ran::read(work.path()),
            // A host that can't merge it prints why.
            Err(e) => Ok(Ran { status: 1, stdout: String::new(), stderr: format!("{e:#}") }),
        }
    }

    fn prepare(&self, program: &Use) -> Result<Work> {
        let work = Work::new()?;
        self.files_of(program, &work.path().join("files"))?;
        fs::write(work.path().join("use"), self.script(program)?)?;
        Ok(work)
    }
}

impl Ran {
    fn read(work: &Path) -> Result<Ran> {
        let read = |name: &str| {
            let path = work.join(name);
            let bytes = fs::read(&path).with_context(|| format!("{path:?}"))?;
            Ok::<_, anyhow::Error>(String::from_utf8_lossy(&bytes).into_owned())
        };
        let status = read("status")?;
        let status = status.trim().parse().with_context(|| format!("exit status {status:?}"))?;
        Ok(Ran { status, stdout: read("stdout")?, stderr: read("stderr")? })
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exits {}, prints {:?}, complains {:?}", self.status, self.stdout, self.stderr)
    }
}
