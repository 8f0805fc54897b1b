//! `cargo xtask test`: every check, in the order in which a mistake costs least.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;

use crate::{
    architecture,
    command::{self, cargo},
    dependencies, licences, modules, packages,
};

/// What to check.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only these checks
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Run only tests whose name contains this; lints are left out
    filter: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// fmt, clippy, rustdoc, licences
    Lint,
    /// doc, unit and integration tests of the crates
    Unit,
    /// end-to-end tests
    E2e,
}

/// For a whole stage of tests: more than twice what they take on a slow machine, and less than CI gives them.
const LIMIT: Duration = Duration::from_secs(60 * 60);

/// What cargo's test summaries add up to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

struct Stage {
    name: &'static str,
    time: Duration,
    ok: bool,
}

/// Runs the checks. All of them, even if one fails.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let wants = |part| args.only.is_none_or(|only| only == part);
    let lint = wants(Part::Lint) && args.filter.is_none();
    let mut stages = Stages::default();

    if wants(Part::Unit) || wants(Part::E2e) {
        let before = Instant::now();
        packages::install()?;
        stages.list.push(Stage { name: "packages", time: before.elapsed(), ok: true });
    }
    if lint {
        stages.run("fmt", &mut cargo(["fmt", "--all", "--check"]))?;
        stages
            .run("clippy", &mut cargo(words("clippy --workspace --all-targets --locked -- -D warnings")))?;
        stages.call("licences", licences::check);
        stages.call("architecture", architecture::check);
        stages.call("modules", modules::check);
        stages.call("dependencies", dependencies::check);
        let mut doc = cargo(words("doc --workspace --no-deps --document-private-items --locked"));
        stages.run("rustdoc", doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    }
    let filter = || args.filter.iter().map(String::as_str);
    // The programs under test. Integration tests have cargo build them with the features of the whole workspace, so
    // that nothing is compiled a second time for another selection.
    let programs =
        [("FLIX_BIN", "debug/flix"), ("FLATWRAP_BIN", "debug/flatwrap"), ("BAKERY_BIN", "debug/bakery")];
    let programs = programs.map(|(variable, path)| (variable, crate::target().join(path)));
    if wants(Part::Unit) {
        // Doc tests first: a crate without any closes with an empty summary, which must not be the run's last.
        stages.test(
            "doc tests",
            cargo(words("test --workspace --doc --locked --no-fail-fast")).args(filter()),
        )?;
    }
    let selected = match args.only {
        Some(Part::Lint) => return Ok(stages.report()),
        Some(Part::Unit) => {
            "test --workspace --exclude e2e --locked --no-fail-fast --lib --bins --tests --examples"
        }
        Some(Part::E2e) => "test --package e2e --locked --no-fail-fast --lib --bins --tests",
        None => "test --workspace --locked --no-fail-fast --lib --bins --tests --examples",
    };
    if args.only == Some(Part::E2e) {
        stages.run("programs", &mut cargo(words("build --workspace --locked --bins")))?;
    }
    stages.run("build", cargo(words(selected)).arg("--no-run"))?;
    if wants(Part::E2e) && args.filter.is_none() {
        stages.run("demo", Command::new(std::env::current_exe()?).arg("demo").envs(programs.clone()))?;
    }
    // The errors of the tests say what went wrong; forty frames below each are in the way.
    // A shell ignores SIGINT for what it starts with `&`, and that is passed on: tests that interrupt a program would wait for ever.
    let mut tests = command::interruptible(&cargo(words(selected)));
    tests.env("RUST_LIB_BACKTRACE", "0").envs(programs).env("XTASK_BIN", std::env::current_exe()?);
    stages.test("tests", tests.args(filter()))?;
    Ok(stages.report())
}

fn words(line: &str) -> std::str::SplitWhitespace<'_> {
    line.split_whitespace()
}

#[derive(Default)]
struct Stages {
    list: Vec<Stage>,
    counts: Counts,
}

impl Stages {
    fn run(&mut self, name: &'static str, command: &mut Command) -> Result<()> {
        self.head(name, Some(command));
        let before = Instant::now();
        let status = command::status(command)?;
        self.list.push(Stage { name, time: before.elapsed(), ok: status.success() });
        Ok(())
    }

    fn call(&mut self, name: &'static str, check: impl FnOnce() -> Result<()>) {
        self.head(name, None);
        let before = Instant::now();
        let done = check();
        if let Err(e) = &done {
            eprintln!("error: {e:#}");
        }
        self.list.push(Stage { name, time: before.elapsed(), ok: done.is_ok() });
    }

    fn test(&mut self, name: &'static str, command: &mut Command) -> Result<()> {
        self.head(name, Some(command));
        let before = Instant::now();
        let mut counts = Counts::default();
        let status = command::tee(command, LIMIT, |line| counts.add(line))?;
        // A test binary that died has no summary, and one that didn't build has none either.
        if !status.success() && counts.failed == 0 {
            counts.failed = 1;
        }
        self.counts.passed += counts.passed;
        self.counts.failed += counts.failed;
        self.counts.ignored += counts.ignored;
        self.list.push(Stage { name, time: before.elapsed(), ok: status.success() });
        Ok(())
    }

    fn head(&self, name: &str, command: Option<&Command>) {
        match command {
            Some(c) => println!("\n== {name}: {}", command::show(c)),
            None => println!("\n== {name}"),
        }
    }

    fn report(&self) -> ExitCode {
        println!();
        for s in &self.list {
            println!("{:>8.1} s  {}{}", s.time.as_secs_f64(), s.name, if s.ok { "" } else { "  FAILED" });
        }
        let total: Duration = self.list.iter().map(|s| s.time).sum();
        println!("{:>8.1} s  in all", total.as_secs_f64());
        let Counts { passed, failed, ignored } = self.counts;
        let ok = self.list.iter().all(|s| s.ok) && failed == 0;
        let stages = self.list.iter().filter(|s| !s.ok).count() as u64;
        // A failed lint has no tests to count; the line still has to say that something failed.
        let failed = if ok { 0 } else { failed.max(stages).max(1) };
        match ignored {
            0 => println!("{passed} passed, {failed} failed"),
            n => println!("{passed} passed, {failed} failed, {n} skipped"),
        }
        if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Counts {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; …`.
    fn add(&mut self, line: &str) {
        let Some(rest) = line.trim().strip_prefix("test result: ") else { return };
        let Some((_, rest)) = rest.split_once(". ") else { return };
        for part in rest.split(';') {
            let mut words = part.split_whitespace();
            let Some(Ok(n)) = words.next().map(str::parse::<u64>) else { continue };
            match words.next() {
                Some("passed") => self.passed += n,
                Some("failed") => self.failed += n,
                Some("ignored") => self.ignored += n,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_add_up() {
        let mut c = Counts::default();
        c.add("running 3 tests");
        c.add(
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s",
        );
        c.add("test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s");
        assert_eq!(c, Counts { passed: 8, failed: 2, ignored: 1 });
    }
}
