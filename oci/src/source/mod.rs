//! Images that are on this machine: OCI layouts, archives of them, `docker save` archives, plain tars, directories.
//!
//! What can be read in place is: a layer that isn't compressed stays where it is, even inside an archive. All else is inflated
//! into the cache, once.

mod error;
pub use error::SourceError;

mod any;
pub use any::RootfsError;

mod accept;

mod layout_files;

mod layout;

mod docker;

mod bare;

mod choice;

mod layers;

mod plain;

use std::path::Path;

use tree::{Events, TreePath};

use crate::{Config, ImageRef, ImageSelector, Platform, Policy, Rootfs};
use layout_files::LayoutFiles;
use store::{Cache, LayerBlob};

/// What a local image is read with.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    /// Where layers are inflated to.
    pub cache: &'a Cache,
    /// Which image of several is wanted.
    pub platform: &'a Platform,
    /// Which images are accepted.
    pub policy: &'a Policy,
    pub events: &'a dyn Events,
}

/// What all kinds of images come to.
type Read = (Config, Vec<LayerBlob>);

/// Places of the running system's own root (`dir:/`) that are read besides the system's directories.
#[derive(Debug, Clone, Default)]
pub struct LivePaths {
    /// With all that is below them.
    pub whole: Vec<TreePath>,
    /// Of directories nothing that is below them.
    pub single: Vec<TreePath>,
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("cache", self.cache).field("platform", self.platform).finish()
    }
}

impl Reader<'_> {
    #[cfg(test)]
    pub(crate) fn rootfs(&self, image: &ImageRef) -> Result<Option<Rootfs>, SourceError> {
        self.rootfs_with(image, &LivePaths::default())
    }

    /// Reads a local image; none if `image` is in a registry. Of the running system's own root (`dir:/`) only the system's directories are read, and those in
    /// `wanted` besides; all other images are read as a whole.
    ///
    /// # Errors
    /// The files can't be read, aren't what they should be, or don't have the digests that they should have.
    pub(crate) fn rootfs_with(
        &self,
        image: &ImageRef,
        wanted: &LivePaths,
    ) -> Result<Option<Rootfs>, SourceError> {
        let rootfs = match image {
            ImageRef::OciDir { path, which } => {
                let files = LayoutFiles::any(self, path)?;
                self.image(&files, layout::read(self, &files, "oci", which.as_ref())?)?
            }
            ImageRef::OciArchive { path, which } => {
                let files = LayoutFiles::any(self, path)?;
                self.image(&files, layout::read(self, &files, "oci-archive", which.as_ref())?)?
            }
            ImageRef::DockerArchive { path, which } => {
                let files = LayoutFiles::any(self, path)?;
                let read = self.docker(&files, which.as_ref())?;
                self.image(&files, read)?
            }
            ImageRef::Tar(path) => {
                let files = LayoutFiles::archive(self, path)?;
                match self.by_content(&files, "oci-archive")? {
                    Some(read) => self.image(&files, read)?,
                    None => {
                        accept::unsigned(self, "tarball", path, None)?;
                        plain::tar(files)?
                    }
                }
            }
            ImageRef::Dir(path) => {
                let files = LayoutFiles::dir(path)?;
                match self.by_content(&files, "oci")? {
                    Some(read) => self.image(&files, read)?,
                    None => {
                        accept::unsigned(self, "dir", path, None)?;
                        plain::dir(path, wanted, self.events)?
                    }
                }
            }
            ImageRef::Registry(_) => return Ok(None),
        };
        Ok(Some(rootfs))
    }

    /// An image that nobody has called one, in a directory or an archive; none if it is a root file system.
    fn by_content(&self, files: &LayoutFiles, transport: &'static str) -> Result<Option<Read>, SourceError> {
        if docker::is_archive(files) {
            return self.docker(files, None).map(Some);
        }
        if layout::is_layout(files) {
            return layout::read(self, files, transport, None).map(Some);
        }
        if bare::is_image(files) {
            return bare::read(self, files).map(Some);
        }
        Ok(None)
    }

    /// Newer versions of `docker save` write a layout and their own list into one archive. The layout says more, but the list
    /// has the positions, and names that the layout may lack.
    fn docker(&self, files: &LayoutFiles, which: Option<&ImageSelector>) -> Result<Read, SourceError> {
        let has_list = docker::is_archive(files);
        if !layout::is_layout(files) || (has_list && matches!(which, Some(ImageSelector::Position(_)))) {
            return docker::read(self, files, which);
        }
        match layout::read(self, files, docker::TRANSPORT, which) {
            Err(SourceError::NoImage { .. } | SourceError::Several { .. }) if has_list => {
                docker::read(self, files, which)
            }
            read => read,
        }
    }

    fn image(&self, files: &LayoutFiles, read: Read) -> Result<Rootfs, SourceError> {
        self.merge(files.path(), read.0, &read.1)
    }

    fn merge(&self, path: &Path, config: Config, layers: &[LayerBlob]) -> Result<Rootfs, SourceError> {
        if let Some(got) = config.mismatch(self.platform) {
            let (got, wanted) = (store::digest::shorten(&got.to_string()), self.platform.to_string());
            return Err(SourceError::Platform { path: path.to_owned(), got, wanted });
        }
        let at = |source| SourceError::Layer { path: path.to_owned(), source };
        Rootfs::from_layers(config, layers, self.events).map_err(at)
    }
}

#[cfg(test)]
mod tests;
