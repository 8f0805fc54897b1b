//! `bakery plan` and `bakery release`.

mod build;
mod failures;
mod only;
mod plan;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{ArgMatches, parser::ValueSource};
use cli::{LabelArgs, OutputArgs, ReleaseArgs, ReportArgs, TargetArgs, Terminal, Verbosity, print};
use serde_json::json;
use tree::{Event, Size, list_some};

use super::{CatalogueArgs, WorkArgs, sign_key};
use crate::{
    release::directory::{MANIFEST_SIGNATURE, merge},
    release::plan::{PlanFormat, images, text, word},
    release::{DirectoryLock, ReleaseMetadata},
    sysupdate,
};
use only::{Only, Shard};
use plan::{Aim, Plan};
use recipes::ImageFileName;
use recipes::build::BuildOptions;
use recipes::context::BuildContext;
use recipes::lock::Key;

/// What a release is made of; both commands take it.
#[derive(Debug, Clone, clap::Args)]
struct WhatArgs {
    /// Extensions and versions to release [default: release.toml if it exists, otherwise the latest versions of all recipes]
    #[arg(value_name = "RELEASE.toml")]
    file: Option<PathBuf>,

    /// Directory of the release; images in it aren't built again
    #[arg(long, value_name = "DIR", default_value = "release")]
    to: PathBuf,

    /// Existing release, as a directory or URL, whose images aren't built again but are listed with the new ones
    #[arg(long, value_name = "DIR|URL")]
    place: Option<String>,

    /// Accept a --place where nothing is released yet
    #[arg(long, requires = "place")]
    empty_place: bool,

    /// Verify manifests of --place with this OpenPGP key
    #[arg(long, value_name = "FILE", requires = "place")]
    verify_key: Option<PathBuf>,

    /// Build only this; repeatable
    #[arg(long, value_name = "NAME[@VERSION[:ARCH]]")]
    only: Vec<Only>,

    /// Build only part I of N of what is missing, to share the work among machines
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,

    /// Look up the latest versions upstream, even if older ones are pinned
    #[arg(long)]
    update: bool,

    /// Use pinned versions only, without looking for new ones upstream
    #[arg(long, conflicts_with = "update")]
    locked: bool,

    #[command(flatten)]
    catalogue: CatalogueArgs,

    #[command(flatten)]
    work: WorkArgs,
}

const PLAN_EXAMPLES: &str = "\
Examples:
  bakery plan --update
      List versions that are newer than the release in release/.
  bakery plan --update --place https://example.org/extensions/
      Compare with a hosted release.
  bakery plan --format github-matrix
      Print a job matrix with a job for each image, which runs \"bakery release --locked --only …\" with the same lock file.";

/// List images that are missing from a release.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = PLAN_EXAMPLES)]
pub struct PlanCommand {
    #[command(flatten)]
    what: WhatArgs,

    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: PlanFormat,

    /// Print only the plan and errors
    #[arg(short, long)]
    quiet: bool,
}

/// Arguments that decide how images are written.
const IMAGE_OPTIONS: [&str; 15] = [
    "format",
    "compression",
    "block_size",
    "verity",
    "sign_verity",
    "cert",
    "epoch",
    "os",
    "sysext_level",
    "os_version",
    "host_arch",
    "reload",
    "no_reload",
    "scope",
    "file_contexts",
];

/// Whether any of [`IMAGE_OPTIONS`] is passed, on the command line or in the environment. Without options, existing images are
/// accepted.
#[derive(Debug, Clone, Copy)]
struct ImageOptionsPassed(bool);

