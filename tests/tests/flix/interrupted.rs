//! Killed, interrupted, out of space: a clear error or a whole image, and a cache that still works.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::program::{being_written, processes, wait_for};
use e2e::{Account, Program, Work, World};
use rustix::process::{Pid, Signal, kill_process};

use crate::{assert_says, names};

fn perl(by: &Account) -> Result<Program> {
    Ok(World::get()?.flix(by).args(["debian:bookworm", "perl", "/usr/bin/perl"]))
}

fn disk_use(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let size = |e: fs::DirEntry| match e.metadata() {
        Ok(m) if m.is_dir() => disk_use(&e.path()),
        Ok(m) => m.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// kill -9 while the layer streams in, at several points, then once more to the end with the same cache.
#[test]
fn killed_while_pulling() -> Result<()> {
    let work = Work::new()?;
    let user = work.root("root")?;
    let cache = user.home().join(".cache");
    let mut killed = 0;
    for point in [1, 4_000_000, 40_000_000, 120_000_000, 180_000_000] {
        let mut flix = perl(&user)?;
        flix.command().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = flix.start()?;
        if wait_for(&mut child, || disk_use(&cache) >= point)? {
            child.kill()?;
            killed += 1;
        }
        child.wait()?;
        if user.home().join("perl.raw").exists() {
            // It was done before it could be killed, or it resumed past this point.
            fs::remove_file(user.home().join("perl.raw"))?;
        }
    }
    assert!(killed >= 2, "only {killed} of the runs were caught alive");
    perl(&user)?.run()?;
    let whole = fs::read(user.home().join("perl.raw"))?;
    let other = work.root("other")?;
    perl(&other)?.run()?;
    assert!(whole == fs::read(other.home().join("perl.raw"))?, "the killed runs left something in the cache");
    Ok(())
}

/// kill -9 while the image is written: its name isn't there, or it is whole.
#[test]
fn killed_while_writing() -> Result<()> {
    let work = Work::new()?;
    let root = work.root("root")?;
    let folder = || -> Result<Program> {
        let flix =
            World::get()?.flix(&root).args(["debian:bookworm", "many", "/usr/share/locale:/usr/share/many"]);
        Ok(flix.args(["/usr/bin/perl", "--compression", "zstd:15", "-o", "out/many.raw"]))
    };
    fs::create_dir(root.home().join("out"))?;
    folder()?.run()?;
    let whole = fs::read(root.home().join("out/many.raw"))?;
    fs::remove_file(root.home().join("out/many.raw"))?;
    let out = root.home().join("out");
    for point in [1, 200_000, 1_000_000] {
        let mut flix = folder()?;
        flix.command().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = flix.start()?;
        if wait_for(&mut child, || being_written(&out) >= point)? {
            child.kill()?;
        }
        child.wait()?;
        // Without a name nothing stays, not even for the next run to sweep.
        assert!(names(&out)?.iter().all(|name| name == "many.raw"), "{:?}", names(&out)?);
        if let Ok(bytes) = fs::read(out.join("many.raw")) {
            assert!(bytes == whole, "a partial image has the final name");
            fs::remove_file(out.join("many.raw"))?;
        }
    }
    folder()?.run()?;
    assert!(fs::read(out.join("many.raw"))? == whole);
    Ok(())
}

#[test]
fn no_space_for_the_image() -> Result<()> {
    let work = Work::new()?;
    let root = work.root("root")?;
    perl(&root)?.run()?;
    fs::remove_file(root.home().join("perl.raw"))?;
    let small = work.dir("small")?;
    let script = r#"
mount -t tmpfs -o size=256k tmpfs "$1"
cd "$1"; shift
"$@" && status=0 || status=$?
ls -A >&2
exit "$status"
"#;
    let flix = World::get()?.flix_program();
    let run = root.program("unshare").args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    let run = run.arg(&small).arg(flix).args(["debian:bookworm", "perl", "/usr/bin/perl", "--offline"]);
    let out = run.outcome()?.failure()?;
    assert_says(&out, &["error: ", "no space left on device", "perl.raw"]);
    // What `ls -A` showed: nothing.
    let last = out.stderr.lines().last().unwrap_or_default();
    assert!(!last.starts_with('.') && last != "perl.raw", "left behind: {}", out.stderr);
    Ok(())
}

/// Ctrl-C while a command runs in the sandbox: nothing stays, not the command, not its root.
#[test]
fn interrupted_in_the_sandbox() -> Result<()> {
    let work = Work::new()?;
    for by in [work.root("root")?, work.user("user")?] {
        // So many seconds that nobody else sleeps that long.
        let mark = format!("{}", 1_000_000 + std::process::id() + by.uid());
        let mut flix = World::get()?.flix(&by).args(["little:latest", "made", "/usr/bin/made", "--run"]);
        flix = flix.arg(format!("exec sleep {mark}"));
        flix.command().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = flix.start()?;
        let sleeps = || processes(&mark).is_ok_and(|p| p.iter().any(|line| line.starts_with("sleep ")));
        assert!(wait_for(&mut child, sleeps)?, "it ended early");
        let pid = Pid::from_raw(i32::try_from(child.id())?).context("no pid")?;
        kill_process(pid, Signal::INT)?;
        let status = child.wait()?;
        assert!(!status.success(), "{status}");
        assert!(!by.home().join("made.raw").exists());
        // The kernel kills what was in the sandbox when its first process goes, which takes a moment.
        let deadline = Instant::now() + Duration::from_secs(20);
        while !processes(&mark)?.is_empty() {
            assert!(Instant::now() < deadline, "still running: {:?}", processes(&mark)?);
            std::thread::sleep(Duration::from_millis(5));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let home = by.home().to_str().context("a path that is not UTF-8")?;
        assert!(!mounts.contains(home), "still mounted:\n{mounts}");
        // The cache works on, and sweeps what the interrupted run may have left.
        let flix = World::get()?.flix(&by).args(["little:latest", "made", "/usr/bin/made"]);
        flix.args(["--run", "cp /bin/busybox /usr/bin/made"]).run()?;
        assert_eq!(names(by.home())?, [".cache", "made.raw"]);
    }
    Ok(())
}
