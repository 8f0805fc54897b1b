//! `bakery plan` and `bakery release`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail};
use serde_json::json;
use sysext::cli::{OutputArgs, ReleaseArgs, ReportArgs, Size, Terminal, Verbosity, print};
use sysext::{Arch, Event, OutputFile};

use super::{CatalogueArgs, WorkArgs, lock as pinning, parallel};
use crate::build::{BuildOptions, BuildPlan};
use crate::catalogue::Catalogue;
use crate::lock::{Key, Lock, Pins};
use crate::recipe::{ParameterValue, Recipe, Settings};
use crate::release::config::{self, ReleaseConfig, Wanted};
use crate::release::place::{Contents, SBOM, STATEMENT, merge};
use crate::release::plan::{PlanFormat, image_name, text, word};
use crate::release::{Input, Papers, Record, sbom};
use crate::signature::Signer;
use crate::tools::Workshop;
use crate::version::Version;
use crate::versions;

/// What a release is made of; both commands take it.
#[derive(Debug, Clone, clap::Args)]
struct WhatArgs {
    /// What the catalogue offers [default: release.toml if it is there, else the latest versions of all recipes]
    #[arg(value_name = "RELEASE.toml")]
    file: Option<PathBuf>,

    /// A release place whose images aren't built again: a folder, or the URL that it is hosted at
    #[arg(long, value_name = "DIR|URL")]
    place: Option<String>,

    /// The place's manifests have to be signed by this OpenPGP key
    #[arg(long, value_name = "FILE", requires = "place")]
    verify_key: Option<PathBuf>,

    /// Only this; repeatable
    #[arg(long, value_name = "NAME[@VERSION[:ARCH]]")]
    only: Vec<Only>,

    /// Only a share of what is missing: one machine of several
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,

    /// Asks upstream for the latest versions, and pins what isn't
    #[arg(long)]
    update: bool,

    #[command(flatten)]
    catalogue: CatalogueArgs,

    #[command(flatten)]
    work: WorkArgs,
}

const PLAN_EXAMPLES: &str = "\
Examples:
  bakery plan --update --place https://example.org/extensions/
      What has come out since the release that is hosted there.
  bakery plan --format github-matrix
      The same for a workflow: one job an image, each runs \"bakery release --only …\".";

/// Tells what a release lacks.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = PLAN_EXAMPLES)]
pub struct PlanCommand {
    #[command(flatten)]
    what: WhatArgs,

    /// How to tell it
    #[arg(long, value_enum, default_value_t)]
    format: PlanFormat,

    /// Print errors only, beside the plan
    #[arg(short, long)]
    quiet: bool,
}

const RELEASE_EXAMPLES: &str = "\
Examples:
  bakery release --update --to release/
      Builds what release.toml offers and the folder lacks; a web server can host the folder as it is.
  bakery release --to part/ --shard 1/4
      A quarter of it, on one of four machines.
  bakery release --merge part1/ --merge part2/ --to release/ --sign key.asc
      Puts the parts together, and signs the manifests.

A run that was stopped is resumed by the same command: what is complete stays.";

/// Builds a release: images, manifests, update configuration, and the catalogue page.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = RELEASE_EXAMPLES)]
pub struct ReleaseCommand {
    #[command(flatten)]
    what: WhatArgs,

    /// The folder of the release
    #[arg(long, value_name = "DIR", default_value = "release")]
    to: PathBuf,

    /// Builds nothing, but takes in the images of this folder; repeatable
    #[arg(long, value_name = "DIR", conflicts_with_all = ["only", "shard", "update"])]
    merge: Vec<PathBuf>,

    /// Signs manifests with the OpenPGP key in this file, which has no passphrase (gpg --export-secret-keys)
    #[arg(long, value_name = "FILE", env = "BAKERY_SIGN_KEY", hide_env_values = true)]
    sign: Option<PathBuf>,

    /// Where the folder is going to be hosted [default: what release.toml says]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    release: ReleaseArgs,

    #[command(flatten)]
    report: ReportArgs,
}

