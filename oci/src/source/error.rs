//! What can be wrong with a local image.

use std::io;
use std::path::PathBuf;

use tree::{ArchiveError, ContentError, HostError};

use crate::{LayerError, ManifestError, PolicyError};
use store::{CacheError, Digest};

/// What is wrong, and with which file or directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum SourceError {
    /// The system said no.
    #[error("{path:?}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        source: io::Error,
    },
    /// The policy doesn't accept it.
    #[error("{path:?}: {source}")]
    Policy {
        /// The layout or archive.
        path: PathBuf,
        source: Box<PolicyError>,
    },
    /// A file inside can't be read.
    #[error("{path:?}: {source}")]
    Content {
        /// The layout or archive.
        path: PathBuf,
        source: ContentError,
    },
    /// The tar around the image is malformed.
    #[error("{path:?}: {source}")]
    Archive { path: PathBuf, source: ArchiveError },
    /// It isn't what the reference says.
    #[error("{path:?}: {why}")]
    Kind {
        /// The layout or archive.
        path: PathBuf,
        why: &'static str,
    },
    /// A manifest, index or config is malformed.
    #[error("{path:?}: {source}")]
    Manifest {
        /// The layout or archive.
        path: PathBuf,
        source: ManifestError,
    },
    /// A file that is named isn't there.
    #[error("{path:?}: {name} is missing{note}")]
    Missing {
        /// The layout or archive.
        path: PathBuf,
        /// The file in it.
        name: String,
        /// What else is to say.
        note: &'static str,
    },
    /// Several images, and none was named.
    #[error("{path:?} has several images: {names}")]
    Several {
        /// The layout or archive.
        path: PathBuf,
        /// Their names, or `@` and their positions.
        names: String,
        /// A reference to the first of them.
        example: String,
    },
    /// No image of this name.
    #[error("{path:?} has no image {which:?}, but {names}")]
    NoImage {
        /// The layout or archive.
        path: PathBuf,
        /// What was asked for.
        which: String,
        names: String,
        /// A reference to the first of them.
        example: String,
    },
    /// Not an index, and for another machine.
    #[error("{path:?}: image is for {got}, expected {wanted}")]
    Platform {
        /// The layout or archive.
        path: PathBuf,
        /// What its config says.
        got: String,
        /// What was asked for.
        wanted: String,
    },
    /// A layer that is read in place is not what its digest says.
    #[error("{path:?}: layer {expected}: got content with digest {got}")]
    Digest {
        /// The layout or archive.
        path: PathBuf,
        got: Digest,
        /// In the manifest or config.
        expected: Digest,
    },
    /// A layer has another length than the manifest says.
    #[error("{path:?}: layer {digest}: got {got} bytes, expected {expected}")]
    Size {
        /// The layout or archive.
        path: PathBuf,
        digest: Digest,
        /// Bytes.
        got: u64,
        /// Bytes.
        expected: u64,
    },
    /// A layer can't be taken into the cache.
    #[error("{path:?}: {source}")]
    Cache {
        /// The layout or archive.
        path: PathBuf,
        source: CacheError,
    },
    /// A layer can't be applied.
    #[error("{path:?}: {source}")]
    Layer {
        /// The layout or archive.
        path: PathBuf,
        source: LayerError,
    },
    /// A directory can't be read.
    #[error(transparent)]
    Host(#[from] HostError),
}
