//! Images that are on this machine: OCI layouts, archives of them, `docker save` archives, plain tars, directories.
//!
//! What can be read in place is: a layer that isn't compressed stays where it is, even inside an archive. All else is inflated
//! into the cache, once.

mod error;
pub use error::SourceError;

mod any;
pub use any::RootfsError;

mod store;

mod layout;

mod docker;

mod layers;

mod plain;

use std::path::Path;

use sysext::{Events, TreePath};

use crate::{Cache, Config, ImageRef, LayerBlob, Platform, Rootfs};
use store::Store;

/// What a local image is read with.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// Where layers are inflated to.
    pub cache: &'a Cache,
    /// Which image of several is wanted.
    pub platform: &'a Platform,
    /// Who is told.
    pub events: &'a dyn Events,
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("cache", self.cache).field("platform", self.platform).finish()
    }
}

impl Reader<'_> {
    /// Reads a local image; none if `image` is in a registry.
    ///
    /// # Errors
    /// The files can't be read, aren't what they should be, or don't have the digests that they should have.
    pub fn rootfs(&self, image: &ImageRef) -> Result<Option<Rootfs>, SourceError> {
        self.rootfs_with(image, &[])
    }

    /// As [`Reader::rootfs`]. Of the running system's own root (`dir:/`) only the system's directories are read, and those in
    /// `wanted` besides; all other images are read as a whole.
    ///
    /// # Errors
    /// As [`Reader::rootfs`].
    pub fn rootfs_with(&self, image: &ImageRef, wanted: &[TreePath]) -> Result<Option<Rootfs>, SourceError> {
        let rootfs = match image {
            ImageRef::OciDir { path, tag } => {
                let (config, layers) = layout::read(self, &Store::dir(path)?, tag.as_deref())?;
                self.merge(path, config, &layers)?
            }
            ImageRef::OciArchive(path) => {
                let store = Store::archive(self, path)?;
                self.image(&store, layout::read(self, &store, None)?)?
            }
            ImageRef::DockerArchive(path) => {
                let store = Store::archive(self, path)?;
                // Newer versions of docker save write both forms into one archive, and the OCI one says more.
                let read = if layout::is_layout(&store)? {
                    layout::read(self, &store, None)?
                } else {
                    docker::read(self, &store)?
                };
                self.image(&store, read)?
            }
            ImageRef::Tar(path) => {
                let store = Store::archive(self, path)?;
                if layout::is_layout(&store)? {
                    self.image(&store, layout::read(self, &store, None)?)?
                } else if docker::is_archive(&store)? {
                    self.image(&store, docker::read(self, &store)?)?
                } else {
                    plain::tar(store)?
                }
            }
            ImageRef::Dir(path) => plain::dir(path, wanted, self.events)?,
            ImageRef::Registry(_) => return Ok(None),
        };
        Ok(Some(rootfs))
    }

    fn image(&self, store: &Store, read: (Config, Vec<LayerBlob>)) -> Result<Rootfs, SourceError> {
        self.merge(store.path(), read.0, &read.1)
    }

    fn merge(&self, path: &Path, config: Config, layers: &[LayerBlob]) -> Result<Rootfs, SourceError> {
        if let Some(got) = config.platform.as_ref().filter(|got| self.platform.rank(got).is_none()) {
            let (got, wanted) = (crate::digest::shorten(&got.to_string()), self.platform.to_string());
            return Err(SourceError::Platform { path: path.to_owned(), got, wanted });
        }
        let at = |source| SourceError::Layer { path: path.to_owned(), source };
        Rootfs::from_layers(config, layers, self.events).map_err(at)
    }
}

#[cfg(test)]
mod tests;