/// `NAME[@VERSION[:ARCH]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Only {
    name: String,
    version: Option<Version>,
    arch: Option<Arch>,
}

impl FromStr for Only {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = match text.split_once('@') {
            Some((name, rest)) => (name, Some(rest)),
            None => (text, None),
        };
        let (version, arch) = match rest.map(|r| r.split_once(':').map_or((r, None), |(v, a)| (v, Some(a)))) {
            Some((version, arch)) => (Some(version), arch),
            None => (None, None),
        };
        let version = version.map(|v| v.parse::<Version>().map_err(|e| e.to_string())).transpose()?;
        let arch = arch.map(|a| a.parse::<Arch>().map_err(|e| e.to_string())).transpose()?;
        Ok(Only { name: name.to_owned(), version, arch })
    }
}

impl Only {
    fn fits(&self, key: &Key) -> bool {
        self.name == key.name
            && self.version.as_ref().is_none_or(|v| *v == key.version)
            && self.arch.is_none_or(|a| a == key.arch)
    }
}

/// `I/N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shard {
    /// From 0.
    index: usize,
    count: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match numbers {
            Some((i, n)) if (1..=n).contains(&i) => Ok(Shard { index: i - 1, count: n }),
            _ => Err("expected I/N, like 1/4".into()),
        }
    }
}

/// What is wanted, and what there is.
struct Plan {
    config: ReleaseConfig,
    recipes: BTreeMap<String, Recipe>,
    lock: Lock,
    /// To be built, in order.
    missing: Vec<Key>,
    /// How many are there.
    there: usize,
    /// What the URL has.
    hosted: Option<Contents>,
}

impl WhatArgs {
    fn config(&self) -> anyhow::Result<ReleaseConfig> {
        let usual = Path::new(config::FILE_NAME);
        Ok(match &self.file {
            Some(path) => ReleaseConfig::read(path)?,
            None if usual.exists() => ReleaseConfig::read(usual)?,
            None => ReleaseConfig::default(),
        })
    }

    /// Decides; `to` is a folder whose images count, too.
    fn plan(&self, to: Option<&Path>, workshop: Workshop<'_>) -> anyhow::Result<Plan> {
        let config = self.config()?;
        let catalogue = self.catalogue.catalogue()?;
        let wanted = wanted(&config, &catalogue)?;
        let recipes: Vec<Recipe> =
            wanted.keys().map(|name| catalogue.recipe(name)).collect::<Result<_, _>>()?;
        for only in &self.only {
            if !wanted.contains_key(&only.name) {
                bail!("--only {}: the release doesn't offer it", only.name);
            }
        }
        let mut lock = Lock::read(&self.work.lock)?;
        let mut keys = self.keys(&config, &recipes, &wanted, &lock, workshop)?;
        if !self.only.is_empty() {
            keys.retain(|(_, key)| self.only.iter().any(|o| o.fits(key)));
            if let Some(only) = self.only.iter().find(|o| !keys.iter().any(|(_, key)| o.fits(key))) {
                let version = only.version.as_ref().map(|v| format!("@{v}")).unwrap_or_default();
                bail!("--only {}{version}: the release doesn't offer it", only.name);
            }
        }
        let hosted = self.hosted(&wanted, workshop)?;
        let mut there = match to {
            Some(dir) => Contents::of_folder(dir)?.records,
            None => BTreeMap::new(),
        };
        match (&hosted, &self.place) {
            (Some(hosted), _) => there.extend(hosted.records.clone()),
            (None, Some(dir)) => there.extend(Contents::of_folder(Path::new(dir))?.records),
            (None, None) => {}
        }
        let count = keys.len();
        keys.retain(|(_, key)| !there.contains_key(&image_name(key)));
        let there = count - keys.len();
        if let Some(shard) = self.shard {
            let own = |(i, key)| (i % shard.count == shard.index).then_some(key);
            keys = keys.into_iter().enumerate().filter_map(own).collect();
        }
        if self.update {
            let unpinned: Vec<(&Recipe, Key)> =
                keys.iter().filter(|(_, k)| lock.get(k).is_none()).cloned().collect();
            if !unpinned.is_empty() {
                pinning::pin(&unpinned, &mut lock, &self.work, workshop)?;
            }
        }
        let missing = keys.into_iter().map(|(_, key)| key).collect();
        let recipes = recipes.into_iter().map(|r| (r.name().to_string(), r)).collect();
        Ok(Plan { config, recipes, lock, missing, there, hosted })
    }

