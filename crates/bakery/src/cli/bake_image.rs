//! `bakery bake-image`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail};
use cli::{Terminal, Verbosity};
use store::{Cache, ScratchGuard};
use sysext::ExtensionName;
use tree::{Arch, Blob, Content, Event, Events};

use crate::{published::Published, sysupdate};
use osimage::flatcar::{FINGERPRINT, INDEX, Release, ReleaseSelector};
use osimage::{InstallPartition, InstallPath, Payload, bake, check, vendor};
use recipes::checksum::Checksum;
use recipes::config::Config;
use recipes::fetch::{Fetcher, FileRequest};
use signature::{self, SIGNATURE_MAX, Scheme, SignatureError};
use sysext::{Compatibility, check_compatibility};

/// Flatcar's public key, as it was when this was built: subkeys change, which is why `--key` can name a newer file.
const KEY: &[u8] = include_bytes!("../../keys/flatcar-image-signing-key.asc");
/// The name of the disk image in a release.
const IMAGE: &str = "flatcar_production_image.bin";
/// Digests of files of releases, by URL.
const DOWNLOADED: &str = "flatcar";
/// Bytes. Indexes, manifests and configurations.
const TEXT_MAX: u64 = 16 << 20;

const EXAMPLES: &str = "\
Examples:
  bakery bake-image kubernetes:kubernetes.raw
      Download and verify the newest stable image for x86-64, and add kubernetes.raw to its root partition.
  bakery bake-image --release beta --arch arm64 --fetch kubernetes:kubernetes-v1.31.4-arm64.raw
      Download the extension and its update configuration from the catalogue.
  bakery bake-image --image flatcar_production_image.bin.bz2 --install-to oem:/extensions nginx:nginx.raw
      Use an existing image. Writing to the OEM partition takes root privileges.
";

/// Add extensions to a Flatcar OS image.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Name and image file of an extension; a NAME.conf beside the file is included
    #[arg(required = true, value_name = "NAME:FILE")]
    extensions: Vec<Named>,

    /// Download FILE and NAME.conf from the catalogue, and verify them with its manifest
    #[arg(long)]
    fetch: bool,

    /// Catalogue to download from
    #[arg(long, value_name = "URL", default_value = sysupdate::BASE_URL)]
    base_url: String,

    /// Verify the catalogue's manifests with this OpenPGP key
    #[arg(long, value_name = "FILE", requires = "fetch")]
    catalogue_key: Option<PathBuf>,

    /// Convert the image to this vendor's format with the Flatcar SDK; needs git and docker
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(vendor::VENDORS), hide_possible_values = true)]
    vendor: Option<String>,

    /// Git repository of the SDK's scripts
    #[arg(long, value_name = "URL", default_value = vendor::SCRIPTS, requires = "vendor")]
    scripts: String,

    /// Architecture of the image and the extensions: x86-64 or arm64 [default: x86-64; with --image, that of the extensions]
    #[arg(long, env = "ARCH", hide_env_values = true)]
    arch: Option<Arch>,

    /// Flatcar release: alpha, beta, stable, lts, or a version
    #[arg(long, default_value = "stable")]
    release: ReleaseSelector,

    /// Partition and directory to install to: root:/DIRECTORY or oem:/DIRECTORY
    #[arg(long, visible_alias = "install_to", value_name = "PARTITION:DIRECTORY", default_value_t)]
    install_to: InstallPath,

    /// Use this image, compressed or not, instead of downloading one; it is verified if a .sig file is beside it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["release", "vendor"])]
    image: Option<PathBuf>,

    /// OpenPGP signature of the image [default: FILE.sig]
    #[arg(long, value_name = "FILE", requires = "image")]
    signature: Option<PathBuf>,

    /// Public key to verify images with [default: Flatcar's]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// Fingerprint that the key has to have [default: Flatcar's; with --key, none]
    #[arg(long, value_name = "HEX")]
    fingerprint: Option<String>,

    /// Write the image to this file [default: flatcar_production_image.bin; with --image NAME.bin, NAME-baked.bin]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Read configuration, such as mirrors, from this file [default: /etc/bakery/config.toml and ~/.config/bakery/config.toml]
    #[arg(long, value_name = "FILE", env = "BAKERY_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,

    /// Cache downloads in this directory
    #[arg(long, value_name = "DIR", env = "FLIX_CACHE_DIR", hide_env_values = true)]
    cache_dir: Option<PathBuf>,

    /// Work from the cache only, without using the network
    #[arg(long)]
    offline: bool,

    /// Print errors only
    #[arg(short, long)]
    quiet: bool,
}

