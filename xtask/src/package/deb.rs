//! The Debian package, by dpkg-deb.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Release;
use super::stage::{Stage, write, write_compressed};
use crate::command;

const DESCRIPTION: &str = "\
Description: programs of container images as system extensions
 A system extension is a read-only image that systemd-sysext lays over the
 /usr of a host without changing it.
 .
 flix takes programs, packages and services out of container images, with the
 libraries that they need, and relocates them. flatwrap takes whole images and
 runs their programs in a private root. bakery builds, tests and publishes
 catalogues of extensions from recipes. None of them needs root or a container
 engine.
";

const COPYRIGHT: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: flix

Files: *
Copyright: 2025-2026 the flix contributors
License: Apache-2.0
 On Debian systems, the text of the Apache License 2.0 is in
 /usr/share/common-licenses/Apache-2.0.
";

const OVERRIDES: &str = "\
# The database of an image that programs are taken out of, not the host's.
flix: uses-dpkg-database-directly
# A name that is compared with those in an image's files, not a program that is run.
flix: missing-depends-on-sensible-utils
";

/// Writes it to a directory, and returns its path.
pub(super) fn write_package(stage: &Stage, release: &Release, work: &Path, to: &Path) -> Result<PathBuf> {
    let arch = architecture()?;
    let root = work.join("deb");
    command::run(Command::new("cp").arg("-a").arg(stage.root()).arg(&root))?;
    write(&root, "usr/share/doc/flix/copyright", COPYRIGHT.as_bytes(), 0o644)?;
    write_compressed(&root, "usr/share/doc/flix/changelog", changelog(release)?.as_bytes())?;
    write(&root, "usr/share/lintian/overrides/flix", OVERRIDES.as_bytes(), 0o644)?;
    // What its programs need, found by dpkg itself: the C library that they were linked with.
    let depends = depends(stage, work)?;
    let size = command::output(Command::new("du").args(["-sk", "--apparent-size"]).arg(&root))?;
    let size = size.split_whitespace().next().unwrap_or_default();
    let found = command::output(Command::new("find").current_dir(&root).args(["usr", "-type", "f"]))?;
    let files: std::collections::BTreeSet<&str> = found.lines().collect();
    let sums = command::output(Command::new("md5sum").current_dir(&root).args(files))?;
    let control = format!(
        "Package: flix\nVersion: {}\nArchitecture: {arch}\nMaintainer: {}\nInstalled-Size: {size}\n\
         Depends: {depends}\nRecommends: ca-certificates, uidmap\nSuggests: qemu-system-x86\nSection: admin\n\
         Priority: optional\n{DESCRIPTION}",
        release.version, release.maintainer
    );
    write(&root, "DEBIAN/control", control.as_bytes(), 0o644)?;
    write(&root, "DEBIAN/md5sums", sums.as_bytes(), 0o644)?;
    let path = to.join(format!("flix_{}_{arch}.deb", release.version));
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "-Zxz", "--build"]).arg(&root).arg(&path);
    command::output(build.env("SOURCE_DATE_EPOCH", release.epoch.to_string()))?;
    Ok(path)
}

fn architecture() -> Result<&'static str> {
    Ok(match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => bail!("{other}: no Debian architecture is known for it"),
    })
}

fn depends(stage: &Stage, work: &Path) -> Result<String> {
    // dpkg-shlibdeps reads the package's names from this file.
    let source = work.join("source");
    write(&source, "debian/control", b"Source: flix\n\nPackage: flix\nArchitecture: any\n", 0o644)?;
    let mut find = Command::new("dpkg-shlibdeps");
    find.current_dir(&source).arg("-O");
    for path in stage.files().filter(|path| path.starts_with("usr/bin/")) {
        find.arg("-e").arg(stage.root().join(path));
    }
    let found = command::output(&mut find).context("package dpkg-dev has it")?;
    let found = found.trim().strip_prefix("shlibs:Depends=");
    Ok(found.context("dpkg-shlibdeps: found nothing")?.to_owned())
}

fn changelog(release: &Release) -> Result<String> {
    let mut date = Command::new("date");
    date.env("LC_ALL", "C").args(["--utc", "--rfc-email", "--date"]).arg(format!("@{}", release.epoch));
    Ok(format!(
        "flix ({}) unstable; urgency=medium\n\n  * CHANGELOG.md of the source lists the changes.\n\n -- {}  {}\n",
        release.version,
        release.maintainer,
        command::output(&mut date)?.trim()
    ))
}
