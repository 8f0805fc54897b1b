//! `bakery build`

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cli::{OutputArgs, ReleaseArgs, ReportArgs, TargetArgs, Terminal, print};
use serde_json::json;
use sysext::Release;
use tree::{Arch, Event, Events, Size, parallel};

use super::args::Default;
use super::{CatalogueArgs, SettingsArgs, WorkArgs, lock};
use recipes::build::{BuildOptions, BuildPlan, Built, Destination, ReleaseOptions};
use recipes::context::BuildContext;
use recipes::lock::{Key, Lock, LockError};
use recipes::recipe::{Instance, Recipe};

const EXAMPLES: &str = "\
Examples:
  bakery build tailscale
      Build tailscale-VERSION-ARCH.raw from the newest version in the lock file.
  bakery build --update kubernetes v1.32.2 --set cni-version=v1.6.2
      Pin a version first.
  bakery build --all -o images/ --format erofs
      Build everything in the lock file. Images that are up to date aren't built again.

To merge an image by hand, link it as /etc/extensions/NAME.raw, where NAME is the name of the recipe.";

/// Build images from recipes.lock.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    settings: SettingsArgs,

    /// Build everything in the lock file (for the architectures of --arch, if given)
    #[arg(long, conflicts_with = "name")]
    all: bool,

    /// Verify the hashes of existing images, rather than their sizes and times
    #[arg(long)]
    verify: bool,

    /// Rebuild existing images
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
    target: TargetArgs,

    #[command(flatten)]
    report: ReportArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let events = Terminal::new(args.report.verbosity());
    tree::remove_on_interrupt().context("signals can't be handled")?;
    let catalogue = args.catalogue.catalogue()?;
    let mut lock = args.work.read_lock(&catalogue)?;
    let fetcher = args.work.fetcher()?;
    let images = args.work.images(&fetcher);
    let context = BuildContext { fetcher: &fetcher, images: &images, events: &events };

    let recipes = match &args.settings.name {
        Some(name) => vec![catalogue.recipe(name)?],
        None if args.all && args.settings.update => catalogue.recipes()?,
        None if args.all => pinned_recipes(&catalogue, &lock)?,
        None => bail!("name is missing: say what to build, or --all"),
    };
    let target = args.target.read(|| args.work.source.context(), &events)?;
    let mut options = resolve(&args.output, &args.release, &events)?;
    options.target = target.as_ref().map(|read| read.target.clone());
    let keys = match (args.settings.update, args.all) {
        (true, all) => {
            let default = if all { Default::All } else { Default::Host };
            let wanted = lock::wanted(&recipes, &args.settings, &args.work, default, context)?;
            if args.report.dry_run {
                let text = preview(&wanted, &options, context)?;
                events.clear();
                return print(text.as_bytes()).context("stdout");
            }
            lock::pin(&wanted, &mut lock, &args.work, context)?;
            wanted
        }
        (false, true) => everything(args, &recipes, &lock)?,
        (false, false) => named(&args.settings, &args.work, &recipes, &lock)?,
    };

    let jobs = args.work.builds().min(keys.len()).max(1);
    options.image.threads = options.image.threads.or_else(|| threads(jobs));
    (options.verify, options.rebuild) = (args.verify, args.rebuild);
    let plans: Vec<BuildPlan> = keys
        .iter()
        .map(|(recipe, key)| Ok(BuildPlan::new(recipe, key, lock.expect(key, &args.work.lock)?, &options)?))
        .collect::<anyhow::Result<_>>()?;
    check_places(&plans)?;
    if args.report.dry_run {
        events.clear();
        let text: String = plans.iter().map(|plan| dry(plan.output(), plan.key(), plan.instance())).collect();
        return print(text.as_bytes()).context("stdout");
    }

    let folder = args.output.output.as_ref().filter(|o| o.as_os_str().as_encoded_bytes().ends_with(b"/"));
    if let Some(dir) = folder {
        std::fs::create_dir_all(dir).with_context(|| format!("{dir:?}"))?;
    }
    let results = parallel::until_error(jobs, &plans, |plan| context.build(plan, &options));
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

/// The arguments about images, as the library takes them. Images of recipes have an architecture, so none is needed for the disk.
pub(super) fn resolve(
    output: &OutputArgs,
    release: &ReleaseArgs,
    events: &dyn Events,
) -> anyhow::Result<BuildOptions> {
    let image = output.image_options(None, events)?;
    let destination = match (output.directory(), &output.output) {
        (Some(dir), _) => Destination::Directory(dir.to_owned()),
        (None, Some(path)) => Destination::File(path.clone()),
        (None, None) => Destination::Directory(PathBuf::new()),
    };
    Ok(BuildOptions {
        image,
        epoch: output.epoch,
        allow: output.allow.iter().cloned().collect(),
        release: release_options(release)?,
        ..BuildOptions::new(destination)
    })
}