/// `NAME:FILE`.
#[derive(Debug, Clone)]
struct Named {
    name: ExtensionName,
    file: PathBuf,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, file) =
            text.split_once(':').ok_or("expected NAME:FILE, like kubernetes:kubernetes.raw")?;
        if file.is_empty() {
            return Err("FILE is missing behind the colon".into());
        }
        let name = name.parse().map_err(|e: sysext::extension::NameError| e.to_string())?;
        Ok(Named { name, file: file.into() })
    }
}

/// Does it, and prints the paths of what was written.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let events = Terminal::new(if args.quiet { Verbosity::Quiet } else { Verbosity::Normal });
    tree::remove_on_interrupt().context("signals can't be handled")?;
    let environment = cli::environment();
    let config = Config::load(args.config.as_deref(), &environment)?;
    let dir = args.cache_dir.as_deref().or(config.cache_dir.as_deref());
    let cache = Cache::open_or_default(dir, &environment)?;
    let fetcher = Fetcher::new(config, cache, environment, args.offline);
    let written = bake_image(args, &fetcher, &events)?;
    events.clear();
    let lines: String = written.iter().map(|path| format!("{}\n", path.display())).collect();
    cli::print(lines.as_bytes()).context("stdout")
}

fn bake_image(args: &Args, fetcher: &Fetcher, events: &dyn Events) -> anyhow::Result<Vec<PathBuf>> {
    let output = output(args)?;
    // What could be missing is said before anything long begins.
    check(args.install_to.partition)?;
    let mut needs = match args.install_to.partition {
        InstallPartition::Root => "debugfs and e2fsck, no privileges".to_owned(),
        InstallPartition::Oem => "debugfs, e2fsck, and root's privileges to mount partition OEM".to_owned(),
    };
    match args.vendor {
        Some(_) => {
            vendor::check()?;
            needs.push_str("; git and docker for the Flatcar SDK");
        }
        None => drop(tree::OutputFile::create(&output)?),
    }
    events.event(Event::Note(format!("this takes {needs}: all of it is there").into()));
    let key = Key::of(args)?;
    let payload = payload(args, fetcher, events)?;
    match &args.image {
        Some(image) => {
            verify_local(args, image, &key, events)?;
            Ok(vec![bake(image, &payload, &output, events)?.path])
        }
        None => {
            let release = Release::find(&args.release, args.arch.unwrap_or(Arch::X86_64), || {
                fetcher.text(INDEX, TEXT_MAX, events).map_err(anyhow::Error::from)
            })?;
            events.event(Event::Step(
                format!("Flatcar {} {} ({})", release.channel, release.version, release.board).into(),
            ));
            let image = signed(&release, &format!("{IMAGE}.bz2"), fetcher, &key, events)?;
            match &args.vendor {
                None => Ok(vec![bake(image.path(), &payload, &output, events)?.path]),
                Some(name) => to_vendor(args, name, &release, image.path(), &payload, fetcher, &key, events),
            }
        }
    }
}

