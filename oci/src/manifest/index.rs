//! Indexes: images for several platforms. image-spec, image-index.md.

use store::digest::shorten;

use super::media_type::MediaType;
use super::{Descriptor, ManifestError};
use crate::Platform;

/// Images for several platforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Images, further indexes and whatever else somebody put there.
    pub manifests: Vec<Descriptor>,
    /// What can't be used, and why: an error only for who needs it.
    pub(super) unusable: Vec<Unusable>,
}

/// An entry of an index with a digest of another algorithm, without a size, ….
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unusable {
    pub(super) platform: Option<Platform>,
    pub(super) why: String,
}

impl Index {
    /// The entry for a platform: the best variant, the first of equals. Nested indexes come after images, since an index
    /// often has no platform. Attestations (`unknown/unknown`) and artifacts are passed over.
    ///
    /// # Errors
    /// Nothing that runs there.
    pub fn select(&self, wanted: &Platform) -> Result<&Descriptor, ManifestError> {
        self.candidates(wanted).first().copied().ok_or_else(|| self.no_platform(wanted))
    }

    /// The same index with some of its entries.
    pub(crate) fn with_manifests(&self, manifests: Vec<Descriptor>) -> Index {
        Index { manifests, unusable: self.unusable.clone() }
    }

    pub(super) fn no_platform(&self, wanted: &Platform) -> ManifestError {
        let fits = |u: &&Unusable| u.platform.as_ref().is_none_or(|p| wanted.rank(p).is_some());
        if let Some(Unusable { why, .. }) = self.unusable.iter().find(fits) {
            return ManifestError::Entry { wanted: wanted.to_string(), why: why.clone() };
        }
        let mut names: Vec<String> = self
            .manifests
            .iter()
            .filter_map(|d| d.platform.as_ref())
            .filter(|p| p.os != "unknown")
            .take(32)
            .map(|p| shorten(&p.to_string()))
            .collect();
        names.dedup();
        let available = if names.is_empty() { "nothing".into() } else { names.join(", ") };
        ManifestError::NoPlatform { wanted: wanted.clone(), available }
    }

    /// All entries that may be, or may hold, an image for the platform, the best first.
    pub(super) fn candidates(&self, wanted: &Platform) -> Vec<&Descriptor> {
        let rank = |d: &Descriptor| {
            let nested = match MediaType::of(&d.media_type) {
                // Without a type it is most likely an image; what it is shows when it is read.
                MediaType::Manifest | MediaType::Any => false,
                MediaType::Index => true,
                MediaType::Schema1 | MediaType::Other => return None,
            };
            match &d.platform {
                Some(p) => Some((wanted.rank(p)?, nested)),
                // Says nothing, so the config has to; behind all that say it.
                None => Some((u32::MAX, nested)),
            }
        };
        let mut ranked: Vec<_> = self.manifests.iter().filter_map(|d| Some((rank(d)?, d))).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, d)| d).collect()
    }
}