fn release_options(args: &ReleaseArgs) -> anyhow::Result<ReleaseOptions> {
    let reload = if args.no_reload { Some(false) } else { args.reload };
    let Release { id, sysext_level, version_id, scope, .. } = args.release(None, false)?;
    Ok(ReleaseOptions { id, sysext_level, version_id, scope, reload })
}

/// For commands that look at images and take no arguments about them: what `bakery build` makes in the same environment, but always
/// squashfs, which they can all read.
pub(super) fn plain_options(dir: &Path) -> anyhow::Result<BuildOptions> {
    let environment = cli::environment();
    let epoch =
        environment.text("SOURCE_DATE_EPOCH").map(str::parse).transpose().context("SOURCE_DATE_EPOCH")?;
    let release = ReleaseArgs::from_environment(&environment).map_err(anyhow::Error::msg)?;
    Ok(BuildOptions {
        epoch: epoch.unwrap_or(0),
        release: release_options(&release)?,
        ..BuildOptions::new(Destination::Directory(dir.to_owned()))
    })
}

/// Builds plain images of the newest that is pinned of a recipe, in a directory.
pub(super) fn into_directory(
    name: &str,
    dir: &Path,
    catalogue: &CatalogueArgs,
    work: &WorkArgs,
    events: &dyn Events,
) -> anyhow::Result<Vec<Built>> {
    let settings = SettingsArgs::of(name);
    let catalogue = catalogue.catalogue()?;
    let lock = work.read_lock(&catalogue)?;
    let fetcher = work.fetcher()?;
    let images = work.images(&fetcher);
    let context = BuildContext { fetcher: &fetcher, images: &images, events };
    let recipes = [catalogue.recipe(name)?];
    let options = plain_options(dir)?;
    let mut built = Vec::new();
    for (recipe, key) in named(&settings, work, &recipes, &lock)? {
        let plan = BuildPlan::new(recipe, &key, lock.expect(&key, &work.lock)?, &options)?;
        built.push(context.build(&plan, &options)?);
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
        return Err(not_pinned("the catalogue", &args.settings, &args.work, lock).into());
    }
    Ok(out)
}

fn named<'r>(
    args: &SettingsArgs,
    work: &WorkArgs,
    recipes: &'r [Recipe],
    lock: &Lock,
) -> anyhow::Result<Vec<(&'r Recipe, Key)>> {
    let settings = args.settings(|name| std::env::var(name).ok())?;
    let mut out = Vec::new();
    for recipe in recipes {
        let name = recipe.name().as_str();
        for arch in work.architectures(recipe, Default::Host)? {
            let newest = || lock.newest(name, arch, &settings).cloned();
            let version = args.version.as_ref().map(|version| recipe.in_form(version)).or_else(newest);
            let version = version.ok_or_else(|| not_pinned(&format!("{name} {arch}"), args, work, lock))?;
            out.push((recipe, Key { name: name.to_owned(), version, arch, settings: settings.clone() }));
        }
    }
    Ok(out)
}

fn not_pinned(what: &str, args: &SettingsArgs, work: &WorkArgs, lock: &Lock) -> LockError {
    let name = args.name.as_deref();
    let pinned = lock.iter().map(|(k, _)| k).filter(|k| Some(k.name.as_str()) == name).map(Key::to_string);
    LockError::NotPinned { what: what.to_owned(), path: work.lock.clone(), pinned: pinned.collect() }
}

/// Processors for each of several builds at once.
fn threads(jobs: usize) -> Option<std::num::NonZeroUsize> {
    let processors = std::thread::available_parallelism().ok()?;
    std::num::NonZeroUsize::new((processors.get() / jobs).max(1))
}

/// Two builds that differ by nothing but parameters have one file name.
fn check_places(plans: &[BuildPlan]) -> anyhow::Result<()> {
    let mut places = std::collections::BTreeMap::new();
    for plan in plans {
        if let Some(other) = places.insert(plan.output(), plan.key()) {
            bail!(
                "{:?} would be both {other} and {}: build them apart, each into a directory of its own",
                plan.output(),
                plan.key()
            );
        }
    }
    Ok(())
}

/// What would be pinned and built.
fn preview(
    wanted: &[(&Recipe, Key)],
    options: &BuildOptions,
    context: BuildContext<'_>,
) -> anyhow::Result<String> {
    let one = |(recipe, key): &(&Recipe, Key)| {
        let instance = context.resolve(recipe, key)?;
        Ok(dry(&BuildPlan::preview(key, options)?, key, &instance))
    };
    wanted.iter().map(one).collect()
}

fn dry(output: &Path, key: &Key, instance: &Instance) -> String {
    let mut out = format!("{}: {key}\n", output.display());
    for download in &instance.downloads {
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
