//! `bakery check`.

mod host;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use cli::{Terminal, Verbosity};
use host_check::{Extension, Options, Report, Severity};
use image::{ImageContents, ImageKind, read};
use sysext::ExtensionName;

use super::inspect::name_of;
use super::{CatalogueArgs, WorkArgs, lint};

const EXAMPLES: &str = "\
Examples:
  bakery check --host dir:/ docker-27.1.0-x86-64.raw
      Check what an extension would do to this machine.
  bakery check --host quay.io/fedora/fedora-coreos:stable *.raw
      Check a set of extensions against a bootable OCI image.
  bakery check --host rootfs.tar --json docker tailscale | jq '.findings[] | select(.severity == \"error\")'
      Build two recipes from the lock file, and list what they break.
  bakery check --host flatcar.bin --allow host-file docker.raw
      Accept a risk.

Exit status: 0 if there are no errors, 1 otherwise, 2 on wrong usage.";

/// Check what extensions, merged together, would do to a host: nothing is merged, and no privileges are needed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Images (squashfs, erofs, ext4, btrfs, disk images), directories, or recipes, which are built from the lock file first
    #[arg(required_unless_present = "rules", value_name = "FILE|DIR|NAME")]
    pub extensions: Vec<PathBuf>,

    /// Host to check against: a directory (dir:/ for this machine), a tar of a root file system, a disk image, or an OCI
    /// image, by its reference
    #[arg(long, value_name = "HOST", required_unless_present = "rules")]
    pub host: Option<String>,

    /// Downgrade errors of this rule to warnings; repeatable
    #[arg(long, value_name = "RULE", value_parser = known_rule)]
    pub allow: Vec<String>,

    /// Exit with 1 on warnings, too
    #[arg(long)]
    pub strict: bool,

    /// Print a JSON object
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
    fn extension(&self) -> Extension<'_> {
        Extension {
            name: self.name.clone(),
            tree: &self.contents.tree,
            is_directory: self.contents.kind == ImageKind::Directory,
            size: self.contents.size,
            labels_known: matches!(self.contents.kind, ImageKind::Squashfs | ImageKind::Tar),
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
    let mut set = Vec::new();
    let paths = lint::paths(&args.extensions, &args.catalogue, &args.work, &catalogue, scratch.path())?;
    for path in &paths {
        let contents = read(path, &context.cache)?;
        if contents.kind == ImageKind::Tar {
            bail!("{path:?}: is a tar, expected an image or a directory: systemd-sysext merges no tars");
        }
        let name = name_of(path, &contents.tree)?;
        set.push(Read { name, contents });
    }
    let extensions: Vec<Extension<'_>> = set.iter().map(Read::extension).collect();
    let options = Options { allow: args.allow.iter().cloned().collect::<BTreeSet<_>>() };
    let name = args.host.as_deref().context("no host")?;
    let architecture = args.work.source.platform()?.and_then(|p| p.architecture.parse().ok());
    let host = host::read(name, architecture, &context, &events)?;
    let report = host_check::check(&host.host, &extensions, &options)?;
    events.clear();
    print(&match args.json {
        true => serde_json::to_string_pretty(&report)? + "\n",
        false => report.text(),
    })?;
    outcome(&report, args.strict)
}

fn outcome(report: &Report, strict: bool) -> anyhow::Result<()> {
    let warnings = if strict { report.count(Severity::Warning) } else { 0 };
    match (report.count(Severity::Error), warnings) {
        (0, 0) => Ok(()),
        (0, 1) => bail!("1 warning"),
        (0, n) => bail!("{n} warnings"),
        (1, _) => bail!("1 error"),
        (n, _) => bail!("{n} errors"),
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    cli::print(text.as_bytes()).context("stdout")
}

fn rules() -> String {
    host_check::RULES.iter().map(|r| format!("{:<22} {}: {}\n", r.name, r.severity, r.about)).collect()
}
