//! `cargo xtask bench --check`: `bakery check` of ten extensions on a host of 1.8 GB, as a Markdown table on stdout.
// A program for people at a terminal: printing is what it's for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::measure::{once, summary};
use e2e::place::{self, cached};
use e2e::{Program, Work};
use tree::{ReadOptions, Tree};

/// What makes the host as large as a desktop's image: compilers, a Java machine, servers, and what they load.
const HOST: &str = "systemd,systemd-sysv,dbus,udev,kmod,procps,polkitd,git,vim,gcc,g++,clang,default-jdk-headless,nodejs,nginx,\
                    postgresql,python3-numpy,ffmpeg";
/// What the host lacks.
const PROGRAMS: [&str; 10] =
    ["htop", "tmux", "jq", "socat", "rsync", "tcpdump", "strace", "sqlite3", "nmap", "gdb"];
/// The goals: seconds, and bytes.
const TIME: f64 = 2.0;
const MEMORY: u64 = 200 << 20;

fn main() -> Result<()> {
    let runs: usize = match std::env::args().nth(1) {
        Some(n) => n.parse().context("the argument is the number of runs")?,
        None => 5,
    };
    let bakery = PathBuf::from(std::env::var_os("BAKERY_BIN").context("BAKERY_BIN names the program")?);
    eprintln!("a host and ten extensions");
    let host = root("check-host", "trixie", HOST)?;
    let extensions = extensions()?;
    let work = Work::new()?;
    let by = work.root("home")?;
    let mut argv = vec![bakery.into_os_string(), "check".into(), "--host".into(), host.clone().into()];
    argv.extend(extensions.into_iter().map(PathBuf::into_os_string));
    // The first one warms the kernel's cache.
    once(&by, &[], &argv)?;
    let mut samples = Vec::new();
    for run in 0..runs {
        eprintln!("run {}", run + 1);
        samples.push(once(&by, &[], &argv)?);
    }
    let found = summary(&samples).context("no runs")?;
    let tree = Tree::from_dir(&host, &ReadOptions::default())?;
    let bytes: u64 = tree.iter().filter_map(|(_, node)| node.content()).map(tree::Content::len).sum();
    let (time, memory) = (found.time.as_secs_f64(), found.memory >> 20);
    println!("| host | files | extensions | time | memory | goal |");
    println!("|---|---:|---:|---:|---:|---|");
    println!(
        "| Debian 13, {:.1} GB | {} | {} | {time:.2} s | {memory} MiB | < 2 s and 200 MiB: {} |",
        bytes as f64 / 1e9,
        tree.len(),
        PROGRAMS.len(),
        if time < TIME && found.memory < MEMORY { "met" } else { "**not met**" },
    );
    Ok(())
}

/// A Debian root with these packages.
fn root(name: &str, suite: &str, packages: &str) -> Result<PathBuf> {
    let dir = cached(name, packages, |dir| {
        let debstrap = Program::new("mmdebstrap").args(["--quiet", "--mode=root", "--variant=minbase"]);
        let debstrap = debstrap.arg("--format=directory").arg(format!("--include={packages}"));
        debstrap.arg(suite).arg(dir.join("root")).run().map(drop)
    })?;
    Ok(dir.join("root"))
}

/// An image of each program, of an older Debian.
fn extensions() -> Result<Vec<PathBuf>> {
    let packages = PROGRAMS.join(",");
    let from = root("check-programs", "bookworm", &packages)?;
    let dir = cached("check-extensions", &packages, |dir| {
        PROGRAMS.iter().try_for_each(|name| flix(&from, name, &dir.join(format!("{name}.raw"))))
    })?;
    Ok(PROGRAMS.iter().map(|name| dir.join(format!("{name}.raw"))).collect())
}

fn flix(root: &Path, name: &str, image: &Path) -> Result<()> {
    let flix = Program::new(place::flix()?).arg(format!("dir:{}", root.display())).arg(name);
    flix.arg(format!("/usr/bin/{name}")).args(["--no-check", "--no-install", "-o"]).arg(image).run().map(drop)
}
