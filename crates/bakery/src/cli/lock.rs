//! `bakery lock`: also what `--update` does before a build.

use anyhow::Context as _;
use cli::{ReportArgs, Terminal, print};
use serde_json::json;
use tree::{Event, Events, parallel};

use super::args::Default;
use super::{CatalogueArgs, SettingsArgs, WorkArgs};
use recipes::context::BuildContext;
use recipes::lock::{Key, Lock, Pins};
use recipes::recipe::{ParameterValue, Recipe, Settings};
use recipes::version::Version;
use recipes::versions;

const EXAMPLES: &str = "\
Examples:
  bakery lock
      Pin the latest versions of all recipes, for all architectures.
  bakery lock containerd 1.7.29 --arch x86-64
      Pin another version. Existing entries stay.
  bakery lock --update
      Pin the latest versions again. Files that upstream has replaced are reported.";

/// Pin the inputs of builds: versions, and the digest of each file, verified as far as upstream allows.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    settings: SettingsArgs,

    #[command(flatten)]
    catalogue: CatalogueArgs,

    #[command(flatten)]
    work: WorkArgs,

    #[command(flatten)]
    report: ReportArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let events = Terminal::new(args.report.verbosity());
    tree::remove_on_interrupt().context("signals can't be handled")?;
    let catalogue = args.catalogue.catalogue()?;
    let mut lock = args.work.read_lock(&catalogue)?;
    let recipes = match &args.settings.name {
        Some(name) => vec![catalogue.recipe(name)?],
        None => catalogue.recipes()?,
    };
    let fetcher = args.work.fetcher()?;
    let images = args.work.images(&fetcher);
    let context = BuildContext { fetcher: &fetcher, images: &images, events: &events };
    let wanted = wanted(&recipes, &args.settings, &args.work, Default::All, context)?;
    let wanted: Vec<(&Recipe, Key)> =
        wanted.into_iter().filter(|(_, k)| args.settings.update || lock.get(k).is_none()).collect();
    if args.report.dry_run {
        events.clear();
        let lines: String = wanted.iter().map(|(_, key)| format!("{key}\n")).collect();
        return print(lines.as_bytes()).context("stdout");
    }
    let pinned = pin(&wanted, &mut lock, &args.work, context)?;
    events.clear();
    let text = match args.report.json {
        true => {
            let list = pinned.iter().map(|(k, p)| json!({ "key": k.to_string(), "inputs": p.inputs }));
            format!("{:#}\n", list.collect::<serde_json::Value>())
        }
        false if args.report.quiet => String::new(),
        false if pinned.is_empty() => {
            format!("nothing to do: all is pinned in {}\n", args.work.lock.display())
        }
        false => pinned.iter().map(|(key, pins)| line(key, pins)).collect(),
    };
    print(text.as_bytes()).context("stdout")
}

fn line(key: &Key, pins: &Pins) -> String {
    let found = pins.found.iter().map(|(name, value)| format!(", {name} {value}"));
    let mut out = format!("{key}{}\n", found.collect::<String>());
    for (id, input) in &pins.inputs {
        out.push_str(&format!(
            "  {id}: {}, {}, {}\n",
            tree::Size(input.size),
            input.sha256.0,
            input.verified
        ));
    }
    for (image, digest) in &pins.images {
        out.push_str(&format!("  {image}: {}\n", digest.0));
    }
    for (table, packages) in &pins.packages {
        let count = match packages.archives.as_deref() {
            None => "not pinned".to_owned(),
            Some([_]) => "1 archive".to_owned(),
            Some(archives) => format!("{} archives", archives.len()),
        };
        out.push_str(&format!("  [{table}] packages: {count}\n"));
    }
    out
}

/// What is meant: upstream is asked for versions that aren't named.
pub(super) fn wanted<'r>(
    recipes: &'r [Recipe],
    args: &SettingsArgs,
    work: &WorkArgs,
    default: Default,
    context: BuildContext<'_>,
) -> anyhow::Result<Vec<(&'r Recipe, Key)>> {
    let settings = args.settings(|name| std::env::var(name).ok())?;
    let named = args.name.is_some();
    let ask = |url: &str| context.ask(url);
    let latest = parallel::until_error(work.builds().max(4), recipes, |recipe| {
        if let Some(version) = &args.version {
            return Ok(vec![recipe.in_form(version)]);
        }
        let needs = recipe.parameters().iter().find(|(_, p)| matches!(p.value, ParameterValue::Required));
        if let Some((name, _)) = needs.filter(|_| !named) {
            let text = format!("{} is left out: its parameter {name} has to be set", recipe.name());
            context.events.event(Event::Warning(text.into()));
            return Ok(Vec::new());
        }
        latest(recipe, &ask, context.events)
    });
    let mut out = Vec::new();
    let mut results = latest.into_iter().zip(recipes).collect::<Vec<_>>();
    if let Some(at) = results.iter().position(|(r, _)| matches!(r, Some(Err(_)))) {
        results = vec![results.swap_remove(at)];
    }
    for (versions, recipe) in results {
        let versions = versions.transpose()?;
        let versions =
            versions.context("internal error: a recipe's versions weren't read, and nothing failed")?;
        for version in versions {
            for arch in work.architectures(recipe, default)? {
                // Without a name, an architecture that a recipe hasn't is none of its business.
                if !named && !recipe.architectures().contains(&arch) {
                    continue;
                }
                let settings: Settings = settings.clone();
                let key = Key { name: recipe.name().to_string(), version: version.clone(), arch, settings };
                out.push((recipe, key));
            }
        }
    }
    Ok(out)
}

/// The versions that are built if none is named. Problems with the lists are reported.
pub(super) fn latest(
    recipe: &Recipe,
    ask: &versions::Ask<'_>,
    events: &dyn Events,
) -> Result<Vec<Version>, versions::VersionsError> {
    let latest = versions::latest(recipe, ask)?;
    if let Some(warning) = latest.warning {
        events.event(Event::Warning(warning.into()));
    }
    Ok(latest.versions)
}

/// Pins builds and writes the lock. What could be pinned before an error is written, too.
pub(super) fn pin(
    wanted: &[(&Recipe, Key)],
    lock: &mut Lock,
    work: &WorkArgs,
    context: BuildContext<'_>,
) -> anyhow::Result<Vec<(Key, Pins)>> {
    let results = parallel::until_error(work.builds(), wanted, |(recipe, key)| context.pin(recipe, key));
    let mut pinned = Vec::new();
    let mut failed = None;
    for (result, (_, key)) in results.into_iter().zip(wanted) {
        match result {
            Some(Ok(pins)) => {
                if let Some(old) = lock.insert(key.clone(), pins.clone()) {
                    tell_changes(key, &old, &pins, context.events);
                }
                pinned.push((key.clone(), pins));
            }
            Some(Err(e)) => failed = failed.or(Some(e)),
            None => {}
        }
    }
    if !pinned.is_empty() {
        lock.write(&work.lock)?;
    }
    match failed {
        Some(e) => Err(e.into()),
        None => Ok(pinned),
    }
}

/// Other bytes under an old URL: upstream replaced a file, or somebody did.
fn tell_changes(key: &Key, old: &Pins, new: &Pins, events: &dyn Events) {
    for (id, input) in &new.inputs {
        let Some(before) = old.inputs.get(id).filter(|b| b.url == input.url && b.sha256 != input.sha256)
        else {
            continue;
        };
        let (url, was, is) = (&input.url, before.sha256.0, input.sha256.0);
        events.event(Event::Warning(format!("{key}: {url} was {was} and is {is} now").into()));
    }
}
