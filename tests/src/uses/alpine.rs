//! Alpine's root with the tests' own packages; where the real one isn't at hand, one in its manner, out of Debian's musl.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{
    Program,
    apk::{self, Package},
    place::{cached, repository, shared},
    place_program,
    registry::Authority,
    work::require_root,
};

const ALPINE: &str = "images/alpine-minirootfs-3.20.3-x86_64.tar.gz";
const VERSION: &str = "1.0-r0";
/// All packages of ours.
const OURS: [&str; 4] = ["words", "words-data", "words-libs", "words-report"];
const REPORT: &str = "#!/bin/sh\nwords | sort | awk '{ print NR \": \" $0 }'\n";
/// `$1` is the root, `$2` the folder with repository and keys.
const INSTALL: &str = r#"
cp -r "$2" "$1/packages"
chroot "$1" /sbin/apk --quiet --no-cache --keys-dir /packages/keys --repositories-file /dev/null \
    -X /packages/repository add words-report
rm -r "$1/packages"
"#;

/// The root, with `files/repository` and `files/keys` beside it, and the authority whose certificates it trusts.
pub(super) fn alpine(name: &str) -> Result<(PathBuf, Authority)> {
    require_root()?;
    let source = repository().join("tests/programs/words.c");
    let text = fs::read_to_string(&source).with_context(|| format!("{source:?}"))?;
    let real = shared(ALPINE);
    let recipe = format!("{text}{REPORT}{INSTALL}{} 2", real.is_some());
    let dir = cached(name, &recipe, |dir| {
        let root = dir.join("root");
        fs::create_dir(&root).with_context(|| format!("{root:?}"))?;
        let authority = Authority::new(&dir.join("authority"))?;
        let packages = packages(&dir.join("build"), &source)?;
        let files = dir.join("files");
        let key = apk::repository(&files.join("repository"), &packages)?;
        fs::create_dir(files.join("keys")).with_context(|| format!("{files:?}"))?;
        fs::write(files.join("keys").join(apk::KEY), key).with_context(|| format!("{files:?}"))?;
        match &real {
            Some(tar) => {
                Program::new("tar").arg("-C").arg(&root).arg("-xzf").arg(tar).run()?;
                Program::new("sh").args(["-euc", INSTALL, "install"]).arg(&root).arg(&files).run()?;
            }
            None => stand_in(&root, &packages)?,
        }
        let certificates = root.join("etc/ssl/certs");
        fs::create_dir_all(&certificates).with_context(|| format!("{certificates:?}"))?;
        fs::copy(&authority.ca, certificates.join("ca-certificates.crt"))?;
        // Its busybox doesn't try the next address of a name.
        fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n")?;
        Ok(())
    })?;
    Ok((dir.join("root"), Authority::made(&dir.join("authority"))))
}

/// Whether a program with these packages is in the root.
pub(super) fn has(packages: &[String]) -> bool {
    shared(ALPINE).is_some() || packages.iter().all(|p| OURS.contains(&p.as_str()))
}

/// A program that needs a library, a plugin, a helper and a list; and a script that needs this program.
fn packages(work: &Path, source: &Path) -> Result<Vec<Package>> {
    fs::create_dir(work).with_context(|| format!("{work:?}"))?;
    let library = work.join("libwords.so.1");
    let gcc = |part: &str| Program::new("musl-gcc").args(["-O1", "-Wall", &format!("-D{part}")]).arg(source);
    gcc("LIBRARY").args(["-shared", "-fPIC", "-Wl,-soname,libwords.so.1", "-o"]).arg(&library).run()?;
    for (part, name, options) in [
        ("PLUGIN", "upper.so", &["-shared", "-fPIC"][..]),
        ("HELPER", "helper", &[]),
        ("PROGRAM", "words", &[]),
    ] {
        gcc(part).args(options).arg(&library).arg("-o").arg(work.join(name)).run()?;
    }
    let read = |name: &str| fs::read(work.join(name)).with_context(|| format!("{name} in {work:?}"));
    let package =
        |name, depends, provides, files| Package { name, version: VERSION, depends, provides, files };
    Ok(vec![
        package("words-data", "", "", vec![("usr/share/words/list", 0o644, b"a list of words\n".to_vec())]),
        package(
            "words-libs",
            "so:libc.musl-x86_64.so.1",
            "so:libwords.so.1=1",
            vec![("usr/lib/libwords.so.1", 0o755, read("libwords.so.1")?)],
        ),
        package(
            "words",
            "so:libwords.so.1 words-data",
            "cmd:words=1.0-r0",
            vec![
                ("usr/bin/words", 0o755, read("words")?),
                ("usr/lib/words/upper.so", 0o755, read("upper.so")?),
                ("usr/libexec/words/helper", 0o755, read("helper")?),
            ],
        ),
        package("words-report", "cmd:words", "", vec![("usr/bin/words-report", 0o755, REPORT.into())]),
    ])
}

/// busybox under all its names, musl, and what `apk` would have made of the packages.
fn stand_in(root: &Path, packages: &[Package]) -> Result<()> {
    for folder in "bin dev etc home lib/apk/db proc root run sys tmp usr/bin usr/lib var".split(' ') {
        fs::create_dir_all(root.join(folder)).with_context(|| format!("{folder} in {root:?}"))?;
    }
    place_program(Path::new("/bin/busybox"), &root.join("bin/busybox"))?;
    for applet in Program::new("/bin/busybox").arg("--list").run()?.stdout.lines() {
        if applet != "busybox" {
            symlink("busybox", root.join("bin").join(applet)).with_context(|| format!("{applet:?}"))?;
        }
    }
    place_program(Path::new("/lib/ld-musl-x86_64.so.1"), &root.join("lib/ld-musl-x86_64.so.1"))?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\n")?;
    let mut database = "P:musl\nV:1\nA:x86_64\np:so:libc.musl-x86_64.so.1=1\nF:lib\nR:ld-musl-x86_64.so.1\n\nP:busybox\nV:1\nA:x86_64\nF:bin\nR:busybox\n\n\
                        P:busybox-binsh\nV:1\nA:x86_64\nD:busybox\nF:bin\nR:sh\n\n"
        .to_owned();
    for package in packages {
        let (name, depends, provides) = (package.name, package.depends, package.provides);
        let _ = writeln!(database, "P:{name}\nV:{VERSION}\nA:x86_64\nD:{depends}\np:{provides}");
        for (path, mode, content) in &package.files {
            let to = root.join(path);
            let (folder, file) = path.rsplit_once('/').context("a file without a folder")?;
            fs::create_dir_all(root.join(folder)).with_context(|| format!("{folder:?}"))?;
            fs::write(&to, content).with_context(|| format!("{to:?}"))?;
            fs::set_permissions(&to, PermissionsExt::from_mode(*mode)).with_context(|| format!("{to:?}"))?;
            let _ = writeln!(database, "F:{folder}\nR:{file}");
        }
        database.push('\n');
    }
    let path = root.join("lib/apk/db/installed");
    fs::write(&path, database).with_context(|| format!("{path:?}"))
}
