//! Build tasks of this repository: `cargo xtask demo`, `cargo xtask test`, `cargo xtask bench`,
//! `cargo xtask fuzz`.
// A program for people at a terminal: printing is what it's for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod architecture;
mod command;
mod demo;
mod dependencies;
mod examples;
mod licences;
mod modules;
mod package;
mod packages;
mod picture;
mod space;
mod suite;
mod test;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  cargo xtask demo                   see it work
  cargo xtask test --only lint       before a commit
  cargo xtask test --only unit tar   unit tests whose name contains \"tar\"
  cargo xtask test --only e2e b3sum  end-to-end tests whose name contains \"b3sum\", as root on Debian
  cargo xtask test                   everything, as CI does

CONTRIBUTING.md is the guide.";

/// Build tasks of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Make an extension of a program of this machine, and run it without the machine's libraries
    Demo,
    /// Run all checks: format, clippy, licences, documentation, unit tests, end-to-end tests
    ///
    /// Installs the Debian packages that the tests need first (as root; otherwise it prints the command and stops).
    Test(test::Args),
    /// Measure flix and flatwrap beside other tools, and print docs/benchmarks.md
    #[command(group = clap::ArgGroup::new("table").args(["programs", "daemons"]))]
    Bench {
        /// Number of runs of each
        #[arg(long, default_value_t = 5)]
        runs: u32,
        /// Measure only one part: flix, partial or flatwrap; with --programs or --daemons, names, separated by commas
        #[arg(long, value_name = "PART")]
        only: Option<String>,
        /// Measure the image writer instead, and print docs/benchmarks-images.md. Takes half an hour
        #[arg(long, conflicts_with = "only")]
        images: bool,
        /// Measure `bakery check` of ten extensions on a host of 1.8 GB instead, and print the table of docs/checking.md
        #[arg(long, conflicts_with_all = ["only", "images"])]
        check: bool,
        /// Try programs of many distributions beside patchelf's instead, and print docs/matrix.md. Takes half an hour, most of it
        /// downloads
        #[arg(long, conflicts_with_all = ["only", "images", "check"])]
        matrix: bool,
        /// Use demanding programs, taken in several ways, instead, and print docs/programs.md. Takes an hour the first time
        #[arg(long, conflicts_with_all = ["images", "matrix", "check"])]
        programs: bool,
        /// Run services on hosts that have never heard of them instead, and print the table of docs/daemons.md. Takes an hour
        #[arg(long, conflicts_with_all = ["images", "matrix", "programs", "check"])]
        daemons: bool,
        /// With --programs, the ways to take, separated by commas: name, package, trace, root, root-package, root-trace; with
        /// --daemons, flix or flatwrap
        #[arg(long, requires = "table")]
        way: Option<String>,
        /// Add the results of --programs (by default to tests/programs/results.json) or --daemons to those in this file;
        /// --daemons only runs what the file lacks, unless --only is given
        #[arg(long, value_name = "FILE", requires = "table")]
        results: Option<PathBuf>,
    },
    /// Make a Debian package, an archive for any Linux, and an extension of the commands
    Package(package::Args),
    /// Draw the terminal in the README, docs/session.svg, from docs/session.txt
    Picture,
    /// Write the table of crates in docs/ARCHITECTURE.md
    Architecture,
    /// Check that no modules need each other in a circle, and that no library knows a command line
    Modules,
    /// Count and time what docs/trust.md promises, and write it there
    ///
    /// CI runs the same tests as parts of `cargo xtask test`. Needs root.
    Suite(suite::Args),
    /// Feed a parser with damaged input; docs/testing.md lists the targets
    Fuzz {
        /// `tar`, `elf`, …
        target: String,
        /// Duration
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Real input to damage, instead of the target's own
        files: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Demo => demo::run(),
        Task::Test(args) => test::run(&args),
        Task::Bench { matrix: true, .. } => matrix(),
        Task::Bench { programs: true, only, way, results, .. } => programs(only, way, results),
        Task::Bench { daemons: true, only, way, results, .. } => daemons(only, way, results),
        Task::Bench { images: true, runs, .. } => bench_images(runs),
        Task::Bench { check: true, runs, .. } => bench_check(runs),
        Task::Bench { runs, only, .. } => bench(runs, only.as_deref()),
        Task::Package(args) => package::run(&args),
        Task::Picture => picture::write().map(|()| ExitCode::SUCCESS),
        Task::Architecture => architecture::write().map(|()| ExitCode::SUCCESS),
        Task::Modules => modules::check().map(|()| ExitCode::SUCCESS),
        Task::Suite(args) => suite::run(&args),
        Task::Fuzz { target, seconds, files } => fuzz(&target, seconds, &files),
    };
    match done {
        Ok(code) => code,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn fuzz(target: &str, seconds: u64, files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let mut command = command::cargo([
        "run",
        "--quiet",
        "--locked",
        "--profile",
        "fuzz",
        "--package",
        "fuzz",
        "--bin",
        "mutate",
    ]);
    command.args(["--", target, &seconds.to_string()]);
    for file in files {
        command.arg(std::path::absolute(file)?);
    }
    command::run(&mut command)?;
    Ok(ExitCode::SUCCESS)
}

fn bench(runs: u32, only: Option<&str>) -> anyhow::Result<ExitCode> {
    packages::install()?;
    release_build("cli", &["--bins"])?;
    let mut bench = measuring("bench");
    bench
        .env("FLIX_BIN", target().join("release/flix"))
        .env("FLATWRAP_BIN", target().join("release/flatwrap"));
    command::run(bench.arg(runs.to_string()).args(only))?;
    Ok(ExitCode::SUCCESS)
}

fn bench_images(runs: u32) -> anyhow::Result<ExitCode> {
    packages::install()?;
    release_build("image", &["--example", "squash"])?;
    let mut bench = measuring("bench_images");
    command::run(bench.arg(runs.to_string()).env("SQUASH_BIN", target().join("release/examples/squash")))?;
    Ok(ExitCode::SUCCESS)
}

fn bench_check(runs: u32) -> anyhow::Result<ExitCode> {
    packages::install()?;
    release_build("bakery", &["--bin", "bakery"])?;
    let mut bench = measuring("bench_check");
    command::run(bench.arg(runs.to_string()).env("BAKERY_BIN", target().join("release/bakery")))?;
    Ok(ExitCode::SUCCESS)
}

fn matrix() -> anyhow::Result<ExitCode> {
    packages::install()?;
    release_build("cli", &["--bins"])?;
    let mut matrix = measuring("matrix");
    command::run(matrix.env("FLIX_BIN", target().join("release/flix")))?;
    Ok(ExitCode::SUCCESS)
}

fn daemons(only: Option<String>, way: Option<String>, results: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    packages::install()?;
    release_build("cli", &["--bins"])?;
    let mut bench = measuring("daemons");
    bench
        .env("FLIX_BIN", target().join("release/flix"))
        .env("FLATWRAP_BIN", target().join("release/flatwrap"))
        .args(only.iter().flat_map(|names| ["--only", names]))
        .args(way.iter().flat_map(|way| ["--way", way]));
    if let Some(file) = results {
        bench.arg("--results").arg(std::path::absolute(file)?);
    }
    command::run(&mut bench)?;
    Ok(ExitCode::SUCCESS)
}

fn programs(only: Option<String>, way: Option<String>, results: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    packages::install()?;
    release_build("cli", &["--bins"])?;
    let mut bench = measuring("programs");
    bench
        .env("FLIX_BIN", target().join("release/flix"))
        .env("FLATWRAP_BIN", target().join("release/flatwrap"));
    for (option, value) in [("--only", only), ("--way", way)] {
        if let Some(value) = value {
            bench.args([option, &value]);
        }
    }
    if let Some(file) = results {
        bench.arg("--results").arg(std::path::absolute(file)?);
    }
    command::run(&mut bench)?;
    Ok(ExitCode::SUCCESS)
}

/// Builds what is measured. Says so on stderr, since stdout takes the page.
fn release_build(package: &str, what: &[&str]) -> anyhow::Result<()> {
    eprintln!("release build");
    let mut build = command::cargo(["build", "--quiet", "--release", "--locked", "--package", package]);
    command::run(build.args(what))
}

/// The example of the tests' package that measures.
fn measuring(program: &str) -> Command {
    command::cargo(["run", "--quiet", "--locked", "--package", "e2e", "--example", program, "--"])
}

/// The repository's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}
