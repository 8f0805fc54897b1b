//! `cargo xtask demo`: an extension out of a program of this machine, and the proof that it needs nothing of it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::command::{self, cargo};

/// The program: on every Debian, and with a library beside libc. It can print which files it has mapped itself.
const PROGRAM: &str = "/usr/bin/grep";
const NAME: &str = "demo";

/// A new root that holds nothing but the image's files: no library of the host is there to be found. The program
/// reads its own memory map.
const RUN: &str = r#"
mkdir -p "$1/proc"
mount --rbind /proc "$1/proc"
exec chroot "$1" "$2" --only-matching '/usr/.*' /proc/self/maps
"#;

/// Builds, makes, shows, runs. Needs neither the network nor root.
pub(crate) fn run() -> Result<ExitCode> {
    let flix = match std::env::var_os("FLIX_BIN") {
        Some(built) => PathBuf::from(built),
        None => {
            say("build flix");
            show(&mut cargo(["build", "--quiet", "--locked", "--package", "cli", "--bin", "flix"]))?;
            crate::target().join("debug/flix")
        }
    };

    let work = tempfile::Builder::new().prefix("flix-demo-").tempdir()?;
    let work = work.path();
    let make = |output: &str| {
        let mut c = Command::new(&flix);
        c.current_dir(work).args(["dir:/", NAME, PROGRAM, "--no-install", "-o", output]);
        c.env("XDG_CACHE_HOME", work.join("cache")).env("LC_ALL", "C");
        c
    };
    say(&format!("make an extension out of this machine's {PROGRAM}, and tell why each file is in it"));
    show(make("demo.raw").arg("--explain"))?;
    say("run it in a root that has the image's files and nothing else, and ask it what it has mapped");
    show(make("demo").args(["--format", "dir"]))?;
    let mapped = mapped(&work.join("demo"))?;
    for path in &mapped {
        println!("    {path}");
    }
    let own = format!("/usr/lib/flix/{NAME}/");
    let foreign: Vec<&String> = mapped.iter().filter(|p| *p != PROGRAM && !p.starts_with(&own)).collect();
    ensure!(foreign.is_empty(), "files of the host are mapped: {foreign:?}");
    ensure!(mapped.iter().any(|p| p.starts_with(&own)), "no library of the image is mapped");
    println!(
        "\nAll {} mapped files are the image's own; none of the host's libraries is used.",
        mapped.len()
    );
    Ok(ExitCode::SUCCESS)
}

/// The files that the program has mapped while it runs with `root` as its root.
fn mapped(root: &Path) -> Result<Vec<String>> {
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--mount", "--propagation", "private", "sh", "-euc", RUN, "sh"]).arg(root).arg(PROGRAM);
    println!(
        "$ {}",
        command::show(Command::new("chroot").arg("demo/").arg(PROGRAM).args([
            "-o",
            "/usr/.*",
            "/proc/self/maps"
        ]))
    );
    let out = command::output(unshare.env("LC_ALL", "C"))
        .context("namespaces can't be made here (in a container: run it with --privileged or --security-opt seccomp=unconfined)")?;
    let mut paths: Vec<String> = out.lines().map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

fn say(what: &str) {
    println!("\n# {what}");
}

fn show(command: &mut Command) -> Result<()> {
    println!("$ {}", command::show(command));
    command::run(command)
}
