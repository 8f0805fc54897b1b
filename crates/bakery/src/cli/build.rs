//! `bakery build`

use anyhow::{Context as _, bail};
use cli::{OutputArgs, ReleaseArgs, ReportArgs, Terminal, print};
use serde_json::json;
use tree::{Arch, Event, Events, Size};

use super::args::Default;
use super::{CatalogueArgs, SettingsArgs, WorkArgs, lock, parallel};
use recipes::build::{BuildOptions, BuildPlan, Built};
use recipes::lock::{Key, Lock, LockError};
use recipes::recipe::Recipe;
use recipes::tools::Workshop;

const EXAMPLES: &str = "\
Examples:
  bakery build tailscale
      The newest tailscale that is pinned, as tailscale-VERSION-ARCH.raw.
  bakery build --update kubernetes v1.32.2 --set cni-version=v1.6.2
      Pins it first.
  bakery build --all -o images/ --format erofs
      All that is pinned. A second run finds that there is nothing to do.

An extension's name is the recipe's: to merge an image by hand, link it as /etc/extensions/NAME.raw.";

/// Makes images of what is pinned in the lock, and takes nothing else.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    settings: SettingsArgs,

    /// All that is pinned (of the architecture that --arch names, if it does)
    #[arg(long, conflicts_with = "name")]
    all: bool,

    /// Checks the hashes of images that are there, not only their sizes and times
    #[arg(long)]
    verify: bool,

    /// Builds images that are there already, too
    #[arg(long)]
    rebuild: bool,

    #[command(flatten)]
    catalogue: CatalogueArgs,

    #[command(flatten)]
    work: WorkArgs,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    release: ReleaseArgs,

    #[command(flatten)]
    report: ReportArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let events = Terminal::new(args.report.verbosity());
    tree::remove_on_interrupt().context("signals can't be handled")?;
    let catalogue = args.catalogue.catalogue()?;
    let mut lock = Lock::read(&args.work.lock)?;
    let fetcher = args.work.fetcher()?;
    let workshop = Workshop { fetcher: &fetcher, images: &args.work.source, events: &events };

    let recipes = match &args.settings.name {
        Some(name) => vec![catalogue.recipe(name)?],
        None if args.all && args.settings.update => catalogue.recipes()?,
        None if args.all => pinned_recipes(&catalogue, &lock)?,
        None => bail!("name is missing: say what to build, or --all"),
    };
    let keys = match (args.settings.update, args.all) {
        (true, all) => {
            let default = if all { Default::All } else { Default::Host };
            let wanted = lock::wanted(&recipes, &args.settings, &args.work, default, workshop)?;
            lock::pin(&wanted, &mut lock, &args.work, workshop)?;
            wanted
        }
        (false, true) => everything(args, &recipes, &lock)?,
        (false, false) => named(args, &recipes, &lock)?,
    };

    let wanted = args.work.source.arch.as_deref().and_then(|a| a.parse().ok()).or_else(Arch::host);
    let mut image = args.output.image_options(wanted, &events)?;
    let jobs = args.work.builds().min(keys.len()).max(1);
    image.threads = image.threads.or_else(|| threads(jobs));
    let (output, release) = (args.output.clone(), args.release.clone());
    let options = BuildOptions { output, image, release, verify: args.verify, rebuild: args.rebuild };
    let plans: Vec<BuildPlan> = keys
        .iter()
        .map(|(recipe, key)| Ok(BuildPlan::new(recipe, key, lock.expect(key, &args.work.lock)?, &options)?))
        .collect::<anyhow::Result<_>>()?;
    check_places(&plans)?;
    if args.report.dry_run {
        events.clear();
        return print(plans.iter().map(dry).collect::<String>().as_bytes()).context("stdout");
    }

    let folder = options.output.output.as_ref().filter(|o| o.as_os_str().as_encoded_bytes().ends_with(b"/"));
    if let Some(dir) = folder {
        std::fs::create_dir_all(dir).with_context(|| format!("{dir:?}"))?;
    }
    let results = parallel::each(jobs, &plans, |plan| workshop.build(plan, &options));
    let mut built = Vec::new();
    let mut failed = None;
    for result in results.into_iter().flatten() {
        match result {
            Ok(done) => built.push(done),
            Err(e) => failed = failed.or(Some(e)),
        }
    }
    for done in &built {
        for finding in &done.findings {
            events.event(Event::Warning(format!("{}: {finding}", done.key).into()));
        }
    }
    events.clear();
    print(report(args, &built)?.as_bytes()).context("stdout")?;
    match failed {
        Some(e) => Err(e.into()),
        None => Ok(()),
    }
}

/// What is typed to build one recipe into a directory.
#[derive(clap::Parser)]
struct Words {
    #[command(flatten)]
    args: Args,
}

/// How images are written into a directory, for commands that look at them.
pub(super) fn options_for(
    name: &str,
    dir: &std::path::Path,
    work: &WorkArgs,
    events: &dyn Events,
) -> anyhow::Result<BuildOptions> {
    let args = words(name, dir)?;
    let wanted = work.source.arch.as_deref().and_then(|a| a.parse().ok()).or_else(Arch::host);
    let image = args.output.image_options(wanted, events)?;
    let (output, release) = (args.output, args.release);
    Ok(BuildOptions { output, image, release, verify: false, rebuild: false })
}

fn words(name: &str, dir: &std::path::Path) -> anyhow::Result<Args> {
    let mut args = <Words as clap::Parser>::try_parse_from(["build", name])?.args;
    // A slash at its end says that it is a directory that takes images.
    args.output.output = Some(dir.join(""));
    Ok(args)
}

