//! `bakery test`'s engine: merged for real, on a Debian host.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use e2e::{Host, Work};
use sysext::merge_test::{MergeTest, MergeTestError, Test};

/// A directory that is an extension called `hello`.
fn extension(work: &Work) -> Result<PathBuf> {
    let dir = work.dir("hello")?;
    let release = dir.join("usr/lib/extension-release.d");
    fs::create_dir_all(&release)?;
    fs::write(release.join("extension-release.hello"), "ID=_any\n")?;
    fs::create_dir_all(dir.join("usr/share"))?;
    fs::write(dir.join("usr/share/hello"), "hello from the extension\n")?;
    Ok(dir)
}

fn test(run: &str, expect: &str) -> Test {
    Test { run: run.to_owned(), expect: Some(expect.to_owned()) }
}

#[test]
fn tests_run_in_the_merged_host_and_nowhere_else() -> Result<()> {
    let (work, host) = (Work::new()?, Host::bookworm()?);
    let images = vec![("hello".parse()?, extension(&work)?)];
    let tests = vec![
        test("cat /usr/share/hello", "from the extension"),
        test("cat /usr/share/hello", "from elsewhere"),
        test("cat /etc/debian_version; exit 3", "12"),
        test("echo changed > /etc/hostname; cat /etc/hostname", "changed"),
        test("echo changed > /srv/hello", ""),
    ];
    let merge_test = MergeTest { root: host.root().to_owned(), images, tests };
    let report = merge_test.run(&work.dir("scratch")?)?;
    let passed: Vec<bool> = report.results.iter().map(|r| r.passed()).collect();
    assert_eq!(passed, [true, false, false, true, false], "{report:?}");
    assert_eq!(report.results[2].status, 3);
    assert!(!host.root().join("usr/share/hello").exists());
    assert_ne!(fs::read_to_string(host.root().join("etc/hostname")).unwrap_or_default(), "changed\n");
    Ok(())
}

/// As on a machine that merges over its own root, with a cache and images below /tmp.
#[test]
fn images_and_scratch_may_be_where_the_root_gets_file_systems_of_its_own() -> Result<()> {
    let (work, host) = (Work::new()?, Host::bookworm()?);
    let inside = tempfile::tempdir_in(host.root().join("tmp"))?;
    let (image, scratch) = (inside.path().join("hello"), inside.path().join("scratch"));
    e2e::Program::new("cp").arg("-a").args([&extension(&work)?, &image]).run()?;
    fs::create_dir(&scratch)?;
    let tests = vec![test("cat /usr/share/hello; ls /tmp | wc -l", "hello from the extension\n0\n")];
    let merge_test =
        MergeTest { root: host.root().to_owned(), images: vec![("hello".parse()?, image)], tests };
    let report = merge_test.run(&scratch)?;
    assert!(report.passed(), "{report:?}");
    Ok(())
}

#[test]
fn what_systemd_refuses_is_an_error() -> Result<()> {
    let (work, host) = (Work::new()?, Host::bookworm()?);
    let images = vec![("hello".parse()?, extension(&work)?)];
    fs::write(images[0].1.join("usr/lib/extension-release.d/extension-release.hello"), "ID=other\n")?;
    let merge_test = MergeTest { root: host.root().to_owned(), images, tests: Vec::new() };
    match merge_test.run(&work.dir("scratch")?) {
        Err(MergeTestError::Merge { said, .. }) => assert!(said.contains("left hello out"), "{said}"),
        other => panic!("{other:?}"),
    }
    Ok(())
}
