//! `bakery pack`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use cli::{OutputArgs, ReleaseArgs, ReportArgs, SourceArgs, TargetArgs, Terminal};
use image::{ImageContents, Written, read};
use recipes::{ImageFileName, Version};
use store::Cache;
use sysext::extension::Severity;
use sysext::extension::unit_programs::is_unit;
use sysext::lint::{LintOptions, lint};
use sysext::{Extension, ExtensionName};
use tree::{Arch, Event, Events, Machine, Tree, TreePath};

const EXAMPLES: &str = "\
Examples:
  bakery pack rootfs/ tools
      Write tools.raw from rootfs/usr and rootfs/opt.
  bakery pack rootfs/ tools --image-version 1.2.0 -o releases/
      Write releases/tools-1.2.0-ARCH.raw, as systemd-sysupdate finds it.
  bakery pack rootfs/ tools --host dir:/ --file-contexts dir:/
      Leave out what this machine has already, and label the files by its SELinux policy.
  bakery pack rootfs/ web --enable web.service --restart web.service
      Start a service of the directory when the extension is merged, and restart it when it is refreshed.

DIR holds the files at the paths that they have on a host: usr/bin/tool. The files become root's, whoever owns them in DIR.
Exit status: 0 on success, 1 on error, 2 on wrong usage.";

/// Build an image from a directory that has the layout of an extension.
///
/// The image is checked as by `bakery lint` first. If that finds an error, no image is written.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Directory, or tar, with the extension's files: usr/…, opt/…
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// Name of the extension
    #[arg(value_name = "NAME")]
    name: ExtensionName,

    /// Name the image NAME-VERSION-ARCH.raw
    #[arg(long, value_name = "VERSION")]
    image_version: Option<Version>,

    /// Start this unit when the extension is merged; repeatable
    #[arg(long, value_name = "UNIT")]
    enable: Vec<String>,

    /// Have hosts with systemd of 2026 or later restart this unit when the extension is refreshed; repeatable
    #[arg(long, value_name = "UNIT")]
    restart: Vec<String>,

    /// Allow programs to need this library or loader of the host: libc.so.6; repeatable
    #[arg(long, value_name = "SONAME")]
    host_library: Vec<String>,

    /// Skip checks that need systemd-analyze
    #[arg(long)]
    no_verify: bool,

    #[command(flatten)]
    output: OutputArgs,

    #[command(flatten)]
    release: ReleaseArgs,

    #[command(flatten)]
    report: ReportArgs,

    #[command(flatten)]
    target: TargetArgs,

    /// Directory for temporary files, and for the layers of a host's OCI image [default: $XDG_CACHE_HOME/flix or ~/.cache/flix]
    #[arg(long, value_name = "DIR", env = "FLIX_CACHE_DIR", hide_env_values = true)]
    cache_dir: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let events = Terminal::new(args.report.verbosity());
    tree::remove_on_interrupt().context("signals can't be handled")?;
    let dir = args.cache_dir.as_deref().filter(|d| !d.as_os_str().is_empty());
    let cache = Cache::open_or_default(dir, &cli::environment())?;
    let source = SourceArgs { cache_dir: args.cache_dir.clone(), ..SourceArgs::default() };
    let target = args.target.read(|| source.context(), &events)?;
    let ImageContents { mut tree, .. } = read(&args.dir, &cache)?;
    if tree.len() <= 1 {
        bail!("{:?} is empty, expected usr/… or opt/…", args.dir);
    }
    let machines = machines(&tree).with_context(|| format!("{:?}", args.dir))?;
    for unit in &args.enable {
        cli::enable(&mut tree, &args.name, unit, &events)?;
    }
    let has_units = tree.iter().any(|(path, _)| is_unit(path));
    let architecture = args.release.architecture(&machines, None, &events);
    let mut release = args.release.release(architecture, has_units)?;
    release.restart_units.clone_from(&args.restart);
    release.check()?;
    let mut output = args.output.clone();
    output.output = Some(place(args, architecture)?);
    let options = output.image_options(Some(architecture.unwrap_or(host()?)), &events)?;
    let extension_options = output.extension_options();
    let mut extension = Extension::new(tree, args.name.clone(), release, &extension_options)?;
    check(args, &extension, &events)?;
    if let Some(read) = &target {
        read.target.apply(&mut extension, &extension_options.allow, &events)?;
    }
    let written = match args.image_version {
        None => output.write(&extension, &options, &args.report, &events)?,
        // Under this name nobody is to merge it by hand.
        Some(_) => {
            for finding in extension.findings() {
                events.event(Event::Warning(finding.to_string().into()));
            }
            let path = output.path(&args.name);
            (!args.report.dry_run).then(|| extension.write_image(&path, &options, &events)).transpose()?
        }
    };
    events.clear();
    let text = match (args.report.json, &written) {
        (true, _) => json(&extension, written.as_ref())?,
        (false, Some(written)) if !args.report.quiet => cli::written_line(written),
        (false, _) => String::new(),
    };
    cli::print(text.as_bytes()).context("stdout")
}

