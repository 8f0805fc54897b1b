//! `bakery check` with hosts of all kinds: disk images, file systems, tars, directories, and OCI images.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::layout::{self, Platform};
use e2e::{Account, Program, Work, place, roots};

use crate::disk::{self, MIB};
use crate::flatcar::Parts;

/// What is in /usr of the host.
const USR: &str = r#"
mkdir -p "$1/lib/systemd/system" "$1/bin" "$1/share"
ln -s bin "$1/sbin"
printf 'ID=flatcar\nVERSION_ID=4152.2.0\nSYSEXT_LEVEL=1.0\n' > "$1/lib/os-release"
printf '#!/bin/sh\n' > "$1/bin/systemd-sysext"
printf '#!/bin/sh\n' > "$1/bin/tool"
chmod 755 "$1/bin/systemd-sysext" "$1/bin/tool"
"#;

/// An extension that replaces the host's link by a directory, and one of its programs.
const EXTENSION: &str = r#"
mkdir -p "$1/usr/lib/extension-release.d" "$1/usr/sbin" "$1/usr/bin"
printf 'ID=flatcar\nSYSEXT_LEVEL=1.0\n' > "$1/usr/lib/extension-release.d/extension-release.x"
printf 'x' > "$1/usr/sbin/x"
printf 'other' > "$1/usr/bin/tool"
chmod 755 "$1/usr/sbin/x" "$1/usr/bin/tool"
"#;

fn shell(script: &str, args: &[&Path]) -> Result<()> {
    Program::new("sh").args(["-euc", script, "sh"]).args(args).run().map(drop)
}

/// The file system of a directory.
fn file_system(kind: &str, dir: &Path, at: &Path, size: u64) -> Result<()> {
    let make = match kind {
        "squashfs" => r#"mksquashfs "$1" "$2" -noappend -quiet -no-progress -all-root"#,
        "erofs" => r#"mkfs.erofs --quiet --all-root "$2" "$1""#,
        "btrfs" => r#"/usr/sbin/mkfs.btrfs -q --rootdir "$1" "$2""#,
        _ => r#"/usr/sbin/mke2fs -q -t ext4 -F -d "$1" "$2""#,
    };
    if kind == "btrfs" || kind == "ext4" {
        File::create(at)?.set_len(size)?;
    }
    shell(make, &[dir, at])
}

/// A disk of Flatcar's layout whose USR-A has a file system of this kind.
fn flatcar(work: &Work, kind: &str) -> Result<PathBuf> {
    let usr = work.dir(&format!("usr-{kind}"))?;
    shell(USR, &[&usr])?;
    let mut layout = disk::LAYOUT.to_vec();
    layout[2].2 = 128;
    let image = work.path().join(format!("flatcar-{kind}.bin"));
    disk::make(&image, &layout, None)?;
    let part = work.path().join(format!("usr.{kind}"));
    file_system(kind, &usr, &part, 120 * MIB)?;
    disk::write_at(&image, &part, disk::partition(&image, "USR-A")?.offset)?;
    Ok(image)
}