/// Where the result goes.
fn output(args: &Args) -> anyhow::Result<PathBuf> {
    let dir = |path: &Path| path.is_dir().then(|| path.join(IMAGE));
    match (&args.output, &args.image) {
        (Some(path), _) => Ok(dir(path).unwrap_or_else(|| path.clone())),
        (None, None) => Ok(IMAGE.into()),
        (None, Some(image)) => {
            let name = image.file_name().and_then(|n| n.to_str()).context("--image has no file name")?;
            let stem =
                [".bz2", ".gz", ".xz", ".zst"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
            let stem = stem.strip_suffix(".bin").or_else(|| stem.strip_suffix(".img")).unwrap_or(stem);
            Ok(format!("{stem}-baked.bin").into())
        }
    }
}

/// What goes in.
fn payload(args: &Args, fetcher: &Fetcher, events: &dyn Events) -> anyhow::Result<Payload> {
    let mut payload = Payload::default();
    let mut updates = false;
    // Nobody has said for which machine a local image is; but it is for one.
    let mut arch = args.arch.or(args.image.is_none().then_some(Arch::X86_64));
    for Named { name, file } in &args.extensions {
        let found = if args.fetch { fetched(args, name, file, fetcher, events)? } else { local(name, file)? };
        match check_compatibility(&found.path, Some(name), arch, fetcher.cache())
            .with_context(|| found.file_name.clone())?
        {
            Some(Compatibility { arch: is, .. }) => arch = arch.or(is),
            None => {
                let text = format!("{file:?}: can't inspect the image, so hosts may refuse to merge it");
                events.event(Event::Warning(text.into()));
            }
        }
        payload.extension(&args.install_to, name, &found.file_name, found.path, found.size)?;
        if let Some(text) = found.configuration {
            payload.sysupdate(name, &format!("{name}.conf"), text)?;
            updates = true;
        }
    }
    payload.set_architecture(arch);
    if updates {
        payload.noop("noop.conf", sysupdate::NOOP.into())?;
    }
    Ok(payload)
}

/// An extension's image and its update configuration.
struct Found {
    path: PathBuf,
    file_name: String,
    size: u64,
    configuration: Option<String>,
}

fn local(name: &ExtensionName, file: &Path) -> anyhow::Result<Found> {
    let size = file.metadata().with_context(|| format!("{file:?}"))?;
    if !size.is_file() {
        bail!("{file:?}: is no file");
    }
    let file_name =
        file.file_name().and_then(|n| n.to_str()).with_context(|| format!("{file:?}: odd name"))?;
    let configuration = file.with_file_name(format!("{name}.conf"));
    let configuration = match std::fs::read_to_string(&configuration) {
        Ok(text) => Some(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(e).with_context(|| format!("{configuration:?}")),
    };
    Ok(Found { path: file.to_owned(), file_name: file_name.to_owned(), size: size.len(), configuration })
}

fn fetched(
    args: &Args,
    name: &ExtensionName,
    file: &Path,
    fetcher: &Fetcher,
    events: &dyn Events,
) -> anyhow::Result<Found> {
    let file = file.to_str().filter(|f| !f.contains('/')).with_context(|| format!("{file:?}: odd name"))?;
    let published = Published::new(fetcher, &args.base_url, args.catalogue_key.as_deref())?;
    let manifest = published.manifest(name, events)?;
    let got = published.get(&manifest, file, events)?;
    let configuration = format!("{name}.conf");
    let configuration = match manifest.has(&configuration) {
        true => {
            let got = published.get(&manifest, &configuration, events)?;
            Some(String::from_utf8(got.content().read(TEXT_MAX)?).context("the configuration isn't UTF-8")?)
        }
        false => None,
    };
    let path = got.file.blob.path().to_owned();
    Ok(Found { path, file_name: file.to_owned(), size: got.size, configuration })
}

/// What images are verified with.
struct Key {
    bytes: Vec<u8>,
}

impl Key {
    fn of(args: &Args) -> anyhow::Result<Key> {
        let bytes = match &args.key {
            Some(path) => std::fs::read(path).with_context(|| format!("{path:?}"))?,
            None => KEY.to_vec(),
        };
        let pinned = args.fingerprint.clone().or_else(|| args.key.is_none().then(|| FINGERPRINT.to_owned()));
        if let Some(pinned) = pinned {
            let plain = |text: &str| text.replace([' ', ':'], "").to_ascii_lowercase();
            let found = signature::fingerprints(&bytes)?;
            if !found.iter().all(|f| plain(f) == plain(&pinned)) {
                bail!("key file has key {}, expected {pinned}", found.join(", "));
            }
        }
        Ok(Key { bytes })
    }

    fn check(
        &self,
        what: &str,
        signature: &[u8],
        content: &Content,
        events: &dyn Events,
    ) -> anyhow::Result<()> {
        events.event(Event::Step(format!("verifying {what}").into()));
        let verified = signature::verify(Scheme::OpenPgp, &self.bytes, signature, content)
            .with_context(|| what.to_owned())?;
        events.event(Event::Note(format!("{what} is signed by key {}", verified.key).into()));
        Ok(())
    }
}

fn verify_local(args: &Args, image: &Path, key: &Key, events: &dyn Events) -> anyhow::Result<()> {
    let mut beside = image.as_os_str().to_owned();
    beside.push(".sig");
    let path = args.signature.clone().unwrap_or_else(|| beside.into());
    if args.signature.is_none() && !path.exists() {
        let warning = format!("{image:?} isn't verified: there is no {path:?}");
        events.event(Event::Warning(warning.into()));
        return Ok(());
    }
    let signature = std::fs::read(&path).with_context(|| format!("{path:?}"))?;
    let size = image.metadata().with_context(|| format!("{image:?}"))?.len();
    let content = Content::in_blob(Blob::at_path(image), 0, size);
    key.check(&image.display().to_string(), &signature, &content, events)
}

/// A verified file of the cache.
struct Signed {
    fetched: recipes::fetch::DownloadedFile,
}

impl Signed {
    fn path(&self) -> &Path {
        self.fetched.file.blob.path()
    }
}

/// A file of a release, verified.
fn signed(
    release: &Release,
    file: &str,
    fetcher: &Fetcher,
    key: &Key,
    events: &dyn Events,
) -> anyhow::Result<Signed> {
    let url = release.url(file);
    let signature = fetcher.text(&format!("{url}.sig"), SIGNATURE_MAX, events)?;
    let get = |checksums| fetcher.get(&FileRequest { url: url.clone(), checksums, size: None }, events);
    // What was downloaded before, good or not: the signature tells, and it may be the key that was too old.
    let known = fetcher.cache().key(DOWNLOADED, &url)?.and_then(|hex| Checksum::from_hex(&hex));
    if let Some(Ok(fetched)) = known.map(|checksum| get(vec![checksum])) {
        match key.check(&url, &signature, &fetched.content(), events) {
            Ok(()) => return Ok(Signed { fetched }),
            Err(e) if !matches!(e.downcast_ref(), Some(SignatureError::Wrong { .. })) => return Err(e),
            Err(_) => {}
        }
    }
    let fetched = get(Vec::new())?;
    fetcher.cache().set_key(DOWNLOADED, &url, &fetched.sha256.hex())?;
    key.check(&url, &signature, &fetched.content(), events)?;
    Ok(Signed { fetched })
}

/// Hands the baked image over to the SDK and takes what it makes.
#[allow(clippy::too_many_arguments)]
fn to_vendor(
    args: &Args,
    name: &str,
    release: &Release,
    image: &Path,
    payload: &Payload,
    fetcher: &Fetcher,
    key: &Key,
    events: &dyn Events,
) -> anyhow::Result<Vec<PathBuf>> {
    let target = match &args.output {
        Some(dir) if dir.is_dir() => dir.clone(),
        Some(path) => bail!("{path:?}: with --vendor, --output names a directory: the SDK names its files"),
        None => PathBuf::from("."),
    };
    let scratch = ScratchGuard::new(fetcher.cache(), "vendor")?;
    let dir = scratch.path().join("scripts");
    vendor::clone(&args.scripts, release, &dir)?;
    for file in vendor::FILES {
        let signed = signed(release, file, fetcher, key, events)?;
        std::fs::copy(signed.path(), dir.join(file)).with_context(|| format!("{file:?}"))?;
    }
    bake(image, payload, &dir.join(IMAGE), events)?;
    events.event(Event::Step(format!("the Flatcar SDK makes the {name} image").into()));
    vendor::convert(&dir, release, name)?;
    let mut written = Vec::new();
    for path in vendor::results(&dir)? {
        let name = path.file_name().context("internal error: an image of the Flatcar SDK has no name")?;
        let place = target.join(name);
        let out = tree::OutputFile::create(&place)?;
        std::fs::copy(&path, out.path()?).with_context(|| format!("{place:?}"))?;
        out.commit()?;
        written.push(place);
    }
    if written.is_empty() {
        bail!("the Flatcar SDK has made no image");
    }
    Ok(written)
}
