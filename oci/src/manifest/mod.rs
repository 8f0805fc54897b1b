//! Image manifests and indexes: pure functions of bytes. image-spec, manifest.md and image-index.md; Docker's "schema 2".

mod limits;
pub(crate) use limits::MANIFEST_MAX;

mod error;
pub use error::ManifestError;

mod media_type;

mod descriptor;
pub use descriptor::Descriptor;

mod layers;
pub(crate) use layers::UnpackedSize;

mod wire;

mod config;
pub use config::Config;

mod environment;

mod image;
pub use image::Manifest;

mod index;
pub use index::Index;

mod document;
pub use document::ManifestOrIndex;

mod attachments;
pub(crate) use attachments::signatures;

mod search;
pub(crate) use search::{BlobKind, find_manifest};

#[cfg(test)]
mod tests;