/// The extensions of docs/checking.md, and its hosts: `$1` is Debian 12, `$2` Debian 13.
const EXAMPLES: &str = r#"
ln -s "$1" debian-12
ln -s "$2" debian-13
extension() {
    mkdir -p "$1/usr/lib/extension-release.d" "$1/usr/bin" "$1/usr/lib/systemd/system" "$1/usr/lib/x86_64-linux-gnu"
    printf "$2" > "$1/usr/lib/extension-release.d/extension-release.$1"
}
extension pinned 'ID=debian\nVERSION_ID=12\n'
extension web 'ID=_any\nEXTENSION_RELOAD_MANAGER=1\n'
cd web/usr/lib
mkdir -p systemd/system/multi-user.target.wants sysusers.d udev/rules.d
printf '[Unit]\nRequires=certificates.service\n\n[Service]\nUser=www\nExecStart=/usr/bin/web-server\n' > systemd/system/web.service
ln -s ../web.service systemd/system/multi-user.target.wants/web.service
printf 'u www -\n' > sysusers.d/web.conf
printf 'KERNEL=="web"\n' > udev/rules.d/70-web.rules
cd ../../..
extension careless 'ID=_any\n'
mkdir -p careless/opt/careless
printf '#!/bin/sh\n' > careless/usr/bin/gzip
chmod 755 careless/usr/bin/gzip
chmod 700 careless/usr/bin
ln -s /opt/careless/pam.d careless/usr/lib/pam.d
printf x > careless/opt/careless/x
extension old-libraries 'ID=_any\nARCHITECTURE=x86-64\n'
cp -L "$1/usr/lib/x86_64-linux-gnu/libselinux.so.1" "$1/usr/lib/x86_64-linux-gnu/libmount.so.1" old-libraries/usr/lib/x86_64-linux-gnu
extension tool 'ID=_any\nEXTENSION_RELOAD_MANAGER=1\n'
printf '#!/usr/bin/env python3\n' > tool/usr/bin/tool
chmod +x tool/usr/bin/tool
printf '[Service]\nType=dbus\nBusName=org.example.Tool\nExecStart=/usr/bin/tool\n' > tool/usr/lib/systemd/system/tool.service
printf '[Timer]\nOnCalendar=daily\n' > tool/usr/lib/systemd/system/backup.timer
extension pool 'ID=_any\nEXTENSION_RELOAD_MANAGER=1\n'
printf '[Unit]\nAssertKernelVersion=<6\n[Service]\nExecStartPre=modprobe zfs\nExecStart=sh -c true\n' > pool/usr/lib/systemd/system/pool.service
printf '[Mount]\nWhat=x\nWhere=/srv/pool\nType=zfs\n' > pool/usr/lib/systemd/system/srv-pool.mount
extension newer 'ID=_any\nARCHITECTURE=x86-64\n'
cp -L "$2/usr/bin/cp" newer/usr/bin/newer-cp
cp -L "$2/usr/bin/systemctl" newer/usr/bin/newer-ctl
"#;

/// `bakery check` of the extension: what it prints.
fn check(by: &Account, host: &str) -> Result<String> {
    let out = Parts::get()?.bakery(by).args(["check", "--host", host, "x"]).outcome()?.failure()?;
    assert!(out.stderr.ends_with("error: 2 errors\n"), "{host}: {}\n{}", out.stderr, out.stdout);
    for said in [
        "error: x: /usr/bin/tool: hides the host's file, which has other content [host-file]\n",
        "error: x: /usr/sbin: replaces the host's link to bin: what was found through it is gone [directory-over-link]\n",
        ": flatcar, 4152.2.0",
        "  x: merged, 3 files\n",
    ] {
        assert!(out.stdout.contains(said), "{host}: {said}\n{}", out.stdout);
    }
    Ok(out.stdout)
}

/// The extension in somebody's home.
fn extension(by: &Account) -> Result<()> {
    shell(EXTENSION, &[&by.home().join("x")])
}

#[test]
fn disks_are_read_without_privileges() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    extension(&user)?;
    for kind in ["squashfs", "ext4", "btrfs", "erofs"] {
        let image = flatcar(&work, kind)?;
        let place = image.to_str().context("path")?;
        let said = check(&user, place)?;
        // The tools that take ROOT and the others apart make files of their own.
        let notes = if kind == "squashfs" { 1 } else { 2 };
        assert_eq!(said.matches("[not-compared]").count(), notes, "{kind}: {said}");
        if kind == "btrfs" {
            let root = work.root("root")?;
            extension(&root)?;
            assert!(!check(&root, place)?.contains("[not-compared]"));
        }
    }
    assert_eq!(disk::in_use(work.path())?, Vec::<String>::new());
    Ok(())
}

/// A cloud's image: a root partition behind those that boot it.
const PARTITIONS: &str = r#"
mkdir "$2"
printf '[Partition]\nType=21686148-6449-6E6F-744E-656564454649\nSizeMinBytes=1M\nSizeMaxBytes=1M\n' > "$2/10-bios.conf"
printf '[Partition]\nType=root\nFormat=ext4\nCopyFiles=/\nSizeMinBytes=700M\n' > "$2/20-root.conf"
systemd-repart --dry-run=no --empty=create --size=auto --root="$1" --definitions="$2" "$3"
"#;

