//! Kills at random points, disks that fill up, and flipped bytes of the cache.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::layout::{self, Platform};
use e2e::{Program, Work, place};

use crate::kills::{self, Victim, kills};
use crate::numbers::Numbers;

/// A program, an image for it, and what it makes of that undisturbed.
struct Bench {
    work: Work,
    image: String,
}

impl Bench {
    fn new() -> Result<Bench> {
        let work = Work::new()?;
        let root = work.dir("root")?;
        for dir in ["usr/bin", "usr/share/data", "etc", "bin"] {
            fs::create_dir_all(root.join(dir))?;
        }
        for name in ["usr/bin/tool", "bin/sh"] {
            fs::copy("/bin/busybox", root.join(name)).context("install package busybox-static")?;
        }
        for n in 0..40 {
            fs::write(root.join(format!("usr/share/data/{n}")), e2e::registry::noise(300_000, n))?;
        }
        let tar = work.path().join("layer.tar");
        Program::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".").run()?;
        let layout = work.path().join("image");
        let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        layout::write(&layout, "x", &[Platform { architecture, layers: vec![tar] }])?;
        Ok(Bench { image: format!("oci:{}", layout.display()), work })
    }

    /// flix or flatwrap, with all that it writes in `dir`.
    fn tool(&self, tool: &Path, dir: &Path, more: &[&str]) -> Program {
        let program = Program::new(tool).clean_env().env("HOME", dir).dir(dir);
        let program = program.arg("--cache-dir").arg(dir.join("cache")).args(["--no-check", "--no-install"]);
        program.args(more).args([&self.image, "tool", "/usr/bin/tool", "/usr/share/data"])
    }
}

pub(crate) fn run(long: bool) -> Result<()> {
    let bench = Bench::new()?;
    let (flix, flatwrap) = (place::flix()?, place::flatwrap()?);
    let shell = ["--run", "echo x > /usr/share/data/x", "--network", "none"];
    let ways: [(&str, &Path, &[&str]); 3] =
        [("flix", &flix, &[]), ("flatwrap", &flatwrap, &[]), ("flix --run", &flix, &shell)];
    let mut numbers = Numbers(1);
    let count = if long { 100 } else { 10 };
    for (name, tool, more) in ways {
        let dir = bench.work.dir("undisturbed")?;
        bench.tool(tool, &dir, more).run()?;
        let expected = fs::read(dir.join("tool.raw"))?;
        let victim = Victim { name, start: &|dir| Ok(bench.tool(tool, dir, more)), ends: true };
        kills(&bench.work, &bench.work.dir("nothing")?, &victim, &mut numbers, count)?;
        full(&bench, name, tool, more, &expected)?;
        flips(&bench, name, tool, more, &expected, &dir, &mut numbers, count)?;
        fs::remove_dir_all(&dir)?;
    }
    kills::bakery(&mut numbers, count)
}

/// A disk of growing size, until the image fits.
fn full(bench: &Bench, name: &str, tool: &Path, more: &[&str], expected: &[u8]) -> Result<()> {
    let mut failed = 0;
    let mut size = 64 << 10;
    loop {
        let dir = bench.work.dir("full")?;
        let option = format!("size={size}");
        Program::new("mount").args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(&dir).run()?;
        let done = bench.tool(tool, &dir, more).outcome();
        let image = fs::read(dir.join("tool.raw")).ok();
        Program::new("umount").arg(&dir).run()?;
        let done = done?;
        if done.status.success() {
            ensure!(image.as_deref() == Some(expected), "{name}: another image on {size} bytes");
            break;
        }
        ensure!(done.status.code() == Some(1) && image.is_none(), "{name} on {size} bytes: {done:?}");
        let says = ["No space left", "stay free", "disk"].iter().any(|word| done.stderr.contains(word));
        ensure!(says, "{name} on {size} bytes: {}", done.stderr);
        failed += 1;
        size += size / 4;
    }
    println!("counted: full disks under {name}: {failed} (the next size, {size} bytes, is enough)");
    Ok(())
}

/// The files below a directory that aren't empty.
fn filled(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.metadata()?.len() > 0 {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Bytes of the cache, one at a time. A damaged cache gives the same image or an error.
#[allow(clippy::too_many_arguments)]
fn flips(
    bench: &Bench,
    name: &str,
    tool: &Path,
    more: &[&str],
    expected: &[u8],
    dir: &Path,
    numbers: &mut Numbers,
    count: u64,
) -> Result<()> {
    let mut errors = 0;
    for n in 0..count {
        // The result of a command that runs again has another name.
        let files = filled(&dir.join("cache"))?;
        let path = &files[n as usize % files.len()];
        let good = fs::read(path).with_context(|| format!("{path:?}"))?;
        let mut bad = good.clone();
        let at = numbers.below(good.len() as u64) as usize;
        bad[at] ^= 1 << numbers.below(8);
        fs::write(path, &bad)?;
        let _ = fs::remove_file(dir.join("tool.raw"));
        let done = bench.tool(tool, dir, more).arg("--verify-cache").outcome()?;
        match done.status.code() {
            Some(0) => {
                ensure!(
                    fs::read(dir.join("tool.raw"))? == expected,
                    "{name}: byte {at} of {path:?} went unnoticed"
                );
            }
            Some(1) => errors += 1,
            _ => anyhow::bail!("{name}: byte {at} of {path:?}: {done:?}"),
        }
        if path.parent().is_some_and(Path::exists) {
            fs::write(path, &good)?;
        }
    }
    println!(
        "counted: flipped bits in the cache of {name}: {count} ({errors} end in an error, the others in the same image)"
    );
    Ok(())
}
