//! Image manifests and indexes: pure functions of bytes. image-spec, manifest.md and image-index.md; Docker's "schema 2".

mod wire;

mod config;
pub use config::Config;

mod environment;

use crate::digest::shorten;
use crate::{Digest, DigestError, Platform};

/// Bytes. A manifest larger than this is refused; image-spec wants registries to take 4 MiB at least, and clients need no
/// more.
pub const MANIFEST_MAX: u64 = 4 << 20;

/// How deep indexes may be nested. The spec sets no limit, practice knows one level below the top.
const NESTING_MAX: usize = 4;

/// Layers of one image. Docker's engine stops at 127, since overlayfs does.
pub const LAYERS_MAX: usize = 500;

/// Bytes. All layers of one image together, as the registry has them.
pub const LAYERS_SIZE_MAX: u64 = 256 << 30;

/// How many documents are fetched on the way to one image, so that a hostile index can't keep a client busy.
const FETCHES_MAX: usize = 32;

/// Why a manifest, an index or a config can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Larger than [`MANIFEST_MAX`].
    #[error("{what} is {len} bytes, expected at most {MANIFEST_MAX}")]
    TooLarge {
        /// `manifest`, `config`, ….
        what: &'static str,
        /// Bytes.
        len: u64,
    },
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
        /// Of the bytes.
        got: Digest,
        /// What was asked for.
        expected: Digest,
    },
    /// A web page, as captive portals and misconfigured proxies send it.
    #[error("{what} is HTML, expected JSON")]
    Html {
        /// `manifest` or `config`.
        what: &'static str,
    },
    /// JSON that is not what it should be.
    #[error("{what} is malformed: {source}")]
    Json {
        /// `manifest` or `config`.
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
        /// What it is.
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
    /// Indexes within indexes.
    #[error("index is nested more than {NESTING_MAX} deep or refers to more than {FETCHES_MAX} candidates")]
    Nesting,
    /// The config and the manifest contradict each other.
    #[error("manifest has {layers} layers, but config has {diff_ids} diff_ids")]
    LayerCount {
        /// In the manifest.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// More than [`LAYERS_MAX`].
    #[error("{what} has {layers} layers, expected at most {LAYERS_MAX}")]
    TooManyLayers {
        /// `manifest` or `config`.
        what: &'static str,
        /// How many.
        layers: usize,
    },
    /// More than [`LAYERS_SIZE_MAX`].
    #[error("layers of the manifest have {len} bytes together, expected at most {LAYERS_SIZE_MAX}")]
    LayersTooLarge {
        /// Bytes.
        len: u64,
    },
    /// A config that lacks something or makes no sense.
    #[error("config {0}")]
    Config(String),
    /// A malformed digest.
    #[error(transparent)]
    DigestSyntax(#[from] DigestError),
}

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
    pub annotations: std::collections::BTreeMap<String, String>,
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
    pub fn check_document_size(&self, what: &'static str) -> Result<(), ManifestError> {
        if self.size > MANIFEST_MAX {
            return Err(ManifestError::TooLarge { what, len: self.size });
        }
        Ok(())
    }
}

/// One image: its config and its layers, the lowest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The config.
    pub config: Descriptor,
    /// The layers in the order in which they are applied.
    pub layers: Vec<Descriptor>,
}

/// Images for several platforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Images, further indexes and whatever else somebody put there.
    pub manifests: Vec<Descriptor>,
}

/// What a manifest request can bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// A choice of images.
    Index(Index),
}

/// What a media type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Manifest,
    Index,
    Schema1,
    /// `application/json` and the like: says nothing.
    Any,
    Other,
}

impl Class {
    fn of(media_type: &str) -> Self {
        let bare = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match bare.as_str() {
            "application/vnd.oci.image.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v2+json" => Class::Manifest,
            "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json" => Class::Index,
            "application/vnd.docker.distribution.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v1+prettyjws" => Class::Schema1,
            "" | "application/json" | "application/octet-stream" | "text/plain" => Class::Any,
            // Some registries send it in spite of a right body, some send a login page: the body decides.
            "text/html" => Class::Any,
            _ => Class::Other,
        }
    }
}

impl Document {
    /// Reads a manifest or an index. `media_type` is the descriptor's or the `Content-Type` header's; it may be missing
    /// or say nothing, but it may not contradict the document.
    ///
    /// # Errors
    /// Anything else than an unambiguous schema 2 or OCI document.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, ManifestError> {
        const WHAT: &str = "manifest";
        let raw: wire::Document = wire::parse(WHAT, bytes)?;
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
            match Class::of(given) {
                Class::Any => {}
                Class::Index if !is_manifest => {}
                Class::Manifest if !is_index => {}
                Class::Schema1 => return Err(ManifestError::Schema1),
                Class::Other => {
                    let (what, media_type) = (WHAT.into(), shorten(given));
                    return Err(ManifestError::NotAnImage { what, media_type });
                }
                Class::Index | Class::Manifest => {
                    let kind = if is_index { "index" } else { "manifest" };
                    return ambiguous(format!("media type {given:?} on an image {kind}"));
                }
            }
        }
        let classes = [media_type, raw.media_type.as_deref()].map(|m| m.map_or(Class::Any, Class::of));
        if is_index || (!is_manifest && classes.contains(&Class::Index)) {
            let manifests = raw.manifests.unwrap_or_default();
            return Ok(Document::Index(Index { manifests: wire::descriptors(manifests)? }));
        }
        let Some(config) = raw.config else {
            return ambiguous("it has neither \"manifests\" nor \"config\"".into());
        };
        let manifest = Manifest {
            config: config.resolve()?,
            layers: wire::descriptors(raw.layers.unwrap_or_default())?,
        };
        manifest.check_media_types()?;
        check_layer_count(WHAT, manifest.layers.len())?;
        let len = manifest.layers.iter().fold(0u64, |sum, l| sum.saturating_add(l.size));
        if len > LAYERS_SIZE_MAX {
            return Err(ManifestError::LayersTooLarge { len });
        }
        Ok(Document::Manifest(manifest))
    }
}