    fn hosted(
        &self,
        wanted: &BTreeMap<String, Wanted>,
        workshop: Workshop<'_>,
    ) -> anyhow::Result<Option<Contents>> {
        let Some(url) = self.place.as_ref().filter(|p| p.contains("://")) else { return Ok(None) };
        let key = match &self.verify_key {
            Some(path) => Some(std::fs::read(path).with_context(|| format!("{path:?}"))?),
            None => None,
        };
        let names = wanted.keys().map(String::as_str);
        Ok(Some(Contents::of_url(url, names, key.as_deref(), workshop.fetcher, workshop.events)?))
    }

    /// All builds that the release wants, sorted.
    fn keys<'r>(
        &self,
        config: &ReleaseConfig,
        recipes: &'r [Recipe],
        wanted: &BTreeMap<String, Wanted>,
        lock: &Lock,
        workshop: Workshop<'_>,
    ) -> anyhow::Result<Vec<(&'r Recipe, Key)>> {
        let ask = |url: &str| workshop.ask(url);
        let versions = parallel::each(self.work.builds().max(4), recipes, |recipe| {
            let Some(wanted) = wanted.get(recipe.name().as_str()) else { return Ok(Vec::new()) };
            let mut found = wanted.versions.clone();
            if wanted.latest && self.update {
                let all = versions::all(recipe, &ask)?;
                found.extend(versions::latest(recipe, &all, &ask)?);
            } else if wanted.latest {
                let own = lock.iter().map(|(key, _)| key);
                let own = own.filter(|k| k.name == recipe.name().as_str() && k.settings == wanted.settings);
                let before = found.len();
                found.extend(own.map(|k| k.version.clone()));
                if found.len() == before {
                    let text = format!("{}: nothing is pinned, --update asks upstream", recipe.name());
                    workshop.events.event(Event::Warning(text.into()));
                }
            }
            found.sort_by(|a, b| crate::version::compare(a.as_str(), b.as_str()));
            found.dedup();
            anyhow::Ok(found)
        });
        let mut out = Vec::new();
        for (result, recipe) in versions.into_iter().zip(recipes) {
            let settings = wanted.get(recipe.name().as_str()).map(|w| w.settings.clone()).unwrap_or_default();
            for version in result.transpose()?.unwrap_or_default() {
                for &arch in recipe.architectures() {
                    if config.architectures.as_ref().is_none_or(|list| list.contains(&arch)) {
                        let name = recipe.name().to_string();
                        let key = Key { name, version: version.clone(), arch, settings: settings.clone() };
                        out.push((recipe, key));
                    }
                }
            }
        }
        Ok(out)
    }
}

/// What the release offers: what its file says, or the whole catalogue but what has to be told more.
fn wanted(config: &ReleaseConfig, catalogue: &Catalogue) -> anyhow::Result<BTreeMap<String, Wanted>> {
    if let Some(extensions) = &config.extensions {
        return Ok(extensions.clone());
    }
    let mut out = BTreeMap::new();
    for recipe in catalogue.recipes()? {
        let needs = recipe.parameters().values().any(|p| matches!(p.value, ParameterValue::Required));
        if !needs {
            let wanted = Wanted { latest: true, versions: Vec::new(), settings: Settings::default() };
            out.insert(recipe.name().to_string(), wanted);
        }
    }
    Ok(out)
}

/// `bakery plan`.
pub(super) fn plan(args: &PlanCommand) -> anyhow::Result<()> {
    let events = Terminal::new(if args.quiet { Verbosity::Quiet } else { Verbosity::Normal });
    let fetcher = args.what.work.fetcher()?;
    let workshop = Workshop { fetcher: &fetcher, images: &args.what.work.source, events: &events };
    let plan = args.what.plan(None, workshop)?;
    events.clear();
    let missing: Vec<&Key> = plan.missing.iter().collect();
    print(text(&missing, plan.there, args.format).as_bytes()).context("stdout")
}

