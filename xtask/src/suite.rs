//! `cargo xtask suite`: what docs/trust.md promises, counted and timed, and written there.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::command::{self, cargo};
use crate::{measuring, packages, root};

const PAGE: &str = "docs/trust.md";
const START: &str = "<!-- suite: made by `cargo xtask suite` -->";
const END: &str = "<!-- end of suite -->";

/// How much to try.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Try each vector as each user, with and without overlayfs, and 100 kills and flipped bits of each program instead of 10
    #[arg(long)]
    long: bool,
    /// Run only this part
    #[arg(long, value_parser = PARTS.map(|part| part.name))]
    only: Option<String>,
}

/// What is run together: tests by a part of their names, or a program of the suite's.
struct Part {
    name: &'static str,
    title: &'static str,
    run: Run,
}

enum Run {
    /// Targets, and what their names contain.
    Tests(&'static [&'static str], &'static [&'static str]),
    Program(&'static str),
}

const PARTS: [Part; 7] = [
    Part {
        name: "layers",
        title: "Layers: vectors by each way in, as root file systems of each user, and side by side with umoci",
        run: Run::Tests(&["--test", "faults", "--test", "sandbox"], &["vectors"]),
    },
    Part {
        name: "probes",
        title: "Probes from inside the sandbox",
        run: Run::Tests(
            &["--test", "sandbox"],
            &[
                "processes_and_mounts",
                "devices",
                "hostile_mount_points",
                "program_is_a_copy",
                "descriptors",
                "privileges",
                "limits",
                "killed_",
            ],
        ),
    },
    Part {
        name: "registries",
        title: "Registries and their faults",
        run: Run::Tests(&["--test", "faults"], &["ways::", "wire::", "transfers::", "logins::"]),
    },
    Part {
        name: "signatures",
        title: "Signatures of images",
        run: Run::Tests(&["--test", "faults"], &["signed::"]),
    },
    Part {
        name: "parsers",
        title: "Damaged input of parsers",
        run: Run::Tests(&["--package", "fuzz"], &["targets_take"]),
    },
    Part {
        name: "faults",
        title: "Kills at random points, full disks, flipped bits",
        run: Run::Program("faults"),
    },
    Part { name: "bombs", title: "Bombs", run: Run::Program("bombs") },
];

/// Runs the parts one after the other. Writes the page if all of them were run.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    packages::install()?;
    let mut rows = String::new();
    let mut tables = String::new();
    let mut good = true;
    for part in PARTS.iter().filter(|part| args.only.as_deref().is_none_or(|only| only == part.name)) {
        println!("== {}", part.title);
        let (text, ok, seconds) = one(part, args.long)?;
        good &= ok;
        let _ = write!(
            rows,
            "| {} | {} | {seconds:.0} s | ",
            part.title,
            if ok { "passed" } else { "**failed**" }
        );
        let mut counts: Vec<String> = Vec::new();
        if matches!(part.run, Run::Tests(..)) {
            counts.push(format!("tests: {}", passed(&text)));
        }
        // libtest prints the name of a test before what the test prints.
        let found = |word: &'static str| {
            text.lines().filter_map(move |line| line.split_once(word).map(|(_, rest)| rest.trim().to_owned()))
        };
        counts.extend(found("counted: "));
        let _ = writeln!(rows, "{} |", counts.join("<br>"));
        let table: Vec<String> = found("row: ").collect();
        if !table.is_empty() {
            let _ = write!(tables, "\n{}:\n\n{}\n", part.title, table.join("\n"));
        }
    }
    let page = format!("| part | result | time | counts |\n|---|---|---:|---|\n{rows}{tables}");
    println!("\n{page}");
    if args.only.is_none() {
        write(&page)?;
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a part prints, whether it went well, and how long it took.
fn one(part: &Part, long: bool) -> Result<(String, bool, f64)> {
    let mut build = match part.run {
        Run::Tests(targets, _) => {
            let mut build = cargo(["test", "--quiet", "--locked", "--no-run"]);
            build.args(workspace(targets)).args(targets);
            build
        }
        Run::Program(_) => cargo(["build", "--quiet", "--locked", "--package", "e2e", "--example", "suite"]),
    };
    command::run(&mut build)?;
    let mut runs = match part.run {
        // One filter at a time: not every harness takes several.
        Run::Tests(targets, filters) => {
            let run = |filter: &&str| {
                let mut run = cargo(["test", "--quiet", "--locked"]);
                run.args(workspace(targets)).args(targets).args(["--", "--nocapture", filter]);
                run
            };
            filters.iter().map(run).collect()
        }
        Run::Program(name) => {
            let mut run = measuring("suite");
            run.arg(name);
            vec![run]
        }
    };
    let (mut text, mut ok) = (String::new(), true);
    let before = Instant::now();
    for run in &mut runs {
        if long {
            run.env("SUITE_LONG", "1");
        }
        let output = run.output().with_context(|| command::show(run))?;
        let said = String::from_utf8_lossy(&output.stdout);
        print!("{said}");
        if !output.status.success() {
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
        }
        // A filter that finds no test would pass.
        let found = matches!(part.run, Run::Program(_)) || passed(&said) > 0;
        ok &= output.status.success() && found;
        text += &said;
    }
    Ok((text, ok, before.elapsed().as_secs_f64()))
}

/// Tests of one package are found by its name, those of several targets in the whole workspace.
fn workspace(targets: &[&str]) -> &'static [&'static str] {
    if targets.contains(&"--package") { &[] } else { &["--workspace"] }
}

/// The sum of libtest's summaries.
fn passed(text: &str) -> u64 {
    let counts = text.lines().filter_map(|line| line.split_once("test result: ok. "));
    counts.filter_map(|(_, rest)| rest.split(' ').next()?.parse::<u64>().ok()).sum()
}

fn write(page: &str) -> Result<()> {
    let path = root().join(PAGE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("{path:?}"))?;
    let Some((head, tail)) =
        text.split_once(START).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)))
    else {
        bail!("{path:?} lacks the lines {START:?} and {END:?}");
    };
    std::fs::write(&path, format!("{head}{START}\n{page}{END}{tail}")).with_context(|| format!("{path:?}"))
}
