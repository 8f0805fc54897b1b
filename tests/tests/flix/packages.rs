//! Packages of the image as PATHs: `flix debian:bookworm git package:git`, and Alpine's b3sum.

use std::fs;
use std::path::Path;

use anyhow::Result;
use e2e::{Host, Work, World};

use crate::{assert_says, unsquash};

/// git's helper programs, its templates, and Perl with its modules and their file in /etc, which the host makes.
const USE: &str = r#"
export HOME=/tmp GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
run() { chroot "$place" "$@"; }
run /usr/bin/git init -q /tmp/one
test -e "$place/tmp/one/.git/description"
run /usr/bin/git -C /tmp/one commit -q --allow-empty -m first
run /usr/bin/git clone -q file:///tmp/one /tmp/two
run /usr/bin/git -C /tmp/two log --format=%s
run /usr/bin/perl -MGit -MError -e 'print Git->repository(Directory => "/tmp/two")->command_oneline("rev-list", "--count", "HEAD"), "\n"'
WRITABLE
run systemd-tmpfiles --create git-setup.conf
run /usr/bin/perl -MNet::Config -e 'print "$INC{q(/etc/perl/Net/libnet.cfg)}\n"'
"#;

/// The host's /etc and /var, which nothing has prepared.
const WRITABLE: &str = r#"mount -t tmpfs tmpfs "$place/var"
mkdir own work
mount -t overlay -o "lowerdir=$place/etc,upperdir=$PWD/own,workdir=$PWD/work" overlay "$place/etc""#;

#[test]
fn a_package_of_debian_is_installed_and_works() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    let out = World::get()?.flix(&user).args(["debian:bookworm", "git", "package:git", "--explain"]).run()?;
    assert_says(
        &out,
        &[
            "git is not installed in ",
            ": installing with apt",
            "package:git includes packages that it depends on: ",
            "package:git omits packages that every host has: ",
            "configuration that hosts without it get: /etc/perl/Net/libnet.cfg\n",
            ", from package git\n",
            ", from package perl-modules-5.36\n",
            ", from package libcurl3-gnutls",
        ],
    );
    let raw = user.home().join("git.raw");
    let merged = Host::bookworm()?.merged(work.path(), &[&raw], &USE.replace("WRITABLE", WRITABLE))?;
    assert_eq!(merged.stdout, "first\n1\n/etc/perl/Net/libnet.cfg\n");

    let root = unsquash(&raw, work.path())?;
    for (path, expected) in [
        ("usr/lib/git-core/git-remote-https", true),
        ("usr/share/git-core/templates/description", true),
        ("usr/share/perl/5.36.0/strict.pm", true),
        ("usr/share/doc", false),
        ("usr/share/man", false),
        ("usr/share/locale", false),
        // The host's own, whatever Debian's packages depend on.
        ("usr/bin/sh", false),
        ("usr/bin/dpkg", false),
        ("usr/bin/ls", false),
        ("etc", false),
    ] {
        assert_eq!(fs::symlink_metadata(root.join(path)).is_ok(), expected, "{path}");
    }
    Ok(())
}

#[test]
fn alone_a_package_brings_its_own_files_and_libraries() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    let flix = World::get()?.flix(&user).args(["debian:bookworm", "git", "package:git", "--no-depends"]);
    let out = flix.args(["--locale", "de"]).run()?;
    // Its scripts in Perl have no interpreter then.
    assert_says(&out, &["script needs /usr/bin/perl of the host"]);
    let root = unsquash(&user.home().join("git.raw"), work.path())?;
    for (path, expected) in [
        ("usr/bin/git", true),
        ("usr/bin/perl", false),
        ("usr/share/perl", false),
        ("usr/share/locale/de/LC_MESSAGES/git.mo", true),
        ("usr/share/locale/fr", false),
    ] {
        assert_eq!(fs::symlink_metadata(root.join(path)).is_ok(), expected, "{path}");
    }
    Ok(())
}

#[test]
fn a_package_that_nobody_has_is_an_error() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    let world = World::get()?;
    let out = world.flix(&user).args(["debian:bookworm", "x", "package:nonesuch", "--no-install"]);
    let out = out.outcome()?.failure()?;
    assert_says(&out, &["error: package nonesuch is not installed in the image", "hint: "]);
    // Our image in Alpine's manner has a package manager that keeps no database.
    let out = world.flix(&user).args(["little:latest", "x", "package:b3sum"]).outcome()?.failure()?;
    assert_says(&out, &["error: package:b3sum: the image has no package database", "hint: ", "--trace"]);
    assert!(!user.home().join("x.raw").exists());
    Ok(())
}

