//! `cargo xtask test`: every check, in the order in which a mistake costs least.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use clap::ValueEnum;

use crate::{
    architecture,
    command::{self, cargo},
    dependencies, examples, licences, modules, packages, space,
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
    // By name, while it has one: a build may put another program there.
    let xtask = std::env::current_exe()?;

    if wants(Part::Unit) || wants(Part::E2e) {
        let before = Instant::now();
        packages::install()?;
        space::check()?;
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
        stages.call("examples", examples::check);
        // With the examples, for the dependencies' features of the other stages: otherwise all is compiled for other features.
        // Not --bins: it takes those with `doc = false`, too, whose names are those of libraries.
        let what =
            "--lib --bin xtask --bin mutate --bin list_tree --bin pull --examples --document-private-items";
        let mut doc = cargo(words("doc --workspace --no-deps --locked").chain(words(what)));
        stages.run("rustdoc", doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    }
    let filter = || args.filter.iter().map(String::as_str);
    // The programs under test. Integration tests have cargo build them with the features of the whole workspace, so
    // that nothing is compiled a second time for another selection.
    let programs =
        [("FLIX_BIN", "debug/flix"), ("FLATWRAP_BIN", "debug/flatwrap"), ("BAKERY_BIN", "debug/bakery")];
    let programs = programs.map(|(variable, path)| (variable, crate::target().join(path)));
    let selected = match args.only {
        Some(Part::Lint) => return Ok(stages.report()),
        Some(Part::Unit) => "test --workspace --exclude e2e --locked --no-fail-fast --tests",
        Some(Part::E2e) => "test --package e2e --locked --no-fail-fast --tests",
        None => "test --workspace --locked --no-fail-fast --tests",
    };
    if args.only == Some(Part::E2e) {
        stages.run("programs", &mut cargo(words("build --workspace --locked --bins")))?;
    }
    stages.run("build", cargo(words(selected)).arg("--no-run"))?;
    if wants(Part::Unit) {
        // After the build, which has compiled all that they need; before the tests, since a crate without any closes with an empty
        // summary, which must not be the run's last.
        stages.test(
            "doc tests",
            cargo(words("test --workspace --doc --locked --no-fail-fast")).args(filter()),
        )?;
    }
    if wants(Part::E2e) && args.filter.is_none() {
        stages.run("demo", Command::new(&xtask).arg("demo").envs(programs.clone()))?;
    }
    // The errors of the tests say what went wrong; forty frames below each are in the way.
    // A shell ignores SIGINT for what it starts with `&`, and that is passed on: tests that interrupt a program would wait for ever.
    let tests = |selected: &str| {
        let mut tests = command::interruptible(&cargo(words(selected)));
        tests.env("RUST_LIB_BACKTRACE", "0").envs(programs.clone()).env("XTASK_BIN", &xtask).args(filter());
        tests
    };
    match lanes(args)? {
        Some(halves) => {
            let mut halves = halves.map(|half| tests(&half));
            if std::env::var_os(THREADS).is_none() {
                let threads = std::thread::available_parallelism()?.saturating_add(1);
                for half in &mut halves {
                    half.env(THREADS, threads.to_string());
                }
            }
            let [one, other] = &mut halves;
            stages.tests(one, other)?;
        }
        None => stages.test("tests", &mut tests(selected))?,
    }
    Ok(stages.report())
}

/// Tests that take half of the time, beside which the others run: tests wait for downloads, machines and each other, and the last of
/// each program leaves a processor idle.
const HALF: [&str; 3] = ["bakery", "flatwrap", "flix"];
/// How many tests of a program run at once. One more than there are processors, for those that wait.
/// <https://doc.rust-lang.org/rustc/tests/index.html>
const THREADS: &str = "RUST_TEST_THREADS";
/// Bytes of memory that two test programs at once need: three machines and a compiler each.
const MEMORY: u64 = 12 << 30;

/// All tests as two commands for at once; none if only some are wanted, or if memory doesn't allow it.
fn lanes(args: &Args) -> Result<Option<[String; 2]>> {
    if args.only.is_some() || args.filter.is_some() {
        return Ok(None);
    }
    let memory = std::fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    if available(&memory).is_none_or(|bytes| bytes < MEMORY) {
        println!("\nless than {} GiB of memory: tests run one program at a time", MEMORY >> 30);
        return Ok(None);
    }
    let mut metadata = cargo(words("metadata --format-version 1 --locked --no-deps"));
    let metadata: serde_json::Value =
        serde_json::from_str(&command::output(&mut metadata)?).context("cargo metadata")?;
    let halves = halves(&names(&metadata, "bin"), &names(&metadata, "test"));
    halves.map(Some).with_context(|| format!("cargo metadata: no tests are named {}", HALF.join(" or ")))
}

/// The tests of [`HALF`], and all others.
fn halves(programs: &BTreeSet<String>, tests: &BTreeSet<String>) -> Option<[String; 2]> {
    let common = "test --workspace --locked --no-fail-fast";
    let programs: String = programs.iter().map(|n| format!(" --bin {n}")).collect();
    let is_half = |name: &&String| HALF.contains(&name.as_str());
    let all = |names: Vec<&String>| names.iter().map(|n| format!(" --test {n}")).collect::<String>();
    let (half, others): (Vec<&String>, Vec<&String>) = tests.iter().partition(is_half);
    let found = half.len() == HALF.len();
    found.then(|| [format!("{common}{}", all(half)), format!("{common} --lib{programs}{}", all(others))])
}

/// proc_meminfo(5), in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let kib = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    kib.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Names of all targets of a kind that have tests, of whatever package. <https://doc.rust-lang.org/cargo/commands/cargo-metadata.html>
fn names(metadata: &serde_json::Value, kind: &str) -> BTreeSet<String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let tests = targets.filter(|target| {
        target["test"] == true && target["kind"].as_array().is_some_and(|k| k.iter().any(|k| k == kind))
    });
    tests.filter_map(|target| Some(target["name"].as_str()?.to_owned())).collect()
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
        let (counts, ok) = count(command, &mut std::io::stdout().lock())?;
        self.counts.add_all(counts);
        self.list.push(Stage { name, time: before.elapsed(), ok });
        Ok(())
    }

    /// Two commands at once. What the second prints follows when both are done.
    fn tests(&mut self, one: &mut Command, other: &mut Command) -> Result<()> {
        self.head("tests", Some(one));
        let before = Instant::now();
        let mut kept = Vec::new();
        let (one, second) = std::thread::scope(|scope| {
            let second = scope.spawn(|| count(other, &mut kept));
            (count(one, &mut std::io::stdout().lock()), second.join())
        });
        self.head("the other tests", Some(other));
        std::io::stdout().lock().write_all(&kept)?;
        let second = second.map_err(|_| anyhow!("the thread of the other tests died"))?;
        let ((counts, ok), (more, fine)) = (one?, second?);
        self.counts.add_all(counts);
        self.counts.add_all(more);
        self.list.push(Stage { name: "tests", time: before.elapsed(), ok: ok && fine });
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
        if let Some(lack) = (!ok).then(space::short).flatten() {
            println!("{lack}: tests may have failed for this reason");
        }
        match ignored {
            0 => println!("{passed} passed, {failed} failed"),
            n => println!("{passed} passed, {failed} failed, {n} skipped"),
        }
        if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Runs tests, passing on what they print, and adds up their summaries.
fn count(command: &mut Command, out: &mut dyn Write) -> Result<(Counts, bool)> {
    let mut counts = Counts::default();
    let status = command::tee(command, LIMIT, out, |line| counts.add(line))?;
    // A test binary that died has no summary, and one that didn't build has none either.
    if !status.success() && counts.failed == 0 {
        counts.failed = 1;
    }
    Ok((counts, status.success()))
}

impl Counts {
    fn add_all(&mut self, more: Counts) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.ignored += more.ignored;
    }

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

    #[test]
    fn no_test_is_left_out_of_both_halves() {
        let target = |kind: &str, name: &str, test: bool| serde_json::json!({"kind": [kind], "name": name, "test": test});
        let tested = |kind: &str, name: &str| target(kind, name, true);
        let metadata = serde_json::json!({"packages": [
            {"targets": [tested("lib", "cli"), tested("test", "flix"), tested("test", "bakery"), target("bin", "flix", false)]},
            {"targets": [tested("bin", "xtask"), tested("test", "machines"), tested("test", "bakery"), tested("test", "flatwrap")]},
            {"targets": [target("example", "bench", false)]},
        ]});
        assert_eq!(
            halves(&names(&metadata, "bin"), &names(&metadata, "test")).unwrap(),
            [
                "test --workspace --locked --no-fail-fast --test bakery --test flatwrap --test flix",
                "test --workspace --locked --no-fail-fast --lib --bin xtask --test machines",
            ]
        );
        assert_eq!(halves(&BTreeSet::new(), &BTreeSet::new()), None);
    }

    #[test]
    fn memory_is_read() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:   12 kB\n"), Some(12 << 10));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
    }
}
