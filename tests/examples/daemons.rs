//! `cargo xtask bench --daemons`: daemons on a host that has never heard of them, as a Markdown table on stdout.
//!
//! usage: daemons [--only NAME[,NAME…]] [--way flix|flatwrap] [--host 257|252] [--results FILE] [--images DIR]
//! Without `--only`, what the file has isn't tried again. Images are kept in DIR, and those that are there aren't built again.
// A program for people at a terminal: printing is what it's for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use e2e::daemons::{Cell, Cells, Column, Daemon, Host, Tool, script};
use e2e::{Account, Work};

/// Daemons that one machine meets, one after the other.
const BATCH: usize = 6;

#[derive(Default)]
struct Args {
    only: Vec<String>,
    way: Option<Tool>,
    host: Option<Host>,
    /// Results of earlier runs, to which this one adds.
    results: Option<PathBuf>,
    /// Where images are kept.
    images: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse(std::env::args().skip(1))?;
    for name in &args.only {
        Daemon::called(name)?;
    }
    let mut cells = args.results.as_deref().map_or_else(|| Ok(Cells::default()), Cells::read)?;
    let is_column =
        |c: &Column| args.way.is_none_or(|way| way == c.tool) && args.host.is_none_or(|host| host == c.host);
    for column in Column::ALL.into_iter().filter(is_column) {
        let is_wanted = |d: &Daemon| match args.only.is_empty() {
            true => !cells.has(d, column),
            false => args.only.iter().any(|name| name == d.name),
        };
        let wanted: Vec<Daemon> = Daemon::ALL.iter().filter(|d| is_wanted(d)).copied().collect();
        for batch in wanted.chunks(BATCH) {
            try_out(batch, column, &args, &mut cells)?;
            if let Some(file) = &args.results {
                cells.write(file)?;
            }
        }
    }
    print!("{}", cells.table());
    Ok(())
}

fn try_out(daemons: &[Daemon], column: Column, args: &Args, cells: &mut Cells) -> Result<()> {
    let work = Work::new()?;
    let root = work.root("root")?;
    let mut images = Vec::new();
    let mut built = Vec::new();
    let mut fails = |daemon: &Daemon, why: anyhow::Error| {
        eprintln!("{} by {}: {why:#}", daemon.name, column.title());
        cells.put(daemon, column, Cell::Fails(format!("{why:#}")));
    };
    for daemon in daemons {
        match args.images(daemon, &root, column.tool) {
            Ok(made) => {
                images.extend(made);
                built.push(daemon);
            }
            Err(e) => fails(daemon, e),
        }
    }
    if built.is_empty() {
        return Ok(());
    }
    let lives: String = built.iter().map(|d| d.life_among_others()).collect();
    let vm = column.machine()?.with_files(&images);
    let text = vm.run(&work.dir("vm")?, &[], &script(&lives))?;
    let (alive, dead): (Vec<_>, Vec<_>) =
        built.into_iter().map(|d| (d, d.lived(&text))).partition(|(_, lived)| lived.is_ok());
    for (daemon, lived) in dead {
        fails(daemon, lived.err().context("it lives")?);
    }
    for (daemon, _) in alive {
        cells.put(daemon, column, Cell::Works);
    }
    Ok(())
}

impl Args {
    /// The daemon's images: those that were kept, else new ones.
    fn images(&self, daemon: &Daemon, by: &Account, tool: Tool) -> Result<Vec<PathBuf>> {
        let Some(dir) = &self.images else { return daemon.make(by, tool) };
        let dir = dir.join(if tool == Tool::Flix { "flix" } else { "flatwrap" });
        let kept: Vec<PathBuf> = daemon.images().iter().map(|name| dir.join(name)).collect();
        if !kept.iter().all(|path| path.exists()) {
            std::fs::create_dir_all(&dir).with_context(|| format!("{dir:?}"))?;
            for (made, kept) in daemon.make(by, tool)?.iter().zip(&kept) {
                std::fs::copy(made, kept).with_context(|| format!("{kept:?}"))?;
            }
        }
        Ok(kept)
    }

    fn parse(mut words: impl Iterator<Item = String>) -> Result<Args> {
        let mut args = Args::default();
        while let Some(word) = words.next() {
            let value = words.next().with_context(|| format!("{word}: a value is missing"))?;
            match word.as_str() {
                "--only" => args.only = value.split(',').map(str::to_owned).collect(),
                "--way" if value == "flix" => args.way = Some(Tool::Flix),
                "--way" if value == "flatwrap" => args.way = Some(Tool::Flatwrap),
                "--host" if value == "257" => args.host = Some(Host::Systemd257),
                "--host" if value == "252" => args.host = Some(Host::Systemd252),
                "--results" => args.results = Some(value.into()),
                "--images" => args.images = Some(value.into()),
                _ => bail!("{word} {value}: unknown"),
            }
        }
        Ok(args)
    }
}