/// `bakery release`.
pub(super) fn release(args: &ReleaseCommand) -> anyhow::Result<()> {
    let events = Terminal::new(args.report.verbosity());
    sysext::remove_on_interrupt().context("signals can't be handled")?;
    // A key that is of no use is said before anything long begins.
    let signer = match &args.sign {
        Some(path) => {
            let bytes = std::fs::read(path).with_context(|| format!("{path:?}"))?;
            Some(Signer::parse(&bytes).with_context(|| format!("{path:?}"))?)
        }
        None => None,
    };
    let fetcher = args.what.work.fetcher()?;
    let workshop = Workshop { fetcher: &fetcher, images: &args.what.work.source, events: &events };
    let mut plan = args.what.plan(Some(&args.to), workshop)?;
    if let Some(url) = &args.base_url {
        plan.config.base_url = url.clone();
    }
    if args.report.dry_run {
        events.clear();
        let missing: Vec<&Key> = plan.missing.iter().collect();
        return print(text(&missing, plan.there, PlanFormat::Table).as_bytes()).context("stdout");
    }
    std::fs::create_dir_all(&args.to).with_context(|| format!("{:?}", args.to))?;
    let (done, failed) = match args.merge.is_empty() {
        true => build_all(args, &plan, workshop)?,
        false => {
            let mut taken = Vec::new();
            for dir in &args.merge {
                if !dir.is_dir() {
                    bail!("{dir:?}: is no folder");
                }
                taken.extend(merge(dir, &args.to)?);
            }
            (taken, Vec::new())
        }
    };
    let papers = Papers {
        config: &plan.config,
        recipes: &plan.recipes,
        signer: signer.as_ref(),
        hosted: plan.hosted.as_ref(),
    };
    let changed = papers.write(&args.to)?;
    events.clear();
    print(report(args, &plan, &done, &failed, changed)?.as_bytes()).context("stdout")?;
    match failed.len() {
        0 => Ok(()),
        n => bail!("{n} of {} images could not be built: {}", plan.missing.len(), failed.join(", ")),
    }
}

/// Builds what is missing; the files that were made, and the words of those that could not be.
fn build_all(
    args: &ReleaseCommand,
    plan: &Plan,
    workshop: Workshop<'_>,
) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let mut output = args.output.clone();
    if output.output.is_some() {
        bail!("--output: a release has a folder, --to names it");
    }
    // Of the machine that is built on; what is built for says the key.
    let mut image = output.image_options(Arch::host(), workshop.events)?;
    let jobs = args.what.work.builds().min(plan.missing.len()).max(1);
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    image.threads = image.threads.or_else(|| std::num::NonZeroUsize::new((processors / jobs).max(1)));
    let results = parallel::each(jobs, &plan.missing, |key| {
        let mut own = output.clone();
        own.output = Some(format!("{}/{}/", args.to.display(), key.name).into());
        let options = BuildOptions {
            output: own,
            image: image.clone(),
            release: args.release.clone(),
            verify: false,
            rebuild: false,
        };
        // One that fails doesn't stop the others.
        Ok::<_, std::convert::Infallible>(build_one(args, plan, key, &options, workshop))
    });
    output.output = None;
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (result, key) in results.into_iter().zip(&plan.missing) {
        match result {
            Some(Ok(Ok(()))) => done.push(image_name(key)),
            Some(Ok(Err(error))) => {
                let hint = super::hint(error.as_ref()).map(|h| format!("; {h}")).unwrap_or_default();
                workshop.events.event(Event::Warning(format!("{error:#}{hint}").into()));
                failed.push(word(key));
            }
            Some(Err(never)) => match never {},
            None => failed.push(word(key)),
        }
    }
    Ok((done, failed))
}