/// Debian by mmdebstrap and systemd-repart, read by somebody without privileges.
#[test]
fn a_clouds_image_is_the_host_that_it_was_made_of() -> Result<()> {
    let work = Work::new()?;
    let (user, root) = (work.user("user")?, work.root("root")?);
    let at = |name: &str| work.path().join(name);
    let host = roots::host("bookworm")?;
    shell(PARTITIONS, &[&host, &at("definitions"), &at("cloud.img")])?;
    let extension = at("x");
    let release = extension.join("usr/lib/extension-release.d");
    fs::create_dir_all(&release)?;
    fs::write(release.join("extension-release.x"), "ID=debian\nVERSION_ID=12\n")?;
    let lib = extension.join("usr/lib/x86_64-linux-gnu");
    fs::create_dir_all(&lib)?;
    fs::write(lib.join("libmount.so.1"), "none")?;
    let check = |by: &Account, host: &str| -> Result<String> {
        let bakery = Parts::get()?.bakery(by).args(["check", "--host", host]);
        let out = bakery.arg(&extension).outcome()?.failure()?;
        // The first line names the host, the last one counts the notes, of which one is about how the image was read.
        let lines = out.stdout.lines().skip(1).filter(|line| !line.ends_with("[not-compared]"));
        let lines = lines.filter(|line| !line.starts_with("2 errors, "));
        Ok(lines.map(|line| format!("{line}\n")).collect())
    };
    let said = check(&user, at("cloud.img").to_str().context("path")?)?;
    assert!(said.contains("  x: merged, ") && said.contains("[host-file]"), "{said}");
    // Others may not look into all of its directories.
    assert_eq!(said, check(&root, &format!("dir:{}", host.display()))?);
    Ok(())
}

#[test]
fn a_host_may_be_a_root_partition_a_file_system_a_tar_a_directory_or_an_oci_image() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    extension(&user)?;
    let root = work.dir("root")?;
    shell(USR, &[&root.join("usr")])?;
    fs::create_dir(root.join("etc"))?;
    std::os::unix::fs::symlink("../usr/lib/os-release", root.join("etc/os-release"))?;
    let at = |name: &str| work.path().join(name);
    disk::make(&at("disk.img"), &[(1, "EFI-SYSTEM", 4), (2, "ROOT", 64)], Some(&root))?;
    file_system("squashfs", &root, &at("root.squashfs"), 0)?;
    file_system("squashfs", &root.join("usr"), &at("usr.squashfs"), 0)?;
    shell(r#"tar -C "$1" --owner=0 --group=0 -cf "$2" ."#, &[&root, &at("root.tar")])?;
    for host in ["disk.img", "root.squashfs", "usr.squashfs", "root.tar", "root"] {
        check(&user, at(host).to_str().context("path")?)?;
    }
    check(&user, &format!("dir:{}", root.display()))?;
    let platform = Platform { architecture: "amd64", layers: vec![at("root.tar")] };
    layout::write(&at("layout"), "latest", &[platform])?;
    check(&user, &format!("oci:{}", at("layout").display()))?;

    // What is no host is an error that says so.
    fs::write(user.home().join("text"), "text")?;
    for (host, said) in [("text", "text"), ("no-such-file.img", "no-such-file")] {
        let out = Parts::get()?
            .bakery(&user)
            .args(["check", "--offline", "--host", host, "x"])
            .outcome()?
            .failure()?;
        assert!(out.stderr.contains(said) && out.stdout.is_empty(), "{out:?}");
    }
    Ok(())
}

