//! What goes wrong with `bakery bake-image` leaves the image as it was, and nothing else behind.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::program::{being_written, wait_for};
use e2e::{Account, Program};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::{
    disk::{self, MIB},
    flatcar::{Flatcar, IMAGE, Keys, Parts, extension},
};

/// All names below a directory, but for the cache's.
fn names(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|n| n != ".cache");
    names.sort();
    Ok(names)
}

/// It has to fail with these words, and leave the home as it is.
fn fails(program: Program, by: &Account, said: &str) -> Result<()> {
    let before = names(by.home())?;
    let out = program.outcome()?.failure()?;
    assert!(
        out.stderr.contains(&format!("error: {said}")) || out.stderr.contains(said),
        "expected {said:?}, got {}",
        out.stderr
    );
    assert_eq!(names(by.home())?, before, "{said}");
    assert_eq!(disk::in_use(by.home())?, Vec::<String>::new(), "{said}");
    Ok(())
}

#[test]
fn signatures_that_do_not_hold() -> Result<()> {
    let flatcar = Flatcar::new()?;
    let user = flatcar.work.user("user")?;
    flatcar.tool(&user)?;
    let parts = Parts::get()?;
    let image = format!("{IMAGE}.bz2");
    let signature = format!("{image}.sig");
    let tool = "tool:tool.raw";

    // Flatcar's own key has not signed it.
    fails(flatcar.bare(&user).arg(tool), &user, "signature is by key")?;
    let wrong =
        flatcar.bare(&user).args(["--fingerprint", "F88CFEDEFF29A5B4D9523864E25D9AED0593B34A", "--key"]);
    fails(wrong.arg(parts.key()).arg(tool), &user, "expected F88CFEDEFF29A5B4D9523864E25D9AED0593B34A")?;
    fails(flatcar.bare(&user).args(["--key", "tool.conf"]).arg(tool), &user, "key")?;

    let keys = Keys::new(flatcar.work.path().join("other-keys"))?;
    let by = |who: &str| -> Result<Program> {
        let key = user.home().join("../other.asc");
        keys.export(who, &key)?;
        keys.sign(who, &parts.compressed(), &flatcar.work.path().join("other.sig"))?;
        flatcar.replace(&signature, fs::read(flatcar.work.path().join("other.sig"))?)?;
        Ok(flatcar.bare(&user).arg("--key").arg(key).arg(tool))
    };
    // Of somebody else, then of somebody else who is trusted.
    keys.make("other@example.org", "never")?;
    by("other@example.org")?;
    fails(flatcar.bake(&user).arg(tool), &user, "signature is by key")?;
    by("other@example.org")?.run()?;
    fs::remove_file(user.home().join(IMAGE))?;
    // Revoked.
    let fingerprint = keys.make("gone@example.org", "never")?;
    let _ = by("gone@example.org")?;
    let revocation = flatcar.work.path().join(format!("other-keys/openpgp-revocs.d/{fingerprint}.rev"));
    let text = fs::read_to_string(&revocation)?.replace(":-----BEGIN", "-----BEGIN");
    keys.gpg().arg("--import").input(text).run()?;
    let key = user.home().join("../gone.asc");
    keys.export("gone@example.org", &key)?;
    fails(flatcar.bare(&user).arg("--key").arg(key).arg(tool), &user, "revoked")?;

    // Another image under the good signature, a text for a signature, none.
    fs::copy(parts.signature(), flatcar.work.path().join("good.sig"))?;
    let good = fs::read(flatcar.work.path().join("good.sig"))?;
    flatcar.replace(&signature, &good)?;
    let mut bytes = fs::read(parts.compressed())?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    flatcar.replace(&image, &bytes)?;
    fs::remove_dir_all(user.home().join(".cache"))?;
    fails(flatcar.bake(&user).arg(tool), &user, "the file is not the one that was signed")?;
    flatcar.replace(&signature, "<html>not here</html>")?;
    fails(flatcar.bake(&user).arg(tool), &user, "signature ")?;
    fs::remove_file(flatcar.release(&signature))?;
    fails(flatcar.bake(&user).arg(tool), &user, "flatcar_production_image.bin.bz2.sig")?;
    Ok(())
}

