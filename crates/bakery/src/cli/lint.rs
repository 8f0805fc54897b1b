//! `bakery lint`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cli::{Terminal, Verbosity};
use sysext::ExtensionName;
use sysext::extension::{Finding, Severity};
use tree::Tree;

use super::inspect::{name_of, numbered};
use super::{CatalogueArgs, WorkArgs, build};
use image::{ImageContents, ImageKind, read};
use sysext::lint::{LintOptions, Member, RULES, TAR, allow, collisions, finding, lint, units};

const EXAMPLES: &str = "\
Examples:
  bakery lint docker-27.1.0-x86-64.raw
      Check an image, whoever built it.
  bakery lint *.raw
      Also check for files that several images have.
  bakery lint docker
      Build a recipe from the lock file and check the image.
  bakery lint --allow host-symlink old.raw
      Accept a risk.

Exit status: 0 if there are no errors, 1 otherwise, 2 on wrong usage.";

/// Check images for problems that would break a host, each image and all of them together.
///
/// Exceptions in the recipe of the same name apply: allowed rules, host libraries, and conflicts.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Images (squashfs, erofs, ext4, btrfs, disk images), directories, or recipes, which are built from the lock file first
    #[arg(required_unless_present = "rules", value_name = "FILE|DIR|NAME")]
    pub images: Vec<PathBuf>,

    /// Name under which the image is merged [default: the file name, up to the version]
    #[arg(long)]
    pub name: Option<ExtensionName>,

    /// Downgrade violations of this rule to warnings; repeatable
    #[arg(long, value_name = "RULE", value_parser = known_rule)]
    pub allow: Vec<String>,

    /// Allow programs to need this library or loader of the host: libc.so.6; repeatable
    #[arg(long, value_name = "SONAME")]
    pub(crate) host_library: Vec<String>,

    /// Skip checks that need systemd-analyze
    #[arg(long)]
    pub(crate) no_verify: bool,

    /// Print a JSON array of findings
    #[arg(long)]
    pub json: bool,

    /// List the rules
    #[arg(long)]
    pub rules: bool,

    #[allow(missing_docs)] // they would become help
    #[command(flatten)]
    pub catalogue: CatalogueArgs,

    #[allow(missing_docs)]
    #[command(flatten)]
    pub work: WorkArgs,
}

fn known_rule(text: &str) -> Result<String, String> {
    let mut all = sysext::extension::RULES.iter().chain(RULES);
    match all.find(|r| r.name == text) {
        Some(rule) if rule.allowable => Ok(text.to_owned()),
        Some(rule) => Err(format!("can't be allowed: {}", rule.about)),
        None => Err("no such rule; bakery lint --rules lists them".to_owned()),
    }
}

/// An image of the set.
struct Image {
    /// Its place, for messages.
    shown: String,
    name: ExtensionName,
    version: Option<String>,
    tree: Tree,
    conflicts: Vec<String>,
    /// Keeps the files there.
    contents: ImageContents,
}

impl Image {
    fn member(&self) -> Member<'_> {
        let Image { name, version, tree, conflicts, .. } = self;
        Member { name: name.as_str(), version: version.as_deref(), tree, conflicts }
    }
}