fn build_one(
    args: &ReleaseCommand,
    plan: &Plan,
    key: &Key,
    options: &BuildOptions,
    workshop: Workshop<'_>,
) -> anyhow::Result<()> {
    let recipe = plan.recipes.get(&key.name).context("no such recipe")?;
    let pins = plan.lock.expect(key, &args.what.work.lock)?;
    let dir = args.to.join(&key.name);
    std::fs::create_dir_all(&dir).with_context(|| format!("{dir:?}"))?;
    let build = BuildPlan::new(recipe, key, pins, options)?;
    let built = workshop.build(&build, options)?;
    for finding in &built.findings {
        workshop.events.event(Event::Warning(format!("{key}: {finding}").into()));
    }
    let file = image_name(key);
    if built.path.file_name().and_then(|n| n.to_str()) != Some(&file) {
        bail!(
            "{:?}: a release has images of one file, NAME-VERSION-ARCH.raw: choose another format",
            built.path
        );
    }
    let record = Record {
        name: key.name.clone(),
        version: key.version.to_string(),
        arch: key.arch.systemd().to_owned(),
        size: built.bytes,
        sha256: built.sha256.context("the image has no checksum")?,
        settings: settings(key, pins),
        recipe: recipe.digest().to_string(),
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        inputs: inputs(pins),
        file,
    };
    let bill = sbom::document(&record, recipe.licence(), recipe.homepage(), args.output.epoch);
    put(&dir.join(format!("{}{SBOM}", record.file)), &bill)?;
    // Last: it says that all is there.
    put(&dir.join(format!("{}{STATEMENT}", record.file)), &record.statement()?)
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
        all.insert("without".into(), words.join(","));
    }
    all
}

fn inputs(pins: &Pins) -> Vec<Input> {
    let downloads = pins.inputs.values().map(|input| Input {
        uri: input.url.clone(),
        sha256: input.sha256.0.hex(),
        verified: input.verified.clone(),
    });
    let images = pins.images.iter().map(|(image, digest)| Input {
        uri: format!("oci:{image}"),
        sha256: digest.0.hex(),
        verified: "digest of the image".into(),
    });
    downloads.chain(images).collect()
}

fn report(
    args: &ReleaseCommand,
    plan: &Plan,
    done: &[String],
    failed: &[String],
    changed: bool,
) -> anyhow::Result<String> {
    if args.report.json {
        let value = json!({
            "folder": args.to.to_string_lossy(), "built": done, "failed": failed, "there": plan.there,
            "changed": changed,
        });
        return Ok(format!("{value:#}\n"));
    }
    if args.report.quiet {
        return Ok(String::new());
    }
    let mut out = String::new();
    for file in done {
        let name = file.split_once('-').map_or("", |_| owner(plan, file));
        let size = args.to.join(name).join(file).metadata().map_or(0, |m| m.len());
        out.push_str(&format!("{}: {}\n", args.to.join(name).join(file).display(), Size(size)));
    }
    let folder = args.to.display();
    out.push_str(&match (done.len(), changed, failed.len()) {
        (0, false, 0) => format!("nothing to do: {folder} is complete\n"),
        (0, true, 0) => format!("{folder}: manifests and page renewed\n"),
        (n, _, 0) => format!("{folder}: {n} images new, {} there before\n", plan.there),
        (n, _, bad) => format!("{folder}: {n} images new, {} there before, {bad} failed\n", plan.there),
    });
    Ok(out)
}

/// The extension of a file.
fn owner<'p>(plan: &'p Plan, file: &str) -> &'p str {
    let own = |name: &&String| file.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('-'));
    plan.recipes.keys().filter(own).max_by_key(|name| name.len()).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let only: Only = "k3s@v1.31.2+k3s1:arm64".parse().unwrap();
        assert_eq!((only.name.as_str(), only.arch), ("k3s", Some(Arch::Arm64)));
        assert_eq!(only.version.unwrap().as_str(), "v1.31.2+k3s1");
        assert!("k3s@".parse::<Only>().is_err() && "k3s@1:vax".parse::<Only>().is_err());
        assert_eq!("2/3".parse(), Ok(Shard { index: 1, count: 3 }));
        for bad in ["0/3", "4/3", "1/0", "1", "a/b", "-1/2"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }
}
