//! `flix alpine:latest b3sum /usr/bin/b3sum`, as it stands: the image has no b3sum.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::{Account, Host, Program, Work, World};

use crate::{assert_says, unsquash};

/// An official vector of BLAKE3: 0, 1, …, 250, 0, 1, …
const LEN: u32 = 3073;
const HASH: &str = "7124b49501012f81cc7f11ca069ec9226cecb8a2c850cfe644e327d22d3e1cd3";

#[test]
fn as_root() -> Result<()> {
    let work = Work::new()?;
    for (n, image) in World::get()?.alpines().iter().enumerate() {
        merges_and_runs(&work, &work.root(&format!("root{n}"))?, image)?;
    }
    Ok(())
}

#[test]
fn as_an_unprivileged_user() -> Result<()> {
    let work = Work::new()?;
    for (n, image) in World::get()?.alpines().iter().enumerate() {
        merges_and_runs(&work, &work.user(&format!("user{n}"))?, image)?;
    }
    Ok(())
}

fn merges_and_runs(work: &Work, by: &Account, image: &str) -> Result<()> {
    let out = World::get()?.flix(by).args([image, "b3sum", "/usr/bin/b3sum"]).run()?;
    assert_says(&out, &["install", "b3sum"]);
    let raw = by.home().join("b3sum.raw");
    let lint = Program::new(e2e::place::bakery()?).arg("lint").arg(&raw).run()?;
    assert_eq!(lint.stdout, "1 image: nothing found\n");

    let input: Vec<u8> = (0..LEN).map(|i| (i % 251) as u8).collect();
    fs::write(work.path().join("input"), input)?;
    let script = r#"
cp input "$place/tmp/"
strace -f -qq -e trace=execve,open,openat,openat2 -o strace.log chroot "$place" /usr/bin/b3sum /tmp/input
"#;
    let out = Host::bookworm()?.merged(work.path(), &[&raw], script)?;
    assert_eq!(out.stdout, format!("{HASH}  /tmp/input\n"), "{image}");
    opens_nothing_of_the_host(&work.path().join("strace.log"))?;
    only_its_own(work, &raw)
}

/// Not one try to open a file but the input and those of the private sysroot.
fn opens_nothing_of_the_host(log: &Path) -> Result<()> {
    let log = fs::read_to_string(log)?;
    let (_, ours) = log.split_once("execve(\"/usr/bin/b3sum\"").context("no execve in the trace")?;
    let mut opened = Vec::new();
    for line in ours.lines().filter(|l| l.contains("open")) {
        let path = line.split('"').nth(1).with_context(|| format!("no path in {line:?}"))?;
        ensure!(path.starts_with("/usr/lib/flix/b3sum/") || path == "/tmp/input", "opened: {line}");
        opened.push(path);
    }
    let library = opened.iter().any(|p| p.ends_with("/libblake3.so.0"));
    ensure!(library && opened.contains(&"/tmp/input"), "the trace misses something: {opened:?}");
    Ok(())
}

/// The image has the program, its closure, the release file, and nothing else.
fn only_its_own(work: &Work, raw: &Path) -> Result<()> {
    let root = unsquash(raw, work.path())?;
    let found = e2e::Program::new("find").arg(&root).args(["-type", "f", "-printf", "%P\n"]).run()?;
    for path in found.stdout.lines() {
        let known = path == "usr/bin/b3sum"
            || path == "usr/lib/extension-release.d/extension-release.b3sum"
            || path.starts_with("usr/lib/flix/b3sum/");
        ensure!(known, "{path} is in the image");
    }
    let release = fs::read_to_string(root.join("usr/lib/extension-release.d/extension-release.b3sum"))?;
    ensure!(release.contains("ID=_any\n") && release.contains("ARCHITECTURE=x86-64\n"), "{release}");
    Ok(())
}

#[test]
fn no_install_forbids_it() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    let out = World::get()?.flix(&user).args(["little:latest", "b3sum", "/usr/bin/b3sum", "--no-install"]);
    let out = out.outcome()?.failure()?;
    assert_says(&out, &["error: ", "/usr/bin/b3sum"]);
    assert!(!user.home().join("b3sum.raw").exists());
    Ok(())
}

#[test]
fn a_package_that_is_not_there_is_named() -> Result<()> {
    let work = Work::new()?;
    let user = work.user("user")?;
    let out = World::get()?.flix(&user).args(["little:latest", "nonesuch", "/usr/bin/nonesuch"]);
    let out = out.outcome()?.failure()?;
    assert_says(&out, &["error: ", "nonesuch", "no such package"]);
    assert!(!user.home().join("nonesuch.raw").exists());
    Ok(())
}