#[test]
fn releases_of_a_host_are_compared_and_fleets_are_tables() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    for (name, version) in [("old", "4152.2.0"), ("new", "4230.1.0")] {
        let usr = user.home().join(name).join("usr");
        shell(USR, &[&usr])?;
        fs::write(usr.join("lib/os-release"), format!("ID=flatcar\nVERSION_ID={version}\n"))?;
    }
    // The new release has a program of its own where the extension has one.
    fs::write(user.home().join("new/usr/bin/own"), "the host's")?;
    for (name, release) in [("pinned", "ID=flatcar\nVERSION_ID=4152.2.0\n"), ("any", "ID=_any\n")] {
        let dir = user.home().join(name).join("usr");
        fs::create_dir_all(dir.join("lib/extension-release.d"))?;
        fs::write(dir.join("lib/extension-release.d").join(format!("extension-release.{name}")), release)?;
        fs::create_dir_all(dir.join("bin"))?;
        fs::write(dir.join("bin").join(if name == "any" { "own" } else { "pinned" }), name)?;
    }
    let set = "hosts = [\"dir:new\"]\nextensions = [\"pinned\", \"any\"]\n";
    fs::write(user.home().join("set.toml"), set)?;
    let bakery = |args: &[&str]| Ok::<_, anyhow::Error>(Parts::get()?.bakery(&user).arg("check").args(args));
    let out = bakery(&["--set", "set.toml", "--against", "dir:old"])?.outcome()?.failure()?;
    assert_eq!(
        out.stdout,
        "host dir:new\n  before: flatcar, 4152.2.0\n  now: flatcar, 4230.1.0\n  pinned was merged, and isn't any more\n\
         New:\n\
         error: pinned: isn't merged: it is for VERSION_ID=4152.2.0, and the host has 4230.1.0 [not-merged]\n\
         error: any: /usr/bin/own: hides the host's file, which has other content [host-file]\n"
    );
    assert!(out.stderr.ends_with("error: 2 errors\n"), "{}", out.stderr);
    let out = bakery(&["--set", "set.toml", "--host", "dir:old", "--matrix"])?.outcome()?.failure()?;
    assert_eq!(
        out.stdout,
        "| extension | dir:new | dir:old |\n|---|---|---|\n| pinned | not merged | ok |\n\
         | any | **errors**: host-file | ok |\n"
    );
    let out = bakery(&["--set", "set.toml", "--host", "dir:old", "--json"])?.outcome()?.failure()?;
    let json: serde_json::Value = serde_json::from_str(&out.stdout)?;
    assert_eq!(
        json[0]["extensions"][1]["reason"],
        "it is for VERSION_ID=4152.2.0, and the host has 4230.1.0"
    );
    assert_eq!(json[1]["findings"], serde_json::json!([]));
    assert_eq!(json[0]["findings"][1]["rule"], "host-file");
    // What is accepted is a warning, and fails with --strict only.
    let allowed = ["--host", "dir:new", "--allow", "host-file", "any"];
    bakery(&allowed)?.run()?;
    bakery(&[&allowed[..], &["--strict"]].concat())?.outcome()?.failure()?;
    Ok(())
}

/// The page's commands print the page's lines. How many files load a library is the root's own matter.
#[test]
fn the_examples_of_the_guide() -> Result<()> {
    let work = Work::new()?;
    let root = work.root("root")?;
    let (old, new) = (roots::host("bookworm")?, roots::host("trixie")?);
    root.program("sh").args(["-euc", EXAMPLES, "sh"]).args([&old, &new]).run()?;
    // How many more files there are, and the kernel's release: an update of Debian changes both.
    let without_count = |line: &str| match line.split_once(" more files") {
        Some((before, after)) => format!("{}{after}", before.trim_end_matches(|c: char| c.is_ascii_digit())),
        None => match line.split_once(" kernel ") {
            Some((before, after)) => {
                format!("{before} kernel{}", after.trim_start_matches(|c| !" []".contains(c)))
            }
            None => line.to_owned(),
        },
    };
    let guide = fs::read_to_string(place::repository().join("docs/checking.md"))?;
    let mut printed: Vec<String> = Vec::new();
    let (mut commands, mut lines) = (0, 0);
    for line in guide.lines().filter_map(|line| line.strip_prefix("    ")) {
        if let Some(command) = line.strip_prefix("$ bakery ") {
            if command.contains("debian-1") {
                let out = Parts::get()?.bakery(&root).args(command.split_whitespace()).outcome()?;
                printed = out.stdout.lines().map(without_count).collect();
                commands += 1;
            }
        } else if line.contains(": ") || line.starts_with('|') {
            assert!(printed.contains(&without_count(line)), "{line}\n{}", printed.join("\n"));
            lines += 1;
        }
    }
    assert!(commands > 6 && lines > 20, "{commands} {lines}");
    Ok(())
}
