//! Same input, same bytes.

use std::fs;
use std::path::Path;

use anyhow::Result;
use e2e::{Account, Program, Work, World};

/// Runs `flix debian:bookworm perl /usr/bin/perl` with a umask, in a directory, with more variables.
fn make(by: &Account, umask: &str, dir: &Path, extra: &[&str], env: &[(&str, &str)]) -> Result<Vec<u8>> {
    let world = World::get()?;
    let output = dir.join("perl.raw");
    let mut run = by
        .program("sh")
        .args(["-c", r#"umask "$1"; cd "$2"; shift 2; exec "$@""#, "sh", umask])
        .arg(dir)
        .arg(world.flix_program())
        .args(["debian:bookworm", "perl", "/usr/bin/perl", "-o"])
        .arg(&output)
        .args(extra)
        .env("CONTAINERS_REGISTRIES_CONF", world.registries_conf());
    for (name, value) in env {
        run = run.env(name, value);
    }
    run.run()?;
    let bytes = fs::read(&output)?;
    fs::remove_file(output)?;
    Ok(bytes)
}

#[test]
fn whoever_wherever_whenever() -> Result<()> {
    let work = Work::new()?;
    let (root, user) = (work.root("root")?, work.user("user")?);
    let elsewhere = user.home().join("a much longer name, with spaces");
    user.program("mkdir").arg(&elsewhere).run()?;

    for format in ["squashfs", "erofs", "ext4", "tar"] {
        let format = ["--format", format];
        let cold = make(&root, "022", root.home(), &format, &[])?;
        let warm = make(&root, "077", root.home(), &format, &[("TZ", "Asia/Tokyo"), ("LC_ALL", "C.UTF-8")])?;
        assert!(cold == warm, "{format:?}: cold and warm cache, umask and time zone");
        let other = make(&user, "000", &elsewhere, &format, &[("USER", "x"), ("HOSTNAME", "y")])?;
        assert!(cold == other, "{format:?}: another user and directory");
    }
    Ok(())
}

#[test]
fn the_epoch_shows_and_nothing_else_does() -> Result<()> {
    let work = Work::new()?;
    let root = work.root("root")?;
    let zero = make(&root, "022", root.home(), &["--format", "tar"], &[])?;
    let later = [("SOURCE_DATE_EPOCH", "86400")];
    let by_env = make(&root, "022", root.home(), &["--format", "tar"], &later)?;
    let by_flag = make(&root, "022", root.home(), &["--format", "tar", "--epoch", "86400"], &[])?;
    assert!(zero != by_env);
    assert!(by_env == by_flag);
    let tar = work.path().join("perl.tar");
    fs::write(&tar, by_env)?;
    let list = Program::new("tar")
        .env("TZ", "UTC")
        .args(["--numeric-owner", "--full-time", "-tvf"])
        .arg(tar)
        .run()?;
    for line in list.stdout.lines() {
        assert!(line.contains(" 1970-01-02 00:00:00 ") && line.contains(" 0/0 "), "{line}");
    }
    Ok(())
}