/// Images of the newest that is pinned of a recipe, in a directory.
pub(super) fn into_directory(
    name: &str,
    dir: &std::path::Path,
    catalogue: &CatalogueArgs,
    work: &WorkArgs,
    events: &dyn Events,
) -> anyhow::Result<Vec<Built>> {
    let args = Args { catalogue: catalogue.clone(), work: work.clone(), ..words(name, dir)? };
    let lock = Lock::read(&work.lock)?;
    let fetcher = work.fetcher()?;
    let workshop = Workshop { fetcher: &fetcher, images: &work.source, events };
    let recipes = [catalogue.catalogue()?.recipe(name)?];
    let options = options_for(name, dir, work, events)?;
    let mut built = Vec::new();
    for (recipe, key) in named(&args, &recipes, &lock)? {
        let plan = BuildPlan::new(recipe, &key, lock.expect(&key, &work.lock)?, &options)?;
        built.push(workshop.build(&plan, &options)?);
    }
    Ok(built)
}

/// Recipes of all that is pinned.
fn pinned_recipes(catalogue: &recipes::Catalogue, lock: &Lock) -> anyhow::Result<Vec<Recipe>> {
    let mut names: Vec<&str> = lock.iter().map(|(key, _)| key.name.as_str()).collect();
    names.dedup();
    Ok(names.into_iter().map(|name| catalogue.recipe(name)).collect::<Result<_, _>>()?)
}

fn everything<'r>(args: &Args, recipes: &'r [Recipe], lock: &Lock) -> anyhow::Result<Vec<(&'r Recipe, Key)>> {
    let word = args.work.source.arch.as_deref().filter(|a| !a.is_empty() && *a != "all");
    let arch = word.map(str::parse::<Arch>).transpose()?;
    let mut out = Vec::new();
    for recipe in recipes {
        let own = lock.iter().map(|(key, _)| key).filter(|key| key.name == recipe.name().as_str());
        out.extend(own.filter(|key| arch.is_none_or(|a| a == key.arch)).map(|key| (recipe, key.clone())));
    }
    if out.is_empty() {
        return Err(not_pinned("anything", args, lock).into());
    }
    Ok(out)
}

fn named<'r>(args: &Args, recipes: &'r [Recipe], lock: &Lock) -> anyhow::Result<Vec<(&'r Recipe, Key)>> {
    let settings = args.settings.settings(|name| std::env::var(name).ok())?;
    let mut out = Vec::new();
    for recipe in recipes {
        let name = recipe.name().as_str();
        for arch in args.work.architectures(recipe, Default::Host)? {
            let newest = || lock.newest(name, arch, &settings).cloned();
            let version = args.settings.version.clone().or_else(newest);
            let version = version.ok_or_else(|| not_pinned(&format!("{name} {arch}"), args, lock))?;
            out.push((recipe, Key { name: name.to_owned(), version, arch, settings: settings.clone() }));
        }
    }
    Ok(out)
}

fn not_pinned(what: &str, args: &Args, lock: &Lock) -> LockError {
    let name = args.settings.name.as_deref();
    let pinned = lock.iter().map(|(k, _)| k).filter(|k| Some(k.name.as_str()) == name).map(Key::to_string);
    LockError::NotPinned { what: what.to_owned(), path: args.work.lock.clone(), pinned: pinned.collect() }
}

/// Processors for each of several builds at once.
fn threads(jobs: usize) -> Option<std::num::NonZeroUsize> {
    let processors = std::thread::available_parallelism().ok()?;
    std::num::NonZeroUsize::new((processors.get() / jobs).max(1))
}

/// Two builds that differ by nothing but settings have one file name.
fn check_places(plans: &[BuildPlan]) -> anyhow::Result<()> {
    let mut places = std::collections::BTreeMap::new();
    for plan in plans {
        if let Some(other) = places.insert(plan.output(), plan.key()) {
            bail!(
                "{:?} would be both {other} and {}: build them apart, or name a directory",
                plan.output(),
                plan.key()
            );
        }
    }
    Ok(())
}

fn dry(plan: &BuildPlan) -> String {
    let mut out = format!("{}: {}\n", plan.output().display(), plan.key());
    for download in &plan.instance().downloads {
        out.push_str(&format!("  {}: {}\n", download.id, download.url));
    }
    out
}

fn report(args: &Args, built: &[Built]) -> anyhow::Result<String> {
    if args.report.json {
        let list = built.iter().map(|b| {
            json!({
                "name": b.key.name, "version": b.key.version.as_str(), "arch": b.key.arch.systemd(),
                "path": b.path.to_string_lossy(), "bytes": b.bytes, "sha256": b.sha256, "kept": b.kept,
                "findings": b.findings.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        });
        return Ok(format!("{:#}\n", list.collect::<serde_json::Value>()));
    }
    let fresh = built.iter().filter(|b| !b.kept);
    let mut out: String = match args.report.quiet {
        true => return Ok(String::new()),
        false => fresh.map(line).collect(),
    };
    match built.iter().filter(|b| b.kept).count() {
        0 => {}
        kept if kept == built.len() => {
            out.push_str(&format!("nothing to do: {} up to date\n", images(kept)));
        }
        kept => out.push_str(&format!("{} already up to date\n", images(kept))),
    }
    Ok(out)
}

fn images(count: usize) -> String {
    if count == 1 { "1 image is".to_owned() } else { format!("{count} images are") }
}

fn line(built: &Built) -> String {
    let hash = built.sha256.as_ref().map(|h| format!(", sha256:{h}")).unwrap_or_default();
    format!("{}: {}{hash}\n", built.path.display(), Size(built.bytes))
}
