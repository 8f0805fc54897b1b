//! `bakery butane` and `bakery ignition`.

use anyhow::{Context as _, bail};
use oci::{Cache, Environment};
use sysext::cli::print;
use sysext::{Arch, ExtensionName, Silent};

use crate::config::Config;
use crate::fetch::Fetcher;
use crate::release::place::MANIFEST;
use crate::release::{Sums, file_name};
use crate::snippets::{Machine, Update};
use crate::sysupdate::{BASE_URL, Stream};
use crate::version::Version;

/// Bytes.
const TEXT_MAX: u64 = 16 << 20;

const EXAMPLES: &str = "\
Examples:
  bakery butane nebula v1.9.5
  bakery butane kubernetes v1.31.4 --sysupdate --stream --then reboot
      stays on v1.31 and leaves activation to a reboot manager
  bakery ignition tailscale v1.76.6 --base-url https://example.org/extensions/ --sysupdate --then restart:tailscaled.service";

/// Prints a configuration that gives a machine an extension.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The extension
    name: ExtensionName,

    /// Its version
    version: Version,

    /// x86-64 or arm64
    #[arg(long, env = "ARCH", default_value = "x86-64", hide_env_values = true)]
    arch: Arch,

    /// Has the machine look for newer versions
    #[arg(long)]
    sysupdate: bool,

    /// Stay on the version's minor version
    #[arg(long, requires = "sysupdate")]
    stream: bool,

    /// What happens when one is staged: refresh, restart:UNIT, reboot
    #[arg(long, value_name = "WHAT", default_value = "refresh", value_parser = update, requires = "sysupdate")]
    then: Update,

    /// The catalogue's manifests are signed, and the machine has the key
    #[arg(long, requires = "sysupdate")]
    verify: bool,

    /// Where the catalogue is hosted
    #[arg(long, value_name = "URL", default_value = BASE_URL)]
    base_url: String,

    /// Of the image [default: what the catalogue's manifest says, if it can be asked]
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,

    /// Ask nobody for the image's checksum
    #[arg(long)]
    offline: bool,

    /// Configuration, with mirrors [default: /etc/bakery/config.toml and ~/.config/bakery/config.toml]
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
    if !args.base_url.starts_with("https://") && !args.base_url.starts_with("http://") {
        bail!("--base-url: got {:?}, expected an address that starts with https://", args.base_url);
    }
    let file = file_name(args.name.as_str(), args.version.as_str(), args.arch.systemd());
    let sha256 = match &args.sha256 {
        Some(sum) if sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Some(sum.to_ascii_lowercase())
        }
        Some(sum) => bail!("--sha256: got {sum:?}, expected 64 hexadecimal digits"),
        None if args.offline => None,
        None => asked(args, &file)?,
    };
    let stream = match (args.stream, Stream::of(args.version.as_str())) {
        (false, _) => None,
        (true, Some(minor)) => Some(minor),
        (true, None) => bail!("--stream: version {} has no minor version", args.version),
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

/// What the catalogue says of the image. One that doesn't offer it is an error, one that can't be asked isn't.
fn asked(args: &Args, file: &str) -> anyhow::Result<Option<String>> {
    let environment = Environment::current();
    let config = Config::load(args.config.as_deref(), &environment)?;
    let cache = Cache::open(config.cache_dir.as_deref())?;
    let fetcher = Fetcher::new(config, cache, environment, false);
    let url = format!("{}/{}/{MANIFEST}", args.base_url.trim_end_matches('/'), args.name);
    let text = match fetcher.text(&url, TEXT_MAX, &Silent) {
        Ok(text) => text,
        Err(error) => {
            let reason = format!("the image's checksum is left out: {error}");
            let events = sysext::cli::Terminal::new(sysext::cli::Verbosity::Normal);
            sysext::Events::event(&events, sysext::Event::Warning(reason.into()));
            return Ok(None);
        }
    };
    let sums = Sums::parse(&text).with_context(|| url.clone())?;
    match sums.0.get(file) {
        Some(sum) => Ok(Some(sum.clone())),
        None => bail!("{url}: doesn't list {file}"),
    }
}