/// What the programs of a tree are for.
fn machines(tree: &Tree) -> anyhow::Result<BTreeSet<Machine>> {
    let mut out = BTreeSet::new();
    for (path, node) in tree.iter() {
        let Some(content) = node.content() else { continue };
        out.extend(Machine::of(&content.head(Machine::HEAD).with_context(|| path.to_string())?));
    }
    Ok(out)
}

fn host() -> anyhow::Result<Arch> {
    Arch::host().context("this machine's architecture is none of systemd's")
}

/// The image's path.
fn place(args: &Args, architecture: Option<Arch>) -> anyhow::Result<PathBuf> {
    let output = &args.output;
    let Some(version) = &args.image_version else { return Ok(output.path(&args.name)) };
    let arch = architecture.context(
        "--image-version: nothing in the directory has an architecture; pass --host-arch for the image's name",
    )?;
    let name = args.name.to_string();
    let file = ImageFileName { name, version: version.clone(), arch }.stem() + output.format.suffix();
    Ok(match (output.directory(), &output.output) {
        (Some(dir), _) => dir.join(file),
        (None, Some(path)) => path.clone(),
        (None, None) => Path::new(&file).to_owned(),
    })
}

/// Findings of the lint that building the extension doesn't give.
fn check(args: &Args, extension: &Extension, events: &dyn Events) -> anyhow::Result<()> {
    let options = LintOptions {
        allow: args.output.allow.iter().cloned().collect(),
        host_libraries: args.host_library.clone(),
        units: BTreeSet::new(),
        verify_units: !args.no_verify,
    };
    let known: BTreeSet<(&str, Option<&TreePath>)> =
        extension.findings().iter().map(|f| (f.rule, f.path.as_ref())).collect();
    let mut errors = Vec::new();
    for finding in lint(extension.tree(), &args.name, &options)? {
        if known.contains(&(finding.rule, finding.path.as_ref())) {
            continue;
        }
        match finding.severity {
            Severity::Error => errors.push(finding.to_string()),
            Severity::Warning => events.event(Event::Warning(finding.to_string().into())),
        }
    }
    match errors.as_slice() {
        [] => Ok(()),
        [one] => bail!("extension {} is refused: {one}", args.name),
        many => bail!("extension {} is refused:\n  {}", args.name, many.join("\n  ")),
    }
}

fn json(extension: &Extension, written: Option<&Written>) -> anyhow::Result<String> {
    let files = extension.tree().iter().filter(|(_, n)| n.is_file()).count();
    let value = serde_json::json!({
        "name": extension.name().as_str(),
        "architecture": extension.release().architecture.map(Arch::systemd),
        "files": files,
        "findings": extension.findings().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "image": written.map(image_json),
    });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}

fn image_json(written: &Written) -> serde_json::Value {
    let mut value = serde_json::json!({ "path": written.path.display().to_string(), "bytes": written.bytes });
    for (key, text) in [("sha256", &written.sha256), ("root_hash", &written.root_hash)] {
        if let Some(text) = text {
            value[key] = text.as_str().into();
        }
    }
    value
}
