//! The harness itself: a merge and a registry that don't work here make all other results void.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::program::processes;
use e2e::{Host, Program, Work, World};

/// A hand-made extension with a script in it.
fn hello(work: &Work) -> Result<PathBuf> {
    let root = work.dir("hello")?;
    let release = root.join("usr/lib/extension-release.d");
    fs::create_dir_all(&release)?;
    fs::create_dir_all(root.join("usr/bin"))?;
    fs::write(release.join("extension-release.hello"), "ID=_any\n")?;
    fs::write(root.join("usr/bin/hello"), "#!/bin/sh\necho \"hello, merged\"\n")?;
    Program::new("chmod").arg("755").arg(root.join("usr/bin/hello")).run()?;
    let raw = work.path().join("hello.raw");
    let pack = Program::new("mksquashfs").arg(&root).arg(&raw);
    pack.args(["-quiet", "-no-progress", "-all-root", "-comp", "zstd"]).run()?;
    Ok(raw)
}

#[test]
fn an_extension_is_merged_and_gone_afterwards() -> Result<()> {
    let work = Work::new()?;
    let raw = hello(&work)?;
    let host = Host::bookworm()?;
    let out = host.merged(work.path(), &[&raw], "chroot $place hello; ls $place/etc/extensions")?;
    assert_eq!(out.stdout, "hello, merged\nhello.raw\n");
    assert!(!host.root().join("usr/bin/hello").exists());
    Ok(())
}

#[test]
fn a_wrong_release_file_is_refused() -> Result<()> {
    let work = Work::new()?;
    let raw = hello(&work)?;
    let renamed = work.path().join("other.raw");
    fs::rename(raw, &renamed)?;
    let error = Host::bookworm()?.merged(work.path(), &[&renamed], "true").expect_err("merged");
    assert!(error.to_string().contains("No medium found"), "{error:#}");
    Ok(())
}

#[test]
fn the_registry_serves_what_was_pushed() -> Result<()> {
    let world = World::get()?;
    for (image, architectures) in [("debian:bookworm", 1), ("little:latest", 2)] {
        let reference = format!("docker://{}/library/{image}", world.registry());
        let raw =
            Program::new("skopeo").args(["inspect", "--raw", "--tls-verify=false"]).arg(reference).run()?;
        assert_eq!(raw.stdout.matches("\"architecture\"").count(), architectures, "{}", raw.stdout);
    }
    Ok(())
}

/// BLAKE3's official test vectors: the input is 0, 1, …, 250, 0, 1, … of the length.
#[test]
fn the_b3sum_of_the_tests_is_right() -> Result<()> {
    let work = Work::new()?;
    let package = e2e::images::b3sum(work.path())?;
    assert_eq!(package.files[0].0, "usr/bin/b3sum");
    for (len, hash) in [
        (0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        (1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
        (1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"),
        (1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"),
        (3073, "7124b49501012f81cc7f11ca069ec9226cecb8a2c850cfe644e327d22d3e1cd3"),
    ] {
        let input: Vec<u8> = (0..len).map(|i: u32| (i % 251) as u8).collect();
        let file = work.path().join("input");
        fs::write(&file, input)?;
        let b3sum = Program::new(work.path().join("b3sum")).env("LD_LIBRARY_PATH", work.path());
        let out = b3sum.arg(Path::new(&file)).run()?;
        assert_eq!(out.stdout.split(' ').next(), Some(hash), "{len} bytes");
    }
    Ok(())
}

/// A check that nothing runs any more would pass if it couldn't see what does.
#[test]
fn processes_are_found_wherever_they_name_a_directory() -> Result<()> {
    let work = Work::new()?;
    let dir = work.dir("some place")?;
    let sleep = || Program::new("sleep").arg("1000");
    let by_argument = Program::new("sh").args(["-c", "read line"]).arg(&dir);
    for (what, mut program) in [
        ("an argument", by_argument),
        ("a variable", sleep().env("SOME_VARIABLE", &dir)),
        ("the current directory", sleep().dir(&dir)),
    ] {
        program.command().stdin(std::process::Stdio::piped());
        let mut child = program.start()?;
        let found = processes(dir.to_str().context("UTF-8")?);
        child.kill()?;
        child.wait()?;
        assert_eq!(found?.len(), 1, "{what}");
    }
    Ok(())
}
