//! What builds share: the fetcher, the cache, images, and a listener.

use oci::{Context, ImageRef, LivePaths, Rootfs, RootfsError};
use sandbox::SandboxError;
use store::{Cache, Digest};
use tree::{Arch, Events};

use crate::fetch::Fetcher;

/// Bytes. Lists of versions; GitHub's are the largest.
const LIST_MAX: u64 = 64 << 20;

/// Opens the context in which images of an architecture are pulled.
pub(crate) type OpenImages<'a> = dyn Fn(Arch) -> Result<Context, BoxedError> + Sync + 'a;

/// Somebody else's error.
pub type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// What builds share. May be used from several threads at once.
#[derive(Clone, Copy)]
pub struct BuildContext<'a> {
    /// Gets files.
    pub fetcher: &'a Fetcher,
    /// Opened for builds that take images only. Its cache and whether it is offline are the fetcher's.
    pub images: &'a OpenImages<'a>,
    /// Receives events.
    pub events: &'a dyn Events,
}

impl std::fmt::Debug for BuildContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildContext").field("fetcher", &self.fetcher).finish_non_exhaustive()
    }
}

/// Why an image, or what runs in it, is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ImageUseError {
    #[error(transparent)]
    Images(BoxedError),
    /// Not an image's name.
    #[error("image {image:?}: {message}")]
    Reference {
        /// As the recipe has it.
        image: String,
        message: String,
    },
    /// The image can't be had.
    #[error(transparent)]
    Rootfs(Box<RootfsError>),
    /// A command in it failed.
    #[error(transparent)]
    Sandbox(#[from] Box<SandboxError>),
    /// An image on this machine is another one by now.
    #[error("image {image}: got {got}, expected {expected} as pinned")]
    Changed {
        image: String,
        /// What it is now.
        got: Digest,
        expected: Digest,
    },
}

impl From<RootfsError> for ImageUseError {
    fn from(e: RootfsError) -> Self {
        ImageUseError::Rootfs(Box::new(e))
    }
}

impl From<SandboxError> for ImageUseError {
    fn from(e: SandboxError) -> Self {
        ImageUseError::Sandbox(Box::new(e))
    }
}

impl<'a> BuildContext<'a> {
    /// The cache.
    pub fn cache(&self) -> &'a Cache {
        self.fetcher.cache()
    }

    /// A document, for [`crate::versions`].
    ///
    /// # Errors
    /// It can't be had.
    pub fn ask(&self, url: &str) -> Result<Vec<u8>, BoxedError> {
        Ok(self.fetcher.text(url, LIST_MAX, self.events)?)
    }

    /// Where images come from, for an architecture.
    pub(crate) fn context(&self, arch: Arch) -> Result<Context, ImageUseError> {
        (self.images)(arch).map_err(ImageUseError::Images)
    }

    pub(crate) fn image_ref(&self, image: &str) -> Result<ImageRef, ImageUseError> {
        let wrong = |e: oci::ReferenceError| ImageUseError::Reference {
            image: image.to_owned(),
            message: e.to_string(),
        };
        image.parse().map_err(wrong)
    }

    /// An image as it was when it was pinned.
    pub(crate) fn pinned_image(
        &self,
        image: &str,
        pin: &Digest,
        arch: Arch,
    ) -> Result<Rootfs, ImageUseError> {
        let context = self.context(arch)?;
        match self.image_ref(image)? {
            ImageRef::Registry(reference) => {
                let reference = ImageRef::Registry(reference.with_digest(&pin.to_string()));
                Ok(context.rootfs(&reference, &LivePaths::default(), self.events)?)
            }
            local => {
                let rootfs = context.rootfs(&local, &LivePaths::default(), self.events)?;
                if rootfs.id != *pin {
                    let (image, got, expected) = (image.to_owned(), rootfs.id, *pin);
                    return Err(ImageUseError::Changed { image, got, expected });
                }
                Ok(rootfs)
            }
        }
    }
}
