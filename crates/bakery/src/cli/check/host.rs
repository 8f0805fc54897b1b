//! What `--host` names.

use std::path::Path;

use anyhow::Context as _;
use host_check::{Host, PACKAGE_DATABASES};
use image::ImageContents;
use oci::{Context, ImageRef};
use tree::{Arch, Events, TreePath};

/// A host that has been read.
pub(super) struct ReadHost {
    pub(super) host: Host,
    /// Keeps the files there.
    _contents: Option<ImageContents>,
}

/// Reads a host.
pub(super) fn read(
    name: &str,
    architecture: Option<Arch>,
    context: &Context,
    events: &dyn Events,
) -> anyhow::Result<ReadHost> {
    let path = Path::new(name);
    if path.is_file() && image::is_image(path)? {
        let mut contents = image::read_host(path, &context.cache)?;
        let tree = std::mem::take(&mut contents.tree);
        let mut host = Host::new(name.to_owned(), tree, architecture).with_context(|| format!("{path:?}"))?;
        host.notes.clone_from(&contents.notes);
        return Ok(ReadHost { host, _contents: Some(contents) });
    }
    let image = match path.is_file() {
        true => ImageRef::Tar(path.to_owned()),
        false => name.parse()?,
    };
    // Of this machine's own /var, nothing else is read.
    let wanted: Vec<TreePath> = PACKAGE_DATABASES.iter().filter_map(|(p, _)| TreePath::new(p).ok()).collect();
    let rootfs = context.rootfs(&image, &wanted, events)?;
    let architecture = match &image {
        ImageRef::Registry(_) => architecture.or_else(|| context.platform.architecture.parse().ok()),
        _ => architecture,
    };
    let host = Host::new(name.to_owned(), rootfs.tree, architecture).with_context(|| name.to_owned())?;
    Ok(ReadHost { host, _contents: None })
}
