//! Debian's root that programs are taken from, the host that they run on, and what their uses find in /tmp.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Use;
use crate::{
    Program, Work,
    place::{cached, repository},
    place_program,
    registry::Authority,
    work::require_root,
};

/// Besides those of the programs: users and certificates.
const PACKAGES: [&str; 3] = ["ca-certificates", "libc-bin", "passwd"];

/// `$1` is the root, `$2` the authority that it trusts.
const COMPLETE: &str = r#"
install -D -m 644 "$2" "$1/usr/local/share/ca-certificates/test.crt"
mount -t proc proc "$1/proc"
chroot "$1" update-ca-certificates > /dev/null
umount "$1/proc"
chroot "$1" useradd --uid 1000 --create-home app
printf '127.0.0.1 localhost\n' > "$1/etc/hosts"
"#;

/// Debian 12 with the packages of the programs, and the authority whose certificates it trusts.
pub(super) fn debian(name: &str, programs: &[Use]) -> Result<(PathBuf, Authority)> {
    require_root()?;
    let packages: BTreeSet<&str> =
        programs.iter().flat_map(|p| &p.packages).map(String::as_str).chain(PACKAGES).collect();
    let packages = packages.into_iter().collect::<Vec<_>>().join(",");
    let dir = cached(name, &format!("{packages}\n{COMPLETE}"), |dir| {
        let root = dir.join("root");
        let authority = Authority::new(&dir.join("authority"))?;
        // Java's and PostgreSQL's scripts link manual pages, and fail without their folders.
        let without = ["doc", "locale"].map(|d| format!("--dpkgopt=path-exclude=/usr/share/{d}/*"));
        let debstrap = Program::new("mmdebstrap").args(["--mode=root", "--format=directory"]);
        let debstrap = debstrap.args(["--variant=minbase", "--dpkgopt=force-unsafe-io"]).args(without);
        debstrap.arg(format!("--include={packages}")).arg("bookworm").arg(&root).run()?;
        Program::new("sh").args(["-euc", COMPLETE, "complete"]).arg(&root).arg(&authority.ca).run().map(drop)
    })?;
    Ok((dir.join("root"), Authority::made(&dir.join("authority"))))
}

/// busybox under all its names, and what any host has in /etc: users, and whom it trusts.
pub(super) fn host(work: &Work, authority: &Authority) -> Result<PathBuf> {
    let root = work.dir("host")?;
    let folders = "dev etc/extensions etc/ssl/certs home mnt proc root run sys tmp usr/bin usr/lib usr/lib64 \
                   usr/share var";
    for folder in folders.split_whitespace() {
        fs::create_dir_all(root.join(folder))?;
    }
    for (name, to) in [
        ("bin", "usr/bin"),
        ("sbin", "usr/bin"),
        ("lib", "usr/lib"),
        ("lib64", "usr/lib64"),
        ("usr/sbin", "bin"),
    ] {
        symlink(to, root.join(name))?;
    }
    place_program(Path::new("/bin/busybox"), &root.join("usr/bin/busybox"))?;
    for applet in Program::new("/bin/busybox").arg("--list").run()?.stdout.lines() {
        if applet != "busybox" {
            symlink("busybox", root.join("usr/bin").join(applet))?;
        }
    }
    for (path, text) in [
        ("etc/os-release", "ID=lean\nVERSION_ID=1\n"),
        ("etc/hosts", "127.0.0.1 localhost\n"),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
        ("etc/shells", "/bin/sh\n"),
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
        ),
        ("etc/group", "root:x:0:\napp:x:1000:\nnogroup:x:65534:\n"),
    ] {
        fs::write(root.join(path), text)?;
    }
    let certificates = root.join("etc/ssl/certs");
    fs::copy(&authority.ca, certificates.join("ca-certificates.crt"))?;
    let hash = Program::new("openssl").args(["x509", "-noout", "-hash", "-in"]).arg(&authority.ca).run()?;
    symlink("ca-certificates.crt", certificates.join(format!("{}.0", hash.stdout.trim())))?;
    Ok(root)
}

/// busybox, and a terminal.
pub(super) fn files(work: &Work) -> Result<PathBuf> {
    let files = work.dir("files")?;
    place_program(Path::new("/bin/busybox"), &files.join("busybox"))?;
    let source = repository().join("tests/programs/terminal.c");
    let gcc =
        Program::new("gcc").args(["-static", "-O1", "-Wall", "-Werror", "-o"]).arg(files.join("terminal"));
    gcc.arg(&source).run().with_context(|| format!("{source:?}"))?;
    Ok(files)
}
