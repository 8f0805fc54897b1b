//! `cargo xtask bench --daemons`: a dozen daemons on a host that has never heard of them, as a Markdown table on stdout.
// A program for people at a terminal: printing is what it's for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::{Path, PathBuf};

use anyhow::Result;
use e2e::daemons::{ALL, Daemon, Tool, script};
use e2e::{Vm, Work};

/// How many of them are also tried on systemd 252.
const ON_BOOKWORM: usize = 4;

fn main() -> Result<()> {
    let only = std::env::args().nth(1).unwrap_or_default();
    let only: Vec<&str> = only.split(',').filter(|name| !name.is_empty()).collect();
    println!(
        "| daemon | PATHs | flix, systemd 257 | flix, systemd 252 | flatwrap, systemd 257 |\n|---|---|---|---|---|"
    );
    for (at, daemon) in ALL.iter().enumerate().filter(|(_, d)| only.is_empty() || only.contains(&d.name)) {
        let cells = [
            cell(daemon, Tool::Flix, &[Vm::trixie()?])?,
            if at < ON_BOOKWORM { cell(daemon, Tool::Flix, &[Vm::bookworm()?])? } else { String::new() },
            cell(daemon, Tool::Flatwrap, &[Vm::trixie()?])?,
        ];
        let paths: Vec<String> = daemon.packages.iter().map(|p| format!("`package:{p}`")).collect();
        println!("| {} | {} | {} |", daemon.name, paths.join(" "), cells.join(" | "));
    }
    Ok(())
}

/// "works", or the end of what was said.
fn cell(daemon: &Daemon, tool: Tool, machines: &[Vm]) -> Result<String> {
    let work = Work::new()?;
    let root = work.root("root")?;
    let images = match daemon.make(&root, tool) {
        Ok(images) => images,
        Err(e) => {
            eprintln!("{} by {tool:?}: {e:#}", daemon.name);
            return Ok("isn't built".to_owned());
        }
    };
    let images: Vec<&Path> = images.iter().map(PathBuf::as_path).collect();
    let carrier = Vm::carrier(work.path(), &images)?;
    for vm in machines {
        let lived = vm
            .run(&work.dir("vm")?, &[&carrier], &script(&daemon.life()))
            .and_then(|text| daemon.lived(&text));
        if let Err(e) = lived {
            eprintln!("{} by {tool:?}: {e:#}", daemon.name);
            return Ok("fails".to_owned());
        }
    }
    Ok("works".to_owned())
}
