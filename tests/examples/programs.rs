//! `cargo xtask bench --programs`: programs taken in several ways and used, as a Markdown page on stdout.
//!
//! usage: programs [--only NAME[,NAME…]] [--way WAY[,WAY…]] [--results FILE]
//! New results go to the file, by default tests/programs/results.json, and the page has all that is in it.
//! `--way home` is the use in the program's own root, which otherwise runs only for programs that fail in another way.
// A program for people at a terminal: printing is what it's for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use e2e::place;
use e2e::uses::{Cells, Image, Use, Uses, Verdict, Way, all, page};

/// Programs at a time.
const WORKERS: usize = 2;

struct Args {
    only: Vec<String>,
    ways: Vec<Way>,
    /// Results of earlier runs, to which this one adds.
    results: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse(std::env::args().skip(1))?;
    let (debian, alpine) = (all(Image::Debian)?, all(Image::Alpine)?);
    let known = |name: &String| debian.iter().chain(&alpine).any(|p| p.name == *name);
    ensure!(args.only.iter().all(known), "no such program among {:?}", args.only);
    let cells = Mutex::new(args.read()?);
    let mut problems = Vec::new();
    for (image, name, programs) in
        [(Image::Debian, "programs", &debian), (Image::Alpine, "programs-alpine", &alpine)]
    {
        let selected: Vec<&Use> =
            programs.iter().filter(|p| args.only.is_empty() || args.only.contains(&p.name)).collect();
        if !selected.is_empty() {
            problems.extend(all_of(&Uses::new(image, name, programs.clone())?, &selected, &args, &cells)?);
        }
    }
    let cells = cells.into_inner().context("a worker panicked")?;
    print!("{}", page(&debian, &alpine, &cells));
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// Returns the problems.
fn all_of(uses: &Uses, selected: &[&Use], args: &Args, cells: &Mutex<Cells>) -> Result<Vec<String>> {
    let next = AtomicUsize::new(0);
    let problems = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some(program) = selected.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(e) = one(uses, program, args, cells)
                        && let Ok(mut problems) = problems.lock()
                    {
                        eprintln!("{}: {e:#}", program.name);
                        problems.push(format!("{}: {e:#}", program.name));
                    }
                }
            });
        }
    });
    problems.into_inner().context("a worker panicked")
}

fn one(uses: &Uses, program: &Use, args: &Args, cells: &Mutex<Cells>) -> Result<()> {
    let mut works = !args.ways.is_empty();
    for &way in &args.ways {
        let cell = uses.cell(program, way)?;
        let star = if cell.warned { "*" } else { "" };
        let verdict = match &cell.verdict {
            Verdict::Works => "works".to_owned(),
            Verdict::Told(line) => format!("told: {line}\n    {}", cell.ran.as_deref().unwrap_or("")),
            Verdict::Silent(ran) => format!("SILENT: {ran}"),
        };
        let (name, way_name) = (&program.name, way.name());
        eprintln!(
            "{name} {way_name}{star}, {} bytes, {} files, {:.1} s: {verdict}",
            cell.size, cell.files, cell.seconds
        );
        works &= cell.verdict == Verdict::Works;
        if let Ok(mut cells) = cells.lock() {
            cells.insert((name.clone(), way), cell);
            args.write(&cells)?;
        }
    }
    // What works on the host has nothing to prove in its own root.
    if works { Ok(()) } else { uses.at_home(program) }
}

impl Args {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Args> {
        let results = place::repository().join("tests/programs/results.json");
        let mut args = Args { only: Vec::new(), ways: Way::ALL.to_vec(), results };
        while let Some(word) = words.next() {
            let value = words.next().with_context(|| format!("{word}: a value is missing"))?;
            match word.as_str() {
                "--only" => args.only = value.split(',').map(str::to_owned).collect(),
                "--way" if value == "home" => args.ways.clear(),
                "--way" => args.ways = value.split(',').map(way).collect::<Result<_>>()?,
                "--results" => args.results = value.into(),
                _ => bail!("{word}: unknown"),
            }
        }
        Ok(args)
    }

    fn read(&self) -> Result<Cells> {
        let path = &self.results;
        if !path.exists() {
            return Ok(Cells::new());
        }
        let text = std::fs::read_to_string(path).with_context(|| format!("{path:?}"))?;
        let list: Vec<_> = serde_json::from_str(&text).with_context(|| format!("{path:?}"))?;
        Ok(list.into_iter().collect())
    }

    /// One a line.
    fn write(&self, cells: &Cells) -> Result<()> {
        let path = &self.results;
        let lines: Vec<String> = cells.iter().map(|c| serde_json::to_string(&c)).collect::<Result<_, _>>()?;
        std::fs::write(path, format!("[\n{}\n]\n", lines.join(",\n"))).with_context(|| format!("{path:?}"))
    }
}

fn way(name: &str) -> Result<Way> {
    let found = Way::ALL.into_iter().find(|w| w.name() == name);
    found.with_context(|| format!("no way {name:?}, expected one of {:?}", Way::ALL.map(Way::name)))
}
