//! `bakery check`.

mod matrix;
mod set;

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cli::{ReadHost, Terminal, Verbosity};
use host_check::{Comparison, Extension, Options, PACKAGE_DATABASES, Report, Severity};
use image::{ImageContents, ImageKind, read};
use oci::Context;
use recipes::ImageFileName;
use sysext::ExtensionName;
use tree::{Arch, Events, TreePath, parallel};

use super::inspect::name_of;
use super::{CatalogueArgs, WorkArgs, lint};
use crate::{published::Published, sysupdate};
use set::SetFile;

const EXAMPLES: &str = "\
Examples:
  bakery check --host dir:/ docker-27.1.0-x86-64.raw
      Check what an extension would do to this machine.
  bakery check --host quay.io/fedora/fedora-coreos:stable *.raw
      Check a set of extensions against a bootable OCI image.
  bakery check --host rootfs.tar --json docker tailscale | jq '.[].findings[] | select(.severity == \"error\")'
      Build two recipes from the lock file, and list what they break.
  bakery check --host new.bin --against old.bin --set fleet.toml
      List what changes for a fleet's extensions when its hosts are updated.
  bakery check --host a.tar --host b.tar --matrix *.raw
      Print a Markdown table of hosts and extensions.
  bakery check --host flatcar.bin --from https://example.org/extensions docker tailscale
      Check the newest images of a published release.
  bakery check --host flatcar.bin --allow host-file docker.raw
      Accept a risk.

Exit status: 0 if there are no errors, 1 otherwise, 2 on wrong usage.";

/// Check what extensions, merged together, would do to a host: nothing is merged, and no privileges are needed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Images (squashfs, erofs, ext4, btrfs, disk images), directories, or recipes, which are built from the lock file first
    #[arg(required_unless_present_any = ["rules", "set"], value_name = "FILE|DIR|NAME")]
    pub extensions: Vec<PathBuf>,

    /// Host to check against: a directory (dir:/ for this machine), a tar of a root file system, a disk image, or an OCI
    /// image, by its reference; repeatable
    #[arg(long, value_name = "HOST", required_unless_present_any = ["rules", "set"])]
    pub host: Vec<String>,

    /// Take names from the release that is published at this URL instead of building recipes: the newest version of NAME for --arch, or
    /// NAME-VERSION-ARCH.raw
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,

    /// Verify manifests of the release with this OpenPGP key
    #[arg(long, value_name = "FILE")]
    pub catalogue_key: Option<PathBuf>,

    /// Only print what differs from this host, such as the release before
    #[arg(long, value_name = "OLD_HOST", conflicts_with = "matrix")]
    pub against: Option<String>,

    /// Also take hosts, extensions and allowed rules from this TOML file
    #[arg(long, value_name = "FILE")]
    pub set: Option<PathBuf>,

    /// Check each extension alone, and print a Markdown table of hosts and extensions
    #[arg(long)]
    pub matrix: bool,

    /// Downgrade errors of this rule to warnings; repeatable
    #[arg(long, value_name = "RULE", value_parser = known_rule)]
    pub allow: Vec<String>,

    /// Exit with 1 on warnings, too
    #[arg(long)]
    pub strict: bool,

    /// Print a JSON array with an object for each host
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
    match host_check::rule(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("no such rule; bakery check --rules lists them".to_owned()),
    }
}

/// An extension that has been read.
struct Read {
    name: ExtensionName,
    contents: ImageContents,
}

impl Read {
    fn new(path: &Path, context: &Context) -> anyhow::Result<Read> {
        let contents = read(path, &context.cache)?;
        if contents.kind == ImageKind::Tar {
            bail!("{path:?}: is a tar, expected an image or a directory: systemd-sysext merges no tars");
        }
        Ok(Read { name: name_of(path, &contents.tree)?, contents })
    }

    fn extension(&self) -> Extension<'_> {
        Extension {
            name: self.name.clone(),
            tree: &self.contents.tree,
            is_directory: self.contents.kind == ImageKind::Directory,
            size: self.contents.size,
            labels_known: self.contents.kind == ImageKind::Squashfs,
            notes: self.contents.notes.clone(),
        }
    }
}

