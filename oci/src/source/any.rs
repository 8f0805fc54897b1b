//! A root file system from wherever the reference says.

use tree::Events;

use super::{LivePaths, Reader, SourceError};
use crate::{Context, ImageRef, LayerError, PullError, Rootfs};

/// Why a root file system can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum RootfsError {
    #[error(transparent)]
    Pull(#[from] Box<PullError>),
    /// Its layers don't add up.
    #[error("{image}: {source}")]
    Layer {
        image: String,
        /// Which layer, which entry.
        source: LayerError,
    },
    #[error(transparent)]
    Source(#[from] Box<SourceError>),
}

impl Context {
    /// The root file system of an image, wherever it is. `wanted` are places of the running system's own root (`dir:/`) that
    /// are read besides the system's directories.
    ///
    /// # Errors
    /// An image that isn't there, or isn't what it should be.
    pub fn rootfs(
        &self,
        image: &ImageRef,
        wanted: &LivePaths,
        events: &dyn Events,
    ) -> Result<Rootfs, RootfsError> {
        self.rootfs_with(image, wanted, false, events)
    }

    /// As [`Context::rootfs`], for whoever reads little of it: of layers in eStargz and zstd:chunked only the table of contents is fetched,
    /// and each file when it is first read. Their files are what the tables say; nobody compares that with the layers' digests.
    ///
    /// # Errors
    /// As [`Context::rootfs`]. Reading a file may fail as fetching a layer does.
    pub fn rootfs_as_read(
        &self,
        image: &ImageRef,
        wanted: &LivePaths,
        events: &dyn Events,
    ) -> Result<Rootfs, RootfsError> {
        self.rootfs_with(image, wanted, true, events)
    }

    fn rootfs_with(
        &self,
        image: &ImageRef,
        wanted: &LivePaths,
        partial: bool,
        events: &dyn Events,
    ) -> Result<Rootfs, RootfsError> {
        if let ImageRef::Registry(reference) = image {
            let image = self.pull_with(reference, partial, events).map_err(Box::new)?;
            let name = image.reference.to_string();
            let rootfs = Rootfs::from_layers(image.config, &image.layers, events)
                .map_err(|source| RootfsError::Layer { image: name, source })?;
            return Ok(Rootfs { manifest: Some(image.digest), ..rootfs });
        }
        let reader = Reader { cache: &self.cache, platform: &self.platform, policy: &self.policy, events };
        let local = reader.rootfs_with(image, wanted).map_err(Box::new)?;
        local.ok_or_else(|| {
            let why = "image is neither in a registry nor on this machine";
            Box::new(SourceError::Kind { path: image.to_string().into(), why }).into()
        })
    }
}
