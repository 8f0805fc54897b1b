//! The image's tree, whatever the image is.

use anyhow::{Context as _, bail};
use oci::ImageRef;
use sysext::{Events, ExtensionName, ReadOptions, Tree, TreePath};

use super::Args;

/// Placeholder.
#[derive(Debug, Clone, clap::Args)]
pub struct SourceArgs {
    /// Architecture of the image [default: this machine's]
    #[arg(long, env = "ARCH", hide_env_values = true)]
    pub arch: Option<sysext::Arch>,
    /// Uses the cache only
    #[arg(long)]
    pub offline: bool,
}

/// Placeholder.
#[derive(Debug, Clone, clap::Args)]
pub struct SandboxArgs {
    /// Never installs a package on its own account when a wanted path is missing
    #[arg(long)]
    pub no_install: bool,
}

/// The tree of the image, with what is missing installed.
pub fn rootfs(
    args: &Args,
    image: &ImageRef,
    _name: &ExtensionName,
    _events: &dyn Events,
) -> anyhow::Result<Tree> {
    let ImageRef::Dir(dir) = image else {
        bail!("{image}: images other than directories are not supported yet")
    };
    let wanted = args.paths.iter().filter_map(|w| TreePath::new(&w.source).ok());
    let options = match dir == std::path::Path::new("/") {
        true => ReadOptions::live_root(wanted),
        false => ReadOptions::default(),
    };
    let tree = Tree::from_dir(dir, &options).with_context(|| format!("{image}"))?;
    let _ = super::absent(&tree, &args.paths);
    Ok(tree)
}
