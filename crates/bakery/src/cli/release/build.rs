//! Building what a release lacks.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use tree::{Event, Events, OutputFile, parallel};

use super::super::build;
use super::ReleaseCommand;
use super::plan::{Plan, tell};
use crate::{
    release::directory::{SBOM, STATEMENT},
    release::plan::word,
    release::record::WITHOUT,
    release::{Input, Record, sbom},
};
use recipes::ImageFileName;
use recipes::build::{BuildOptions, BuildPlan, Destination};
use recipes::context::BuildContext;
use recipes::lock::{Key, Pins};
use recipes::verified::Against;
use store::Digest;

/// The options of all images of a release.
pub(super) fn options(args: &ReleaseCommand, events: &dyn Events) -> anyhow::Result<BuildOptions> {
    if args.output.output.is_some() {
        bail!("--output: a release has a folder, --to names it");
    }
    let options = build::resolve(&args.output, &args.release, events)?;
    if options.image.format.suffix() != ".raw" {
        bail!("--format: a release has images of one file, NAME-VERSION-ARCH.raw: choose another format");
    }
    Ok(options)
}

/// Builds what is missing; the files that were made, and the words of those that could not be.
pub(super) fn build_all(
    args: &ReleaseCommand,
    plan: &Plan,
    options: &BuildOptions,
    context: BuildContext<'_>,
) -> anyhow::Result<(Vec<ImageFileName>, Vec<String>)> {
    let mut options = options.clone();
    let jobs = args.what.work.builds().min(plan.missing.len()).max(1);
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let threads = &mut options.image.threads;
    *threads = threads.or_else(|| std::num::NonZeroUsize::new((processors / jobs).max(1)));
    // One that fails doesn't stop the others.
    let results = parallel::map(jobs, &plan.missing, |key| {
        let destination = Destination::Release(args.what.to.join(&key.name));
        let options = BuildOptions { destination, ..options.clone() };
        build_one(args, plan, key, &options, context)
    });
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (result, key) in results.into_iter().zip(&plan.missing) {
        match result {
            Ok(()) => done.push(key.image_file()),
            Err(error) => {
                tell(&error, context);
                failed.push(word(key));
            }
        }
    }
    Ok((done, failed))
}

fn build_one(
    args: &ReleaseCommand,
    plan: &Plan,
    key: &Key,
    options: &BuildOptions,
    context: BuildContext<'_>,
) -> anyhow::Result<()> {
    let recipe = plan.recipes.get(&key.name).context("no such recipe")?;
    let pins = plan.lock.expect(key, &args.what.work.lock)?;
    let dir = args.what.to.join(&key.name);
    std::fs::create_dir_all(&dir).with_context(|| format!("{dir:?}"))?;
    let build = BuildPlan::new(recipe, key, pins, options)?;
    let built = context.build(&build, options)?;
    for finding in &built.findings {
        context.events.event(Event::Warning(format!("{key}: {finding}").into()));
    }
    let image = key.image_file();
    if built.path.file_name().and_then(|n| n.to_str()) != Some(&image.to_string()) {
        bail!("internal error: {:?} was written for {image}", built.path);
    }
    let sha256 = built.sha256.as_deref().and_then(Digest::from_hex);
    let record = Record {
        image,
        size: built.bytes,
        sha256: sha256.context("the image has no checksum")?,
        settings: settings(key, pins),
        options: Some(options.digest()),
        recipe: *recipe.digest(),
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        inputs: inputs(pins),
    };
    let bill =
        sbom::document(&record, recipe.licence(), recipe.homepage(), args.output.epoch).context("--epoch")?;
    let beside = |ending| dir.join(format!("{}{ending}", record.image.stem()));
    put(&beside(SBOM), &bill)?;
    // Last: it says that all is there.
    put(&beside(STATEMENT), &record.statement()?)
}

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    let out = OutputFile::create(path)?;
    std::io::Write::write_all(&mut out.file(), text.as_bytes()).with_context(|| format!("{path:?}"))?;
    Ok(out.commit()?)
}

/// What was chosen and what was found out.
fn settings(key: &Key, pins: &Pins) -> BTreeMap<String, String> {
    let mut all = key.settings.parameters.clone();
    all.extend(pins.found.clone());
    if !key.settings.without.is_empty() {
        let words: Vec<&str> = key.settings.without.iter().map(String::as_str).collect();
        all.insert(WITHOUT.into(), words.join(","));
    }
    all
}

fn inputs(pins: &Pins) -> Vec<Input> {
    let downloads = pins.inputs.values().map(|input| Input {
        uri: input.url.clone(),
        sha256: input.sha256.0,
        verified: input.verified.clone(),
    });
    let images = pins.images.iter().map(|(image, digest)| Input {
        uri: format!("oci:{image}"),
        sha256: digest.0,
        verified: Against::Image.into(),
    });
    let archives = pins.packages.values().flat_map(|packages| packages.archives.iter().flatten());
    let archives = archives.map(|archive| Input {
        uri: archive.url.clone(),
        sha256: archive.sha256.0,
        verified: Against::PackageManager.into(),
    });
    downloads.chain(images).chain(archives).collect()
}