fn check_layer_count(what: &'static str, layers: usize) -> Result<(), ManifestError> {
    if layers > LAYERS_MAX {
        return Err(ManifestError::TooManyLayers { what, layers });
    }
    Ok(())
}

impl Manifest {
    fn check_media_types(&self) -> Result<(), ManifestError> {
        let refuse = |what: String, d: &Descriptor| {
            Err(ManifestError::NotAnImage { what, media_type: shorten(&d.media_type) })
        };
        match self.config.media_type.as_str() {
            "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json" => {
            }
            _ => return refuse("config".into(), &self.config),
        }
        for layer in &self.layers {
            // The rest after "tar" says how it is compressed. It lies often enough that the blob's first bytes are asked
            // instead, but "+encrypted" has to be told apart, and so has what is no tar.
            let rest = [
                "application/vnd.oci.image.layer.v1.tar",
                "application/vnd.oci.image.layer.nondistributable.v1.tar",
                "application/vnd.docker.image.rootfs.diff.tar",
                "application/vnd.docker.image.rootfs.foreign.diff.tar",
            ]
            .iter()
            .find_map(|prefix| layer.media_type.strip_prefix(prefix));
            match rest {
                Some("" | "+gzip" | ".gzip" | "+zstd" | ".zstd" | "+xz" | ".xz" | "+bzip2" | ".bzip2") => {}
                _ => return refuse(format!("layer {}", layer.digest), layer),
            }
        }
        Ok(())
    }

    /// Checks that config and manifest are of the same image.
    ///
    /// # Errors
    /// Other numbers of layers.
    pub fn check_config(&self, config: &Config) -> Result<(), ManifestError> {
        if self.layers.len() != config.diff_ids.len() {
            let (layers, diff_ids) = (self.layers.len(), config.diff_ids.len());
            return Err(ManifestError::LayerCount { layers, diff_ids });
        }
        Ok(())
    }
}

impl Index {
    /// The entry for a platform: the best variant, the first of equals. Nested indexes come after images, since an index
    /// often tells no platform. Attestations (`unknown/unknown`) and artifacts are passed over.
    ///
    /// # Errors
    /// Nothing that runs there.
    pub fn select(&self, wanted: &Platform) -> Result<&Descriptor, ManifestError> {
        self.candidates(wanted).first().copied().ok_or_else(|| self.no_platform(wanted))
    }

    fn no_platform(&self, wanted: &Platform) -> ManifestError {
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
    fn candidates(&self, wanted: &Platform) -> Vec<&Descriptor> {
        let rank = |d: &Descriptor| {
            let nested = match Class::of(&d.media_type) {
                Class::Manifest => false,
                Class::Index => true,
                _ => return None,
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

/// Goes down from a document to the image for a platform. `fetch` brings the bytes that a descriptor names; they are
/// verified here. The descriptor is none if `document` is the image itself.
///
/// # Errors
/// No image for the platform, a malformed document on the way, or what `fetch` says.
pub fn find_manifest<E: From<ManifestError>>(
    document: Document,
    wanted: &Platform,
    mut fetch: impl FnMut(&Descriptor) -> Result<Vec<u8>, E>,
) -> Result<(Option<Descriptor>, Manifest), E> {
    fn go<E: From<ManifestError>>(
        document: Document,
        own: Option<Descriptor>,
        wanted: &Platform,
        depth: usize,
        left: &mut usize,
        fetch: &mut dyn FnMut(&Descriptor) -> Result<Vec<u8>, E>,
    ) -> Result<Option<(Option<Descriptor>, Manifest)>, E> {
        let index = match document {
            Document::Manifest(manifest) => return Ok(Some((own, manifest))),
            Document::Index(index) => index,
        };
        if depth >= NESTING_MAX {
            return Err(ManifestError::Nesting.into());
        }
        // The best entry that holds an image. An index inside that turns out to have none for us is passed over.
        for descriptor in index.candidates(wanted) {
            descriptor.check_document_size("manifest")?;
            *left = left.checked_sub(1).ok_or(ManifestError::Nesting)?;
            let bytes = fetch(descriptor)?;
            descriptor.verify(&bytes)?;
            let inner = Document::parse(&bytes, Some(&descriptor.media_type))?;
            if let Some(found) = go(inner, Some(descriptor.clone()), wanted, depth + 1, left, fetch)? {
                return Ok(Some(found));
            }
        }
        if depth == 0 { Err(index.no_platform(wanted).into()) } else { Ok(None) }
    }
    match go(document, None, wanted, 0, &mut FETCHES_MAX.clone(), &mut fetch)? {
        Some(found) => Ok(found),
        None => Err(ManifestError::Nesting.into()),
    }
}

#[cfg(test)]
mod tests;
