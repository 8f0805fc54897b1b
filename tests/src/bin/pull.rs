//! Pulls an image, for tests that kill it: `pull CACHE_DIR REGISTRIES_CONF IMAGE`. Prints what happens, a line each.

use std::io::Write;

use anyhow::{Context, Result};
use cli::SourceArgs;
use tree::{Event, Events};

struct Lines;

impl Events for Lines {
    fn event(&self, event: Event<'_>) {
        let text = match event {
            Event::Warning(text) | Event::Note(text) | Event::Step(text) => text,
            _ => return,
        };
        // Nobody may be listening any more.
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().context("usage: pull CACHE_DIR REGISTRIES_CONF IMAGE");
    let source = SourceArgs {
        cache_dir: Some(next()?.into()),
        registries_conf: Some(next()?.into()),
        ..SourceArgs::default()
    };
    let image = next()?.parse()?;
    let image = source.context()?.pull(&image, &Lines)?;
    writeln!(std::io::stdout(), "{} {}", image.digest, image.layers.len())?;
    Ok(())
}