/// Does it.
///
/// # Errors
/// A host or an extension that can't be read, or one that breaks something.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    if args.rules {
        return print(&rules());
    }
    let events = Terminal::new(Verbosity::Normal);
    let context = args.work.source.context()?;
    let catalogue = args.catalogue.catalogue()?;
    let scratch = context.cache.scratch("check")?;
    let named = args.set.as_deref().map(SetFile::read).transpose()?.unwrap_or_default();
    let hosts: Vec<&String> = named.hosts.iter().chain(&args.host).collect();
    let extensions: Vec<PathBuf> = named.extensions.iter().chain(&args.extensions).cloned().collect();
    if hosts.is_empty() || extensions.is_empty() {
        bail!("the set has no {}", if hosts.is_empty() { "hosts" } else { "extensions" });
    }
    let from = args.from.as_deref().or(named.from.as_deref());
    if from.is_none() && args.catalogue_key.is_some() {
        bail!("--catalogue-key: no release is named: add --from URL, or from = \"URL\" to the set");
    }
    let paths = match from {
        Some(url) => published(args, url, &extensions, scratch.path(), &events)?,
        None => lint::paths(&extensions, &args.catalogue, &args.work, &catalogue, scratch.path())?,
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let set = parallel::try_map(threads, &paths, |path| Read::new(path, &context))?;
    let extensions: Vec<Extension<'_>> = set.iter().map(Read::extension).collect();
    let allow = named.allow.iter().chain(&args.allow).cloned().collect::<BTreeSet<_>>();
    let options = Options { allow };
    let open = |name: &str| host(args, name, &context, &events);
    if args.matrix {
        let mut table = matrix::Matrix::default();
        for name in hosts {
            table.add(&open(name)?.host, &extensions, &options)?;
        }
        events.clear();
        print(&if args.json { table.json()? } else { table.markdown() })?;
        return outcome(table.count(Severity::Error), table.count(Severity::Warning), args.strict);
    }
    let old = match &args.against {
        Some(name) => Some(host_check::check(&open(name)?.host, &extensions, &options)?),
        None => None,
    };
    let mut reports = Vec::new();
    for name in hosts {
        reports.push(host_check::check(&open(name)?.host, &extensions, &options)?);
    }
    events.clear();
    let Some(old) = old else {
        let texts = reports.iter().map(Report::text).collect::<Vec<_>>();
        print(&if args.json { json(&reports)? } else { texts.join("\n") })?;
        let count = |severity| reports.iter().map(|r| r.count(severity)).sum();
        return outcome(count(Severity::Error), count(Severity::Warning), args.strict);
    };
    let changes: Vec<Comparison> = reports.iter().map(|report| Comparison::new(&old, report)).collect();
    let texts = changes.iter().map(Comparison::text).collect::<Vec<_>>();
    print(&if args.json { json(&changes)? } else { texts.join("\n") })?;
    let count = |severity| changes.iter().map(|c| c.count(severity)).sum();
    outcome(count(Severity::Error), count(Severity::Warning), args.strict)
}

/// Files and directories; what isn't one is downloaded from a release, and linked below `dir` by its name there.
fn published(
    args: &Args,
    url: &str,
    extensions: &[PathBuf],
    dir: &Path,
    events: &dyn Events,
) -> anyhow::Result<Vec<PathBuf>> {
    let base_url = sysupdate::base_url(url).map_err(|e| anyhow::anyhow!("--from: {e}"))?;
    let fetcher = args.work.fetcher()?;
    let release = Published::new(&fetcher, &base_url, args.catalogue_key.as_deref())?;
    let named = args.work.source.arch.as_deref().filter(|arch| !arch.is_empty());
    let arch = match named {
        Some(named) => named.parse()?,
        None => Arch::host().context("this machine's architecture is unknown: pass --arch")?,
    };
    let mut out = Vec::new();
    for (number, extension) in extensions.iter().enumerate() {
        if extension.exists() {
            out.push(extension.clone());
            continue;
        }
        let text = extension.to_str().with_context(|| format!("{extension:?}: odd name"))?;
        let file = text.parse::<ImageFileName>().ok();
        let name = file.as_ref().map_or(text, |file| file.name.as_str()).parse()?;
        let manifest = release.manifest(&name, events)?;
        let file = match file {
            Some(_) => text.to_owned(),
            None => manifest.newest(arch)?.to_string(),
        };
        let got = release.get(&manifest, &file, events)?;
        // Somebody may name one twice, which the check has a finding for.
        let place = dir.join(number.to_string());
        std::fs::create_dir(&place).with_context(|| format!("{place:?}"))?;
        let link = place.join(&file);
        symlink(got.file.blob.path(), &link).with_context(|| format!("{link:?}"))?;
        out.push(link);
    }
    Ok(out)
}

fn host(args: &Args, name: &str, context: &Context, events: &dyn Events) -> anyhow::Result<ReadHost> {
    let architecture = args.work.source.platform()?.and_then(|p| p.architecture.parse().ok());
    // Of this machine's own /var, nothing else is read.
    let whole = PACKAGE_DATABASES.iter().filter_map(|(p, _)| TreePath::new(p).ok()).collect();
    let wanted = oci::LivePaths { whole, ..Default::default() };
    cli::read_host(name, architecture, &wanted, context, events)
}

fn outcome(errors: usize, warnings: usize, strict: bool) -> anyhow::Result<()> {
    match (errors, if strict { warnings } else { 0 }) {
        (0, 0) => Ok(()),
        (0, 1) => bail!("1 warning"),
        (0, n) => bail!("{n} warnings"),
        (1, _) => bail!("1 error"),
        (n, _) => bail!("{n} errors"),
    }
}

fn json<T: serde::Serialize>(value: &T) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn print(text: &str) -> anyhow::Result<()> {
    cli::print(text.as_bytes()).context("stdout")
}

fn rules() -> String {
    host_check::RULES.iter().map(|r| format!("{:<20} {}: {}\n", r.name, r.severity, r.about)).collect()
}
