//! `bakery butane` and `bakery ignition`.

use anyhow::{Context as _, bail};
use cli::print;
use store::Cache;
use sysext::ExtensionName;
use tree::{Arch, Silent};

use crate::{
    published::{Manifest, Published},
    snippets::{Machine, Update},
    sysupdate::{BASE_URL, Stream, base_url},
};
use recipes::ImageFileName;
use recipes::config::Config;
use recipes::fetch::{FetchError, Fetcher};
use recipes::version::Version;

const EXAMPLES: &str = "\
Examples:
  bakery butane nebula v1.9.5
  bakery butane nebula latest --arch arm64
      Use the newest version in the catalogue.
  bakery butane kubernetes v1.31.4 --sysupdate --stream --then reboot
      Stay on v1.31, and leave activation to a reboot manager.
  bakery ignition tailscale v1.76.6 --base-url https://example.org/extensions/ --sysupdate --then restart:tailscaled.service";

/// Print a configuration that provisions a machine with an extension.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Name of the extension
    name: ExtensionName,

    /// Version, or latest for the newest in the catalogue
    version: Version,

    /// Architecture: x86-64 or arm64
    #[arg(long, env = "ARCH", default_value = "x86-64", hide_env_values = true)]
    arch: Arch,

    /// Let the machine update the extension with systemd-sysupdate
    #[arg(long)]
    sysupdate: bool,

    /// Update to patch releases of the same minor version only
    #[arg(long, requires = "sysupdate")]
    stream: bool,

    /// Action after an update is staged: refresh, restart:UNIT, or reboot
    #[arg(long, value_name = "WHAT", default_value = "refresh", value_parser = update, requires = "sysupdate")]
    then: Update,

    /// Verify the catalogue's manifests with the key on the machine
    #[arg(long, requires = "sysupdate")]
    verify: bool,

    /// URL of the catalogue
    #[arg(long, value_name = "URL", default_value = BASE_URL)]
    base_url: String,

    /// SHA-256 of the image [default: as in the catalogue's manifest, if it can be downloaded]
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,

    /// Don't look up the image's checksum
    #[arg(long)]
    offline: bool,

    /// Read configuration, such as mirrors, from this file [default: /etc/bakery/config.toml and ~/.config/bakery/config.toml]
    #[arg(long, value_name = "FILE", env = "BAKERY_CONFIG", hide_env_values = true)]
    config: Option<std::path::PathBuf>,

    #[command(flatten)]
    catalogue: super::CatalogueArgs,
}

fn update(word: &str) -> Result<Update, String> {
    match (word, word.strip_prefix("restart:")) {
        ("refresh", _) => Ok(Update::Refresh),
        ("reboot", _) => Ok(Update::Reboot),
        (_, Some(unit)) if is_unit(unit) => Ok(Update::Restart(unit.to_owned())),
        _ => Err("expected refresh, restart:UNIT or reboot".into()),
    }
}

/// A unit's name, systemd.unit(5), which stands in a shell's line here.
fn is_unit(name: &str) -> bool {
    name.contains('.') && name.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.@".contains(c))
}

pub(super) fn butane(args: &Args) -> anyhow::Result<()> {
    with(args, |machine| machine.butane())
}

pub(super) fn ignition(args: &Args) -> anyhow::Result<()> {
    with(args, |machine| machine.ignition())
}

fn with(args: &Args, text: impl Fn(&Machine<'_>) -> String) -> anyhow::Result<()> {
    if let Err(error) = base_url(&args.base_url) {
        bail!("--base-url: {error}");
    }
    let given = match &args.sha256 {
        Some(sum) if sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Some(sum.to_ascii_lowercase())
        }
        Some(sum) => bail!("--sha256: got {sum:?}, expected 64 hexadecimal digits"),
        None => None,
    };
    let latest = args.version.as_str() == "latest";
    let manifest = match given.is_none() || latest {
        true if args.offline && latest => bail!("version latest: --offline asks nobody what that is"),
        true if !args.offline => asked(args, latest)?,
        _ => None,
    };
    let version = match &manifest {
        Some(manifest) if latest => manifest.newest(args.arch)?.version,
        _ => args.version.clone(),
    };
    let name = args.name.to_string();
    let file = ImageFileName { name, version: version.clone(), arch: args.arch }.to_string();
    let sha256 = match (given, manifest) {
        (Some(sum), _) => Some(sum),
        (None, Some(manifest)) => Some(manifest.sum(&file)?.to_owned()),
        (None, None) => None,
    };
    let stream = match (args.stream, Stream::of(version.as_str())) {
        (false, _) => None,
        (true, Some(minor)) => Some(minor),
        (true, None) => bail!("--stream: version {version} has no minor version"),
    };
    // An extension of somebody else's catalogue has no recipe here.
    let masked = args.catalogue.catalogue()?.recipe(args.name.as_str());
    let masked = masked.map(|r| r.masks().to_vec()).unwrap_or_default();
    let machine = Machine {
        name: args.name.as_str(),
        file: &file,
        sha256: sha256.as_deref(),
        base_url: &args.base_url,
        verify: args.verify,
        masked: &masked,
        update: args.sysupdate.then(|| (args.then.clone(), stream)),
    };
    print(text(&machine).as_bytes()).context("stdout")
}

/// The extension's manifest. That the catalogue can't be asked is an error only if the version has to come from it.
fn asked(args: &Args, needed: bool) -> anyhow::Result<Option<Manifest>> {
    let environment = cli::environment();
    let config = Config::load(args.config.as_deref(), &environment)?;
    let cache = Cache::open_or_default(config.cache_dir.as_deref(), &environment)?;
    let fetcher = Fetcher::new(config, cache, environment, false);
    match Published::new(&fetcher, &args.base_url, None)?.manifest(&args.name, &Silent) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(error) if needed || !error.is::<FetchError>() => Err(error),
        Err(error) => {
            let reason = format!("the image's checksum is left out: {error}");
            let events = cli::Terminal::new(cli::Verbosity::Normal);
            tree::Events::event(&events, tree::Event::Warning(reason.into()));
            Ok(None)
        }
    }
}