/// With PATHs of one's own, packages only say what the private root has.
#[test]
fn a_private_root_that_nothing_enters_is_reported() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    for (path, expected) in [("/usr/share/base-files", true), ("/usr/bin/diff", false)] {
        let args = ["debian:bookworm", "x", "package:diffutils", path, "--format", "dir", "-o", "x"];
        let out = World::get()?.flatwrap(&user).args(args).run()?;
        assert_eq!(
            out.stderr.contains("warning: no entry points: no PATH is a program"),
            expected,
            "{out:?}"
        );
        fs::remove_dir_all(user.home().join("x"))?;
    }
    Ok(())
}

/// The real apk writes the database.
#[test]
fn a_package_of_alpine_is_what_its_program_needs() -> Result<()> {
    let world = World::get()?;
    if !world.alpines().contains(&"alpine:latest") {
        return Ok(());
    }
    let work = Work::new()?;
    let user = work.user("user")?;
    let make = |path: &str| -> Result<Vec<u8>> {
        let out = world.flix(&user).args(["alpine:latest", "b3sum", path]).run()?;
        assert_says(&out, &["install", "b3sum"]);
        Ok(fs::read(user.home().join("b3sum.raw"))?)
    };
    assert!(
        make("/usr/bin/b3sum")? == make("package:b3sum")?,
        "more or less than the program and its library"
    );
    hashes(&work, &user.home().join("b3sum.raw"))
}

fn hashes(work: &Work, raw: &Path) -> Result<()> {
    fs::write(work.path().join("input"), "")?;
    let script = "cp input \"$place/tmp/\"\nchroot \"$place\" /usr/bin/b3sum /tmp/input\n";
    let out = Host::bookworm()?.merged(work.path(), &[raw], script)?;
    // BLAKE3 of nothing.
    assert_eq!(out.stdout, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262  /tmp/input\n");
    Ok(())
}

/// tcpdump, started by root, becomes a user whom only the installation of its package makes.
#[test]
fn the_user_of_a_program_comes_with_its_package() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    let flix = |path: &str| World::get()?.flix(&user).args(["debian:bookworm", "tcpdump", path]).run();
    assert_says(
        &flix("/usr/bin/tcpdump")?,
        &[
            "warning: /usr/bin/tcpdump: runs as the user tcpdump if root starts it, and hosts may lack this user\n",
            "hint: package:tcpdump has the host make the user tcpdump\n",
        ],
    );
    let out = flix("package:tcpdump")?;
    assert!(!out.stderr.contains("hosts may lack"), "{}", out.stderr);
    // It reads the head of a capture without a packet, as whom it has become.
    let script = format!(
        "{WRITABLE}\nrun() {{ chroot \"$place\" \"$@\"; }}\nrun systemd-sysusers tcpdump-setup.conf\n\
         mount -t tmpfs tmpfs \"$place/tmp\"\n\
         printf '\\324\\303\\262\\241\\2\\0\\4\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\4\\0\\1\\0\\0\\0' > \"$place/tmp/none\"\n\
         run /usr/bin/tcpdump -r /tmp/none 2>&1\nrun getent passwd tcpdump | cut -d : -f 1\n"
    );
    let out = Host::bookworm()?.merged(work.path(), &[&user.home().join("tcpdump.raw")], &script)?;
    assert!(out.stdout.starts_with("reading from file /tmp/none"), "{}", out.stdout);
    assert!(out.stdout.ends_with("\ntcpdump\n"), "{}", out.stdout);
    Ok(())
}

/// Of the running system, /var isn't read but for the package database and what packages list there.
#[test]
fn a_package_of_this_machine_comes_with_its_state() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    // One of those that the tests install: tests/packages.txt.
    World::get()?.flix(&user).args(["dir:/", "registry", "package:docker-registry"]).run()?;
    let root = unsquash(&user.home().join("registry.raw"), work.path())?;
    assert!(root.join("usr/bin/docker-registry").is_file());
    let text = fs::read_to_string(root.join("usr/lib/tmpfiles.d/registry-setup.conf"))?;
    assert!(text.lines().any(|line| line.starts_with("d /var/lib/docker-registry ")), "{text}");
    Ok(())
}
