//! The files of a host that the user names.

use std::path::Path;

use anyhow::Context as _;
use host_check::Host;
use image::ImageContents;
use oci::{Context, ImageRef, LivePaths};
use tree::{Arch, Events};

/// A host that has been read.
#[derive(Debug)]
pub struct ReadHost {
    /// What it has.
    pub host: Host,
    /// Keeps the files there.
    pub(crate) contents: Option<ImageContents>,
}

/// Reads a host: a directory, a tar, a disk image, or an OCI image. Of this machine's own root, `wanted` is read besides what
/// holds programs and their configuration.
///
/// # Errors
/// It can't be had, or isn't what its name says.
pub fn read_host(
    name: &str,
    architecture: Option<Arch>,
    wanted: &LivePaths,
    context: &Context,
    events: &dyn Events,
) -> anyhow::Result<ReadHost> {
    let path = Path::new(name);
    if path.is_file() && image::is_image(path)? {
        let mut contents = image::read_host(path, &context.cache)?;
        let tree = std::mem::take(&mut contents.tree);
        let mut host = Host::new(name.to_owned(), tree, architecture).with_context(|| format!("{path:?}"))?;
        host.notes.clone_from(&contents.notes);
        return Ok(ReadHost { host, contents: Some(contents) });
    }
    let image = match path.is_file() {
        true => ImageRef::Tar(path.to_owned()),
        false => name.parse()?,
    };
    let rootfs = context.rootfs(&image, wanted, events)?;
    let architecture = match &image {
        ImageRef::Registry(_) => architecture.or_else(|| context.platform.architecture.parse().ok()),
        _ => architecture,
    };
    let host = Host::new(name.to_owned(), rootfs.tree, architecture).with_context(|| name.to_owned())?;
    Ok(ReadHost { host, contents: None })
}
