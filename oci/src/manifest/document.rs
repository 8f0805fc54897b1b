//! What a registry serves as a manifest: one image's, or an index.

use store::digest::shorten;

use super::index::Unusable;
use super::limits::LAYERS_SIZE_MAX;
use super::media_type::{MediaType, is_claim};
use super::{Index, Manifest, ManifestError, layers, wire};

/// What a manifest is called in messages.
const WHAT: &str = "manifest";

/// What a manifest request can bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestOrIndex {
    /// One image.
    Manifest(Manifest),
    /// A choice of images.
    Index(Index),
}

impl ManifestOrIndex {
    /// Reads a manifest or an index. `media_type` is the descriptor's; it may be missing or say nothing, but it may not
    /// contradict the document.
    ///
    /// # Errors
    /// Anything else than an unambiguous schema 2 or OCI document.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, ManifestError> {
        Self::read(wire::parse(WHAT, bytes)?, media_type)
    }

    /// Reads what a registry served under this `Content-Type`. The header isn't covered by any digest and is often wrong
    /// (`binary/octet-stream` of a blob store, a proxy's default), so a document that says itself what it is, and is that, is
    /// believed. One that doesn't may not be contradicted.
    ///
    /// # Errors
    /// As [`ManifestOrIndex::parse`].
    pub(crate) fn parse_served(bytes: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        let raw: wire::Document = wire::parse(WHAT, bytes)?;
        let own = raw.media_type.as_deref().map(MediaType::of);
        let says_itself = matches!(own, Some(MediaType::Manifest | MediaType::Index));
        let content_type = content_type.filter(|t| !says_itself && is_claim(t));
        Self::read(raw, content_type)
    }

    fn read(raw: wire::Document, media_type: Option<&str>) -> Result<Self, ManifestError> {
        if raw.fs_layers.is_some() || matches!(raw.schema_version.as_u64(), Some(1)) {
            return Err(ManifestError::Schema1);
        }
        if raw.schema_version.as_u64() != Some(2) {
            return Err(ManifestError::SchemaVersion(shorten(&raw.schema_version.to_string())));
        }
        let is_index = raw.manifests.is_some();
        let is_manifest = raw.config.is_some() || raw.layers.is_some();
        let ambiguous = |why: String| Err(ManifestError::Ambiguous { what: WHAT, why });
        if is_index && is_manifest {
            return ambiguous("it has both \"manifests\" and \"config\" or \"layers\"".into());
        }
        for given in [media_type, raw.media_type.as_deref()].into_iter().flatten() {
            match MediaType::of(given) {
                MediaType::Any => {}
                MediaType::Index if !is_manifest => {}
                MediaType::Manifest if !is_index => {}
                MediaType::Schema1 => return Err(ManifestError::Schema1),
                MediaType::Other => {
                    let (what, media_type) = (WHAT.into(), shorten(given));
                    return Err(ManifestError::NotAnImage { what, media_type });
                }
                MediaType::Index | MediaType::Manifest => {
                    let kind = if is_index { "index" } else { "manifest" };
                    return ambiguous(format!("media type {given:?} on an image {kind}"));
                }
            }
        }
        let classes =
            [media_type, raw.media_type.as_deref()].map(|m| m.map_or(MediaType::Any, MediaType::of));
        if is_index || (!is_manifest && classes.contains(&MediaType::Index)) {
            let (manifests, unusable) = wire::entries(raw.manifests.unwrap_or_default());
            let unusable =
                unusable.into_iter().map(|(platform, e)| Unusable { platform, why: e.to_string() });
            return Ok(ManifestOrIndex::Index(Index { manifests, unusable: unusable.collect() }));
        }
        let Some(config) = raw.config else {
            return ambiguous("it has neither \"manifests\" nor \"config\"".into());
        };
        let manifest = Manifest {
            config: config.resolve()?,
            layers: wire::descriptors(raw.layers.unwrap_or_default())?,
        };
        manifest.check_media_types()?;
        layers::check_count(WHAT, manifest.layers.len())?;
        let len = manifest.layers.iter().fold(0u64, |sum, l| sum.saturating_add(l.size));
        if len > LAYERS_SIZE_MAX {
            return Err(ManifestError::LayersTooLarge { len });
        }
        Ok(ManifestOrIndex::Manifest(manifest))
    }
}
