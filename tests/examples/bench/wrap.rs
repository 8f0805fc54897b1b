//! flatwrap beside a shell script that does the same: making an extension, and starting what is in it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::measure::{Sample, once, summary};
use e2e::place::repository;
use e2e::{Account, work};

use crate::Bench;

const PATHS: [&str; 3] = ["/usr/sbin/nginx", "/usr/bin/htop", "/usr/bin/true"];
/// How often each is started for one run of the others.
const STARTS: usize = 40;

/// All results.
pub(crate) struct Wrap {
    flatwrap: Sample,
    peer: Sample,
    /// Bytes of the images.
    sizes: (u64, u64),
    /// The program itself, then each way in.
    bare: Duration,
    starts: Vec<Start>,
}

struct Start {
    by: &'static str,
    flatwrap: Duration,
    peer: Duration,
}

type Variable = (&'static str, &'static str);

/// Who starts it, and what makes both take the same way.
const WAYS: [(&str, u32, Variable); 3] = [
    ("root", 0, ("LC_ALL", "C")),
    ("another user, unshare", work::USER, ("NOBWRAP", "1")),
    ("another user, bwrap", work::USER, ("FLATWRAP_BWRAP", "1")),
];

impl Wrap {
    pub(crate) fn new(bench: &Bench) -> Result<Wrap> {
        let home = bench.work.root("wrap")?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let steps = repository().join("tests/programs/flatwrap-steps.sh");
        let peer = home.home().join("peer");
        flatwrap(bench, &home, &[])?;
        for run in 0..bench.runs {
            eprintln!("flatwrap, run {}", run + 1);
            ours.push(flatwrap(bench, &home, &[])?);
            if peer.exists() {
                fs::remove_dir_all(&peer)?;
            }
            let argv = [steps.as_path(), &bench.nginx_root, Path::new("wrapped"), &peer];
            theirs.push(once(&home, &[], argv.into_iter().chain(PATHS.iter().map(Path::new)))?);
        }
        let size = |path: PathBuf| {
            Ok::<u64, anyhow::Error>(fs::metadata(&path).with_context(|| format!("{path:?}"))?.len())
        };
        let sizes = (size(home.home().join("wrapped.raw"))?, size(home.home().join("peer.raw"))?);
        flatwrap(bench, &home, &["--format", "dir"])?;
        let (bare, starts) = starts(&home.home().join("wrapped"), &peer, bench.runs * STARTS)?;
        let (flatwrap, peer) = (summary(&ours).context("no runs")?, summary(&theirs).context("no runs")?);
        Ok(Wrap { flatwrap, peer, sizes, bare, starts })
    }

    pub(crate) fn print(&self) {
        let met = |met: bool| if met { "yes" } else { "**no**" };
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        println!("\n## flatwrap\n");
        println!(
            "| `flatwrap debian-nginx …` (3 paths), warm cache | flatwrap | cp, mksquashfs -comp gzip | ratio | goal | met |"
        );
        println!("|---|---|---|---|---|---|");
        let (a, b) = (self.flatwrap.time.as_secs_f64(), self.peer.time.as_secs_f64());
        println!("| time | {a:.2} s | {b:.2} s | 1/{:.1} | ≤ 1/8 | {} |", b / a, met(b / a >= 8.0));
        let (a, b) = self.sizes;
        println!(
            "| image | {:.1} MB | {:.1} MB | {:.2} | ≤ 1 | {} |",
            mb(a),
            mb(b),
            mb(a) / mb(b),
            met(a <= b)
        );
        let (a, b) = (self.flatwrap.memory, self.peer.memory);
        println!("| peak memory | {:.0} MB | {:.0} MB | | | |", mb(a), mb(b));
        println!(
            "\n| start of `true`, {:.2} ms unwrapped | flatwrap | a script with a process for each mount | over unwrapped | goal | met |",
            ms(self.bare)
        );
        println!("|---|---|---|---|---|---|");
        for s in &self.starts {
            let over = |time: Duration| ms(time.saturating_sub(self.bare));
            let ratio = over(s.peer) / over(s.flatwrap);
            // By bwrap both are one script and one process.
            let (goal, met) = if s.by.contains("bwrap") { ("", "") } else { ("≤ 1/6", met(ratio >= 6.0)) };
            println!(
                "| {} | {:.2} ms | {:.2} ms | 1/{ratio:.1} | {goal} | {met} |",
                s.by,
                ms(s.flatwrap),
                ms(s.peer)
            );
        }
        println!(
            "\nThe peer is `tests/programs/flatwrap-steps.sh` on a root that is unpacked already; starts are medians."
        );
    }
}

fn flatwrap(bench: &Bench, by: &Account, more: &[&str]) -> Result<Sample> {
    let program = bench.world.flatwrap_program().to_str().context("a path that is not UTF-8")?;
    let argv = [program, "debian-nginx", "wrapped"].into_iter().chain(PATHS).chain(more.iter().copied());
    once(by, &[("CONTAINERS_REGISTRIES_CONF", &bench.world.registries_conf())], argv)
}

/// The program's own time, and that of each way in; they take turns.
fn starts(ours: &Path, peer: &Path, times: usize) -> Result<(Duration, Vec<Start>)> {
    let mut bare = Vec::new();
    let mut all: Vec<[Vec<Duration>; 2]> = WAYS.iter().map(|_| Default::default()).collect();
    for run in 0..times {
        if run % STARTS == 0 {
            eprintln!("starts, run {}", run / STARTS + 1);
        }
        bare.push(start(Path::new("/usr/bin/true"), 0, &[])?);
        for ((_, uid, env), samples) in WAYS.iter().zip(&mut all) {
            for (root, samples) in [ours, peer].into_iter().zip(samples) {
                let root_is = root.to_str().context("a path that is not UTF-8")?;
                let env = [("FLATWRAP_ROOT", root_is), *env];
                samples.push(start(&root.join("usr/bin/true"), *uid, &env)?);
            }
        }
    }
    let median = |mut v: Vec<Duration>| {
        v.sort();
        v.get(v.len() / 2).copied().context("no runs")
    };
    let starts = WAYS
        .iter()
        .zip(all)
        .map(|((by, ..), [ours, peer])| Ok(Start { by, flatwrap: median(ours)?, peer: median(peer)? }));
    Ok((median(bare)?, starts.collect::<Result<_>>()?))
}

fn start(program: &Path, uid: u32, env: &[(&str, &str)]) -> Result<Duration> {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(env.iter().copied());
    command.uid(uid).gid(uid).current_dir("/").stdin(Stdio::null());
    let before = Instant::now();
    let status = command.status().with_context(|| format!("{program:?}"))?;
    let time = before.elapsed();
    ensure!(status.success(), "{program:?} by {uid}: {status}");
    Ok(time)
}
