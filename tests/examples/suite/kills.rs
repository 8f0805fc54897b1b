//! Commands that are killed at random points: what is left, and whether the next run is right.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{Program, Upstream, Work, place, program};

use crate::numbers::Numbers;

/// A command that is killed. All that it reads and writes is in the directory that it is run in.
pub(crate) struct Victim<'a> {
    pub name: &'a str,
    pub start: &'a dyn Fn(&Path) -> Result<Program>,
    /// Whether it ends by itself. What a machine without a system does until it is killed is all that there is to see of it.
    pub ends: bool,
}

/// The longest that a command which doesn't end is left alone.
const PATIENCE: Duration = Duration::from_secs(2);

/// Kills a command so many times, each time in a fresh copy of `input`, and runs it again to its end.
pub(crate) fn kills(
    work: &Work,
    input: &Path,
    victim: &Victim<'_>,
    numbers: &mut Numbers,
    count: u64,
) -> Result<()> {
    let name = victim.name;
    let copy = || -> Result<PathBuf> {
        let dir = work.path().join("killed");
        Program::new("cp").args(["-a", "--sparse=always"]).args([input, &dir]).run()?;
        Ok(dir)
    };
    let dir = copy()?;
    let before = Instant::now();
    if victim.ends {
        (victim.start)(&dir)?.run()?;
    }
    let time = if victim.ends { before.elapsed() } else { PATIENCE };
    let expected = files(&dir)?;
    fs::remove_dir_all(&dir)?;
    let mut early = 0;
    for n in 0..count {
        let dir = copy()?;
        let mut program = (victim.start)(&dir)?;
        program.command().process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = program.start()?;
        // The point is random; nothing depends on where it is.
        std::thread::sleep(Duration::from_micros(numbers.below(time.as_micros() as u64)));
        child.kill()?;
        early += u64::from(!child.wait()?.success());
        alone(&dir).with_context(|| format!("{name}, kill {n}"))?;
        for (path, bytes) in files(&dir)? {
            // What the next run sweeps, and nobody else knows, begins with a dot.
            let hidden = path.split('/').any(|part| part.starts_with('.'));
            let whole = expected.get(&path).is_some_and(|all| *all == bytes);
            ensure!(hidden || whole, "{name}, kill {n}: {path} is left, and isn't what it will be");
        }
        if victim.ends {
            (victim.start)(&dir)?.run()?;
        }
        let after = files(&dir)?;
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        ensure!(names(&after) == names(&expected), "{name}, kill {n}: {:?}", names(&after));
        for (path, bytes) in after {
            ensure!(expected[&path] == bytes, "{name}, kill {n}: the next run makes another {path}");
        }
        fs::remove_dir_all(&dir)?;
    }
    println!("counted: kills of {name} at random points: {count} ({early} of them before its end)");
    Ok(())
}

/// Nothing runs or is mounted that has to do with the directory.
fn alone(dir: &Path) -> Result<()> {
    let mark = dir.to_str().context("UTF-8")?;
    let deadline = Instant::now() + Duration::from_secs(20);
    // Children are killed by the kernel with their parent, which takes its time.
    while !program::processes(mark)?.is_empty() {
        ensure!(Instant::now() < deadline, "processes are left: {:?}", program::processes(mark)?);
        std::thread::sleep(Duration::from_millis(5));
    }
    ensure!(!fs::read_to_string("/proc/self/mounts")?.contains(mark), "mounts are left");
    Ok(())
}

/// The files of a directory but for its cache; directories in it are empty files whose names end with a slash.
fn files(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.strip_prefix(dir)?.to_str().context("UTF-8")?.to_owned();
            if path.is_dir() {
                if name != "cache" {
                    found.insert(format!("{name}/"), Vec::new());
                    folders.push(path);
                }
            } else {
                found.insert(name, fs::read(path)?);
            }
        }
    }
    Ok(found)
}

const RELEASE: &str = "title = \"Test\"\nbase-url = \"https://example.org/\"\n\n[extensions]\n\
                       nebula = { versions = [\"v1.9.5\"] }\ndocker-compose = { versions = [\"2.33.1\"] }\n";

/// One partition, which gets the extension.
const DISK: &str = "truncate -s 40M disk.bin
printf 'label: gpt\\n9 : start=2048, size=65536, name=ROOT\\n' | sfdisk -q --no-reread disk.bin
mkfs.ext4 -q -F -L ROOT -E offset=1048576 disk.bin 32M
mkdir -p tool/usr/share
head -c 4M /dev/urandom > tool/usr/share/tool";

/// The commands of bakery that write files or start a machine.
pub(crate) fn bakery(numbers: &mut Numbers, count: u64) -> Result<()> {
    let work = Work::new()?;
    let input = work.dir("input")?;
    let upstream = Upstream::get()?;
    fs::write(input.join("config.toml"), upstream.config())?;
    fs::write(input.join("release.toml"), RELEASE)?;
    upstream.trust(&work.dir("input/trusted")?)?;
    Program::new("sh").args(["-euc", DISK]).dir(&input).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").run()?;
    let bakery = |args: &'static [&'static str]| {
        move |dir: &Path| -> Result<Program> {
            let program = Program::new(place::bakery()?).clean_env().env("HOME", dir).dir(dir);
            let program = program.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("SOURCE_DATE_EPOCH", "1");
            let program = program.env("BAKERY_CONFIG", dir.join("config.toml"));
            let program = program.env("BAKERY_RECIPES", dir.join("trusted"));
            Ok(program.env("FLIX_CACHE_DIR", dir.join("cache")).args(args))
        }
    };
    let set_up = |args| bakery(args)(&input)?.run().map(drop);
    set_up(&["lock", "nebula", "v1.9.5"])?;
    set_up(&["lock", "docker-compose", "2.33.1"])?;
    set_up(&["pack", "tool", "tool"])?;
    for (name, args, ends) in [
        ("bakery pack", &["pack", "tool", "other", "--no-verify"][..], true),
        ("bakery build", &["build", "nebula", "--arch", "x86-64", "--rebuild"], true),
        ("bakery release", &["release"], true),
        ("bakery bake-image", &["bake-image", "--image", "disk.bin", "tool:tool.raw"], true),
        (
            "bakery boot",
            &["boot", "--accel", "tcg", "--memory", "256", "--image", "disk.bin", "--exec", "true"],
            false,
        ),
    ] {
        kills(&work, &input, &Victim { name, start: &bakery(args), ends }, numbers, count)?;
    }
    Ok(())
}
