//! `bakery inspect`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use store::Cache;
use sysext::ExtensionName;

use image::read;
use recipes::ImageFileName;
use recipes::Version;
use recipes::lock::WITHOUT;
use sysext::inspect::Inspection;

const EXAMPLES: &str = "\
Examples:
  bakery inspect docker-27.1.0-x86-64.raw
  bakery inspect --json some.raw | jq '.programs[] | select(.needs != [])'
      List programs that need something from the host.";

/// Print the contents of images: release file, units, sizes, programs, and what they need from the host.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Images (squashfs, erofs, ext4, btrfs, disk images, tars) or directories
    #[arg(required = true, value_name = "FILE|DIR")]
    pub images: Vec<PathBuf>,

    /// Name under which the image is merged [default: the file name, up to the version]
    #[arg(long)]
    pub name: Option<ExtensionName>,

    /// Print a JSON array of objects
    #[arg(long)]
    pub json: bool,

    /// Directory for temporary files [default: $XDG_CACHE_HOME/flix or ~/.cache/flix]
    #[arg(long, value_name = "DIR", env = "FLIX_CACHE_DIR", hide_env_values = true)]
    pub cache_dir: Option<PathBuf>,
}

/// Does it.
///
/// # Errors
/// An image that can't be read.
pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let dir = args.cache_dir.as_deref().filter(|d| !d.as_os_str().is_empty());
    let cache = Cache::open_or_default(dir, &cli::environment())?;
    let mut all = Vec::new();
    for path in &args.images {
        let contents = read(path, &cache)?;
        let name = match &args.name {
            Some(name) => name.clone(),
            None => name_of(path, &contents.tree)?,
        };
        all.push(Inspection::new(&contents, &name).with_context(|| format!("{path:?}"))?);
    }
    let text = match args.json {
        true => serde_json::to_string_pretty(&all)? + "\n",
        false => all.iter().map(Inspection::text).collect::<Vec<_>>().join("\n"),
    };
    cli::print(text.as_bytes()).context("stdout")
}

/// The name of an image: its file's without `.raw`. Releases have version and architecture behind the name, which a symlink
/// on the host takes off: if the image has one release file whose name begins the file's, that is it.
pub(super) fn name_of(path: &Path, tree: &tree::Tree) -> anyhow::Result<ExtensionName> {
    let absolute = std::path::absolute(path)?;
    let file = absolute.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = [".sysext.raw", ".raw", ".tar"].iter().find_map(|e| file.strip_suffix(e)).unwrap_or(&file);
    if let [only] = sysext::lint::release_file::names(tree).as_slice() {
        let rest = stem.strip_prefix(only.as_str());
        if rest.is_some_and(|r| r.is_empty() || r.starts_with(['-', '_'])) {
            return Ok(only.parse()?);
        }
    }
    stem.parse().with_context(|| format!("{path:?}: pass --name"))
}

/// The version in `NAME-VERSION-ARCH.raw`, whose last two parts may be missing, and the components that its build was without.
pub(super) fn numbered(path: &Path, name: &ExtensionName) -> Option<(Version, BTreeSet<String>)> {
    let file = path.file_name()?.to_str()?;
    let stem = file.strip_suffix(".raw").unwrap_or(file);
    let version = match ImageFileName::of(name.as_str(), &format!("{stem}.raw")) {
        Some(image) => image.version.to_string(),
        None => stem.strip_prefix(name.as_str())?.strip_prefix('-')?.to_owned(),
    };
    let mut parts = version.split(WITHOUT);
    let version = parts.next()?.parse().ok()?;
    Some((version, parts.map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_name() {
        let of = |path: &str, name: &str| {
            let (version, without) = numbered(Path::new(path), &name.parse().unwrap())?;
            Some(format!("{version} {}", without.into_iter().collect::<Vec<_>>().join(" ")))
        };
        assert_eq!(of("a/k3s-v1.32.2+k3s1-x86-64.raw", "k3s").unwrap(), "v1.32.2+k3s1 ");
        assert_eq!(of("nvidia-runtime-v1.17.4-arm64.raw", "nvidia-runtime").unwrap(), "v1.17.4 ");
        assert_eq!(of("docker.raw", "docker"), None);
        assert_eq!(of("docker-27.5.1-without-containerd-x86-64.raw", "docker").unwrap(), "27.5.1 containerd");
        assert_eq!(of("a-1-without-b-without-c-d-arm64.raw", "a").unwrap(), "1 b c-d");
    }
}
