//! `bakery versions`

use std::fmt::Write as _;

use anyhow::Context as _;
use cli::{Terminal, Verbosity, print};

use super::{CatalogueArgs, WorkArgs};
use recipes::context::BuildContext;
use recipes::versions;

/// List upstream's versions, newest first.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Name of the recipe
    name: String,

    /// Print only the version that is built by default
    #[arg(long)]
    latest: bool,

    /// Print the list as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    catalogue: CatalogueArgs,

    #[command(flatten)]
    work: WorkArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let recipe = args.catalogue.catalogue()?.recipe(&args.name)?;
    let events = Terminal::new(Verbosity::Normal);
    let fetcher = args.work.fetcher()?;
    let images = args.work.images(&fetcher);
    let context = BuildContext { fetcher: &fetcher, images: &images, events: &events };
    let ask = |url: &str| context.ask(url);
    let list = match args.latest {
        true => super::lock::latest(&recipe, &ask, &events)?,
        false => versions::all(&recipe, &ask)?,
    };
    events.clear();
    let mut out = String::new();
    if args.json {
        let list: Vec<&str> = list.iter().map(|v| v.as_str()).collect();
        let _ = writeln!(out, "{:#}", serde_json::json!(list));
    } else {
        list.iter().for_each(|version| {
            let _ = writeln!(out, "{version}");
        });
    }
    print(out.as_bytes()).context("stdout")
}
