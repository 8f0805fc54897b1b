//! Options that do something else than making an extension.

use std::io::Write as _;
use std::time::SystemTime;

use anyhow::Context as _;
use clap::CommandFactory as _;
use oci::Cache;
use oci::cache::Prune;

use super::Args;
use crate::explain::Size;

/// Does it, and says whether there was any.
pub fn run(args: &Args) -> anyhow::Result<bool> {
    let mut out = Vec::new();
    if let Some(shell) = args.completions {
        clap_complete::generate(shell, &mut Args::command(), "flix", &mut out);
    } else if args.man {
        clap_mangen::Man::new(Args::command()).render(&mut out)?;
    } else if args.cache_list {
        list(&cache(args)?, &mut out)?;
    } else if let Some(age) = args.cache_prune {
        let what = match age.is_zero() {
            true => Prune { all: true, ..Prune::default() },
            false => Prune { older_than: Some(age), ..Prune::default() },
        };
        let pruned = cache(args)?.prune(&what)?;
        writeln!(
            out,
            "{} entries removed, {}; {} in use",
            pruned.entries,
            Size(pruned.bytes),
            pruned.in_use
        )?;
    } else {
        return Ok(false);
    }
    match std::io::stdout().lock().write_all(&out) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(true),
        other => other.map(|()| true).context("stdout"),
    }
}

fn cache(args: &Args) -> anyhow::Result<Cache> {
    Ok(Cache::open(args.source.cache_dir.as_deref().filter(|d| !d.as_os_str().is_empty()))?)
}

fn list(cache: &Cache, out: &mut Vec<u8>) -> anyhow::Result<()> {
    let entries = cache.list()?;
    let mut total = 0;
    for entry in &entries {
        total += entry.bytes;
        let age = SystemTime::now().duration_since(entry.last_used).unwrap_or_default().as_secs();
        let age = match age {
            0..3600 => format!("{} min", age / 60),
            3600..172_800 => format!("{} h", age / 3600),
            _ => format!("{} d", age / 86_400),
        };
        let kind = format!("{:?}", entry.kind).to_lowercase();
        let used = if entry.in_use { " in use" } else { "" };
        writeln!(out, "{:>10}  {age:>7}  {kind:<7}  {}{used}", Size(entry.bytes).to_string(), entry.name)?;
    }
    writeln!(out, "{} entries, {}", entries.len(), Size(total))?;
    Ok(())
}
