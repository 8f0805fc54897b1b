//! What can be wrong with manifests, indexes and configs.

use store::{Digest, DigestError};

use super::limits::{
    FETCHES_MAX, LAYERS_MAX, LAYERS_SIZE_MAX, LAYERS_UNPACKED_MAX, MANIFEST_MAX, NESTING_MAX,
};
use crate::Platform;

/// Why a manifest, an index or a config can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ManifestError {
    /// Larger than `MANIFEST_MAX`.
    #[error("{what} is {len} bytes, expected at most {MANIFEST_MAX}")]
    TooLarge { what: &'static str, len: u64 },
    /// The bytes are not those that the descriptor names.
    #[error("{digest}: got {got} bytes, expected {expected}")]
    Size {
        /// What was asked for.
        digest: Digest,
        /// Bytes.
        got: u64,
        /// Bytes.
        expected: u64,
    },
    /// The bytes are not those that the descriptor names.
    #[error("{expected}: got content with digest {got}")]
    Digest {
        got: Digest,
        /// What was asked for.
        expected: Digest,
    },
    /// A web page, as captive portals and misconfigured proxies send it.
    #[error("{what} is HTML, expected JSON")]
    Html { what: &'static str },
    /// JSON that is not what it should be.
    #[error("{what} is malformed: {source}")]
    Json {
        /// `manifest`, `config`, ….
        what: &'static str,
        /// What serde says, with the line and column.
        source: serde_json::Error,
    },
    /// Docker's manifest version 2 schema 1, given up in 2017: its layers have no diff_ids to be checked.
    #[error("manifest has the old Docker schema 1, expected schema 2 or OCI")]
    Schema1,
    /// Not schema 2.
    #[error("manifest has schemaVersion {0}, expected 2")]
    SchemaVersion(String),
    /// A document that can be read as two different things, or is another than its media type says (CVE-2021-41190).
    #[error("{what} is ambiguous: {why}")]
    Ambiguous {
        /// `manifest` or `config`.
        what: &'static str,
        /// Which fields contradict each other.
        why: String,
    },
    /// Something that is no container image: a Helm chart, a signature, an attestation.
    #[error("not an image: {what} has media type {media_type:?}")]
    NotAnImage {
        /// `config`, `layer sha256:…`, `manifest`.
        what: String,
        media_type: String,
    },
    /// The index has nothing for this platform.
    #[error("no image for {wanted}, index has {available}")]
    NoPlatform {
        /// What was asked for.
        wanted: Platform,
        /// The platforms that there are, or `nothing`.
        available: String,
    },
    #[error("index is nested more than {NESTING_MAX} deep or refers to more than {FETCHES_MAX} candidates")]
    Nesting,
    /// The config and the manifest contradict each other.
    #[error("manifest has {layers} layers, but config has {diff_ids} diff_ids")]
    LayerCount { layers: usize, diff_ids: usize },
    /// More than `LAYERS_MAX`.
    #[error("{what} has {layers} layers, expected at most {LAYERS_MAX}")]
    TooManyLayers { what: &'static str, layers: usize },
    /// More than `LAYERS_SIZE_MAX`.
    #[error("layers of the manifest have {len} bytes together, expected at most {LAYERS_SIZE_MAX}")]
    LayersTooLarge { len: u64 },
    /// More than 1 TiB.
    #[error("layers have {len} bytes together when unpacked, expected at most {LAYERS_UNPACKED_MAX}")]
    UnpackedTooLarge { len: u64 },
    /// A config that lacks something or makes no sense.
    #[error("config {0}")]
    Config(String),
    /// The only entry of an index that would do can't be used.
    #[error("index entry for {wanted} can't be used: {why}")]
    Entry {
        /// What was asked for.
        wanted: String,
        /// What is wrong with the entry.
        why: String,
    },
    #[error(transparent)]
    DigestSyntax(#[from] DigestError),
}
