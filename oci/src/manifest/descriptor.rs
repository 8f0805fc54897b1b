//! Descriptors. image-spec, descriptor.md.

use std::collections::BTreeMap;

use store::Digest;

use super::ManifestError;
use super::limits::MANIFEST_MAX;
use crate::Platform;

/// Points at a blob or a manifest. image-spec, descriptor.md.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// What the blob says it is. Checked for its class (index, image, layer), never trusted for the compression.
    pub media_type: String,
    /// Digest of the blob.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Other places where the blob can be had. Listed for messages only, never fetched (CVE-2020-15157).
    pub urls: Vec<String>,
    /// In an index: what the image is for.
    pub platform: Option<Platform>,
    /// `org.opencontainers.image.ref.name` and its kin.
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// Checks size and digest of what was fetched.
    ///
    /// # Errors
    /// Other bytes than the descriptor's.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), ManifestError> {
        if bytes.len() as u64 != self.size {
            let (got, expected) = (bytes.len() as u64, self.size);
            return Err(ManifestError::Size { digest: self.digest, got, expected });
        }
        let got = Digest::of(bytes);
        if got != self.digest {
            return Err(ManifestError::Digest { got, expected: self.digest });
        }
        Ok(())
    }

    /// Checks the size that is claimed for a document which goes into memory, before it is fetched.
    ///
    /// # Errors
    /// More than [`MANIFEST_MAX`].
    pub(crate) fn check_document_size(&self, what: &'static str) -> Result<(), ManifestError> {
        if self.size > MANIFEST_MAX {
            return Err(ManifestError::TooLarge { what, len: self.size });
        }
        Ok(())
    }
}