#[test]
fn no_space_and_no_such_partition() -> Result<()> {
    let flatcar = Flatcar::new()?;
    let root = flatcar.work.root("root")?;
    flatcar.tool(&root)?;
    extension(&root.home().join("large.raw"), "large", "x86-64", 130 * MIB as usize)?;
    let image = root.home().join("disk.bin");
    fs::copy(Parts::get()?.image(), &image)?;
    let local = || flatcar.bake(&root).args(["--image", "disk.bin"]);
    let before = fs::read(&image)?;
    for (target, name) in [("root:/opt/extensions", "ROOT"), ("oem:/extensions", "OEM")] {
        let program = local().args(["--install-to", target, "large:large.raw"]);
        fails(program, &root, &format!("partition {name} has no space: "))?;
    }
    fails(local().args(["-o", "disk.bin", "tool:tool.raw"]), &root, "is the image itself")?;
    fails(local().args(["-o", "no/such/place.bin", "tool:tool.raw"]), &root, "no/such/place.bin")?;
    fails(
        local().args(["--install-to", "usr:/x", "tool:tool.raw"]),
        &root,
        "expected root:/DIRECTORY or oem:/DIRECTORY",
    )?;
    assert!(fs::read(&image)? == before);

    // Other names, no file system.
    let other = root.home().join("other.bin");
    disk::make(&other, &[(6, "OEM", 128), (9, "STATE", 16)], None)?;
    let other = || flatcar.bake(&root).args(["--image", "other.bin"]);
    fails(
        other().arg("tool:tool.raw"),
        &root,
        "the image has 0 partitions named ROOT, expected one; it has OEM, STATE",
    )?;
    let bare = root.home().join("bare.bin");
    disk::make(&bare, &[(6, "OEM-A", 4), (9, "ROOT", 16)], None)?;
    let part = disk::partition(&bare, "ROOT")?;
    fs::write(root.home().join("zeros"), vec![0; 64 << 10])?;
    Program::new("dd")
        .args([format!("if={}/zeros", root.home().display()), format!("of={}", bare.display())])
        .args([
            format!("seek={}", part.offset),
            "oflag=seek_bytes".into(),
            "conv=notrunc".into(),
            "status=none".into(),
        ])
        .run()?;
    fails(
        flatcar.bake(&root).args(["--image", "bare.bin", "tool:tool.raw"]),
        &root,
        "partition ROOT holds no ext4 file system",
    )?;

    // The output's own file system.
    let small = flatcar.work.dir("small")?;
    let script = r#"mount -t tmpfs -o size=1m tmpfs "$1"; shift; status=0; "$@" || status=$?; ls -A "$PLACE" >&2; exit $status"#;
    let config = flatcar.work.path().join("config.toml");
    let out = root
        .program("unshare")
        .env("PLACE", &small)
        .env("BAKERY_CONFIG", config)
        .args(["--mount", "--propagation", "private", "sh", "-euc", script, "sh"])
        .arg(&small)
        .arg(e2e::place::bakery()?)
        .args(["bake-image", "--image", "disk.bin", "-o"])
        .arg(small.join("out.bin"))
        .arg("tool:tool.raw")
        .outcome()?
        .failure()?;
    assert!(
        out.stderr.contains("No space left on device") && out.stderr.contains("out.bin"),
        "{}",
        out.stderr
    );
    let last = out.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: ") || last.starts_with("hint: "), "left behind: {}", out.stderr);
    Ok(())
}

/// Ctrl-C, for all of a terminal's processes, and SIGTERM for this one: while the image is written, and while OEM is mounted.
#[test]
fn interrupted() -> Result<()> {
    let flatcar = Flatcar::new()?;
    let root = flatcar.work.root("root")?;
    let home = root.home().to_owned();
    extension(&home.join("large.raw"), "large", "x86-64", 90 * MIB as usize)?;
    let image = home.join("disk.bin");
    fs::copy(Parts::get()?.image(), &image)?;
    // Noise that takes its time: USR-B.
    let place = disk::partition(&image, "USR-B")?;
    let noise = fs::read(home.join("large.raw"))?;
    fs::write(home.join("noise"), &noise[..7 << 20])?;
    disk::write_at(&image, &home.join("noise"), place.offset)?;
    fs::remove_file(home.join("noise"))?;
    Program::new("bzip2").args(["-1", "-k"]).arg(&image).run()?;
    let before = fs::read(&image)?;
    let there = names(&home)?;

    let (mut early, mut late) = (0, 0);
    for round in 0..8 {
        let terminal = round % 2 == 0;
        let mut bake =
            flatcar.bake(&root).args(["--image", "disk.bin.bz2", "--install-to", "oem", "large:large.raw"]);
        bake.command().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut child = bake.start()?;
        let is_early = round % 4 < 2;
        let caught = if is_early {
            wait_for(&mut child, || being_written(&home) > 2 * MIB)?
        } else {
            wait_for(&mut child, || disk::in_use(&home).is_ok_and(|u| !u.is_empty()))?
        };
        let pid = Pid::from_raw(i32::try_from(child.id())?).context("no pid")?;
        if caught {
            *(if is_early { &mut early } else { &mut late }) += 1;
            if terminal { kill_process_group(pid, Signal::INT)? } else { kill_process(pid, Signal::TERM)? }
        }
        let status = child.wait()?;
        if status.success() {
            // It was done before the signal came.
            fs::remove_file(home.join("disk-baked.bin"))?;
        }
        assert_eq!(names(&home)?, there, "round {round}: {status}");
        // The kernel takes the loop device down with its last user: a child may end a moment later.
        let deadline = Instant::now() + Duration::from_secs(20);
        while !disk::in_use(&home)?.is_empty() {
            assert!(Instant::now() < deadline, "round {round}: {:?}", disk::in_use(&home)?);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert!(early >= 2 && late >= 2, "caught {early} early and {late} late");
    assert!(fs::read(&image)? == before);
    Ok(())
}