impl clap::FromArgMatches for ImageOptionsPassed {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_passed = |name: &str| matches.value_source(name) != Some(ValueSource::DefaultValue);
        let mut passed = matches.ids().map(clap::Id::as_str).filter(|name| IMAGE_OPTIONS.contains(name));
        Ok(ImageOptionsPassed(passed.any(is_passed)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for ImageOptionsPassed {
    fn augment_args(command: clap::Command) -> clap::Command {
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        command
    }
}

const RELEASE_EXAMPLES: &str = "\
Examples:
  bakery release
      Build what release.toml lists and release/ lacks. Any web server can host the directory.
  bakery release --update --sign key.asc
      Include new upstream versions, and sign the manifests.
  bakery release --locked --to part/ --shard 1/4
      Build a quarter of it, on one of four machines with the same recipes.lock.
  bakery release --merge part1/ --merge part2/ --merge part3/ --merge part4/
      Combine the parts.

To resume an interrupted run, use the same command.";

/// Build a release: images, manifests, update configuration, and the catalogue page.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = RELEASE_EXAMPLES)]
pub struct ReleaseCommand {
    // The first: what is parsed before it is gone from the matches.
    #[command(flatten)]
    passed: ImageOptionsPassed,

    #[command(flatten)]
    what: WhatArgs,

    /// Add the images in this directory instead of building any; repeatable
    #[arg(long, value_name = "DIR", conflicts_with_all = ["only", "shard", "update", "locked"])]
    merge: Vec<PathBuf>,

    /// Sign manifests with the OpenPGP key in this file, which has no passphrase (gpg --export-secret-keys)
    #[arg(long, value_name = "FILE", env = "BAKERY_SIGN_KEY", hide_env_values = true)]
    sign: Option<PathBuf>,

    /// URL where the release will be hosted [default: as in release.toml]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    release: ReleaseArgs,

    #[command(flatten)]
    labels: LabelArgs,

    #[command(flatten)]
    report: ReportArgs,
}

/// `bakery plan`.
pub(super) fn plan(args: &PlanCommand) -> anyhow::Result<()> {
    let events = Terminal::new(if args.quiet { Verbosity::Quiet } else { Verbosity::Normal });
    let fetcher = args.what.work.fetcher()?;
    let images = args.what.work.images(&fetcher);
    let context = BuildContext { fetcher: &fetcher, images: &images, events: &events };
    let plan = args.what.plan(&Aim { asks: !args.what.locked, pins: true, options: None }, context)?;
    events.clear();
    tell_plan(&plan, args.format)
}

/// Names of what failed on one line, of which each has had its reason already.
const LISTED: usize = 10;

fn tell_plan(plan: &Plan, format: PlanFormat) -> anyhow::Result<()> {
    let missing: Vec<&Key> = plan.missing.iter().collect();
    print(text(&missing, plan.there, format).as_bytes()).context("stdout")?;
    match plan.failed.is_empty() {
        true => Ok(()),
        false => bail!("the plan lacks what could not be found out: {}", list_some(&plan.failed, LISTED)),
    }
}

/// `bakery release`.
pub(super) fn release(args: &ReleaseCommand) -> anyhow::Result<()> {
    let events = Terminal::new(args.report.verbosity());
    tree::remove_on_interrupt().context("signals can't be handled")?;
    // A key that is of no use is said before anything long begins.
    let signer = args.sign.as_deref().map(sign_key::read).transpose()?;
    for dir in &args.merge {
        if !dir.is_dir() {
            bail!("{dir:?}: is no folder");
        }
    }
    let labels = TargetArgs::from(args.labels.clone()).read(|| args.what.work.source.context(), &events)?;
    let options = BuildOptions {
        target: labels.as_ref().map(|read| read.target.clone()),
        ..build::options(args, &events)?
    };
    let to = &args.what.to;
    let _locked = if args.report.dry_run { None } else { Some(DirectoryLock::take(to)?) };
    let fetcher = args.what.work.fetcher()?;
    let images = args.what.work.images(&fetcher);
    let context = BuildContext { fetcher: &fetcher, images: &images, events: &events };
    let asks = !args.what.locked && args.merge.is_empty();
    let aim = Aim { asks, pins: !args.report.dry_run, options: args.passed.0.then(|| options.digest()) };
    let mut plan = args.what.plan(&aim, context)?;
    if let Some(url) = &args.base_url {
        plan.config.base_url = sysupdate::base_url(url).map_err(|e| anyhow::anyhow!("--base-url: {e}"))?;
    }
    if args.report.dry_run {
        events.clear();
        return tell_plan(&plan, PlanFormat::Table);
    }
    let mut failed = plan.failed.clone();
    let done = match args.merge.is_empty() {
        true => {
            let (done, bad) = build::build_all(args, &plan, &options, context)?;
            failed.extend(bad);
            done
        }
        false => {
            let mut taken = Vec::new();
            for dir in &args.merge {
                taken.extend(merge(dir, to)?);
            }
            failed.extend(plan.missing.iter().filter(|k| !taken.contains(&k.image_file())).map(word));
            taken
        }
    };
    if signer.is_none() && to.join(MANIFEST_SIGNATURE).exists() {
        let text = format!("{}: was signed, and isn't any more: --sign signs it again", to.display());
        context.events.event(Event::Warning(text.into()));
    }
    let now = std::time::UNIX_EPOCH.elapsed().context("the clock is before 1970")?.as_secs().try_into()?;
    let metadata = ReleaseMetadata {
        config: &plan.config,
        recipes: &plan.recipes,
        signer: signer.as_ref(),
        hosted: plan.hosted.as_ref(),
        now,
        // Who fixes the files' times wants the same bytes on another day.
        today: if options.epoch == 0 { now } else { options.epoch },
    };
    let changed = metadata.write(to)?;
    events.clear();
    print(report(args, &plan, &done, &failed, changed)?.as_bytes()).context("stdout")?;
    let what = if args.merge.is_empty() { "could not be built" } else { "are in none of the parts" };
    match failed.len() {
        0 => Ok(()),
        1 => bail!("1 image {}: {}", what.replace("are in", "is in"), failed.join(", ")),
        n => bail!("{n} images {what}: {}", list_some(&failed, LISTED)),
    }
}

fn report(
    args: &ReleaseCommand,
    plan: &Plan,
    done: &[ImageFileName],
    failed: &[String],
    changed: bool,
) -> anyhow::Result<String> {
    if args.report.json {
        let value = json!({
            "folder": args.what.to.to_string_lossy(),
            "built": done.iter().map(ToString::to_string).collect::<Vec<_>>(), "failed": failed, "there": plan.there,
            "changed": changed,
        });
        return Ok(format!("{value:#}\n"));
    }
    if args.report.quiet {
        return Ok(String::new());
    }
    let mut out = String::new();
    for image in done {
        let path = args.what.to.join(&image.name).join(image.to_string());
        let size = path.metadata().map_or(0, |m| m.len());
        out.push_str(&format!("{}: {}\n", path.display(), Size(size)));
    }
    let folder = args.what.to.display();
    out.push_str(&match (done.len(), changed, failed.len()) {
        (0, false, 0) => format!("nothing to do: {folder} is complete\n"),
        (0, true, 0) => format!("{folder}: manifests and page renewed\n"),
        (n, _, 0) => format!("{folder}: {} new, {} there before\n", images(n), plan.there),
        (n, _, bad) => format!("{folder}: {} new, {} there before, {bad} failed\n", images(n), plan.there),
    });
    Ok(out)
}