/// Does it.
///
/// # Errors
/// An image that can't be read, or one with errors.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    if args.rules {
        return print(&rules());
    }
    let fetcher = args.work.fetcher()?;
    let cache = fetcher.cache();
    let catalogue = args.catalogue.catalogue()?;
    let scratch = cache.scratch("lint")?;
    let mut set = Vec::new();
    let mut found: Vec<(String, Finding)> = Vec::new();
    for path in &paths(&args.images, &args.catalogue, &args.work, &catalogue, scratch.path())? {
        let mut contents = read(path, cache)?;
        let name = match &args.name {
            Some(name) => name.clone(),
            None => name_of(path, &contents.tree)?,
        };
        let version = numbered(path, &name).map(|(version, _)| version.to_string());
        // What was built for this has no place worth showing.
        let shown = path.strip_prefix(scratch.path()).unwrap_or(path).display().to_string();
        let tree = std::mem::take(&mut contents.tree);
        set.push(Image { shown, name, version, tree, conflicts: Vec::new(), contents });
    }
    let all: Vec<BTreeSet<String>> = set.iter().map(|image| units(&image.tree)).collect();
    for (i, image) in set.iter_mut().enumerate() {
        let others = all.iter().enumerate().filter(|(j, _)| *j != i).flat_map(|(_, units)| units);
        let mut options = LintOptions {
            allow: args.allow.iter().cloned().collect(),
            host_libraries: args.host_library.clone(),
            units: others.cloned().collect(),
            verify_units: !args.no_verify,
        };
        if catalogue.has(image.name.as_str()) {
            let recipe = catalogue.recipe(image.name.as_str())?;
            options.allow.extend(recipe.allow().iter().cloned());
            options.host_libraries.extend(recipe.host_libraries().iter().cloned());
            image.conflicts = recipe.conflicts().to_vec();
        }
        let mut of_image = lint(&image.tree, &image.name, &options).with_context(|| image.shown.clone())?;
        if image.contents.kind == ImageKind::Tar {
            of_image.push(finding(&TAR, None, "is a tar"));
            allow(&mut of_image, &options.allow);
        }
        found.extend(of_image.into_iter().map(|f| (image.shown.clone(), f)));
    }
    let members: Vec<Member<'_>> = set.iter().map(Image::member).collect();
    let mut between = collisions(&members);
    allow(&mut between, &args.allow.iter().cloned().collect::<BTreeSet<_>>());
    found.extend(between.into_iter().map(|f| ("set".to_owned(), f)));
    let errors = found.iter().filter(|(_, f)| f.severity == Severity::Error).count();
    print(&if args.json { json(&found)? } else { text(&found, set.len()) })?;
    match errors {
        0 => Ok(()),
        1 => bail!("1 error"),
        n => bail!("{n} errors"),
    }
}

/// Files and directories; recipes are built into `dir` first.
pub(super) fn paths(
    images: &[PathBuf],
    catalogue_args: &CatalogueArgs,
    work: &WorkArgs,
    catalogue: &recipes::Catalogue,
    dir: &Path,
) -> anyhow::Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    for image in images {
        let recipe = image.to_str().filter(|n| !image.exists() && catalogue.has(n));
        match recipe {
            Some(name) => {
                let events = Terminal::new(Verbosity::Normal);
                let built = build::into_directory(name, dir, catalogue_args, work, &events)?;
                events.clear();
                out.extend(built.into_iter().map(|b| b.path));
            }
            None => out.push(image.clone()),
        }
    }
    Ok(out)
}

fn print(text: &str) -> anyhow::Result<()> {
    cli::print(text.as_bytes()).context("stdout")
}

fn text(told: &[(String, Finding)], images: usize) -> String {
    if told.is_empty() {
        return format!("{images} image{}: nothing found\n", if images == 1 { "" } else { "s" });
    }
    told.iter().map(|(image, f)| format!("{image}: {}: {f}\n", f.severity)).collect()
}

fn json(told: &[(String, Finding)]) -> anyhow::Result<String> {
    let one = |(image, f): &(String, Finding)| {
        serde_json::json!({
            "image": image,
            "rule": f.rule,
            "severity": f.severity.to_string(),
            "path": f.path.as_ref().map(ToString::to_string),
            "message": f.message,
        })
    };
    Ok(serde_json::to_string_pretty(&told.iter().map(one).collect::<Vec<_>>())? + "\n")
}

fn rules() -> String {
    let all = sysext::extension::RULES.iter().chain(RULES);
    all.map(|r| {
        let fixed = if r.allowable { "" } else { ", not to be allowed" };
        format!("{:<22} {}{fixed}: {}\n", r.name, r.severity, r.about)
    })
    .collect()
}
