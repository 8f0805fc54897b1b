//! From a manifest or an index to the image for a platform.

use super::limits::{FETCHES_MAX, NESTING_MAX};
use super::{Descriptor, Manifest, ManifestError, ManifestOrIndex};
use crate::Platform;

/// What is asked for on the way to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlobKind {
    /// A manifest or an index.
    Manifest,
    Config,
}

/// Goes down from a document to the image for a platform. `fetch` brings the bytes that a descriptor names; they are
/// verified here. Of several entries that tell no platform, their configs do. The descriptor is none if `document` is the
/// image itself.
///
/// # Errors
/// No image for the platform, a malformed document on the way, or what `fetch` says.
pub(crate) fn find_manifest<E: From<ManifestError>>(
    document: ManifestOrIndex,
    wanted: &Platform,
    fetch: impl FnMut(BlobKind, &Descriptor) -> Result<Vec<u8>, E>,
) -> Result<(Option<Descriptor>, Manifest), E> {
    let mut search = Search { wanted, left: FETCHES_MAX, other: None, fetch };
    match search.go(document, None, 0)? {
        Some(found) => Ok(found),
        None => Err(search.other.unwrap_or(ManifestError::Nesting).into()),
    }
}

struct Search<'a, F> {
    wanted: &'a Platform,
    /// Documents that may still be fetched.
    left: usize,
    /// Why an entry was passed over that might have been the image.
    other: Option<ManifestError>,
    fetch: F,
}

type FoundManifest = (Option<Descriptor>, Manifest);

impl<E: From<ManifestError>, F: FnMut(BlobKind, &Descriptor) -> Result<Vec<u8>, E>> Search<'_, F> {
    fn get(&mut self, part: BlobKind, descriptor: &Descriptor) -> Result<Vec<u8>, E> {
        let what = if part == BlobKind::Config { "config" } else { "manifest" };
        descriptor.check_document_size(what)?;
        self.left = self.left.checked_sub(1).ok_or(ManifestError::Nesting)?;
        let bytes = (self.fetch)(part, descriptor)?;
        descriptor.verify(&bytes)?;
        Ok(bytes)
    }

    fn go(
        &mut self,
        document: ManifestOrIndex,
        own: Option<Descriptor>,
        depth: usize,
    ) -> Result<Option<FoundManifest>, E> {
        let index = match document {
            ManifestOrIndex::Manifest(manifest) => return Ok(Some((own, manifest))),
            ManifestOrIndex::Index(index) => index,
        };
        if depth >= NESTING_MAX {
            return Err(ManifestError::Nesting.into());
        }
        // The best entry that holds an image. An index inside that turns out to have none for us is passed over.
        let candidates = index.candidates(self.wanted);
        let several = candidates.len() > 1;
        for descriptor in candidates {
            let bytes = self.get(BlobKind::Manifest, descriptor)?;
            let media_type = Some(descriptor.media_type.as_str()).filter(|m| !m.is_empty());
            let inner = match ManifestOrIndex::parse(&bytes, media_type) {
                // Signatures and lists of parts stand beside images, often without a platform.
                Err(e)
                    if several
                        && (descriptor.platform.is_none()
                            || matches!(e, ManifestError::NotAnImage { .. })) =>
                {
                    self.other.get_or_insert(e);
                    continue;
                }
                inner => inner?,
            };
            if let ManifestOrIndex::Manifest(manifest) = &inner
                && several
                && descriptor.platform.is_none()
                && !self.runs_here(manifest)?
            {
                continue;
            }
            if let Some(found) = self.go(inner, Some(descriptor.clone()), depth + 1)? {
                return Ok(Some(found));
            }
        }
        if depth > 0 {
            return Ok(None);
        }
        Err(self.other.take().unwrap_or_else(|| index.no_platform(self.wanted)).into())
    }

    /// Whether an image whose entry says nothing is for the platform.
    fn runs_here(&mut self, manifest: &Manifest) -> Result<bool, E> {
        let bytes = self.get(BlobKind::Config, &manifest.config)?;
        match manifest.parse_config(&bytes) {
            Ok(config) => Ok(config.mismatch(self.wanted).is_none()),
            Err(e) => {
                self.other.get_or_insert(e);
                Ok(false)
            }
        }
    }
}
