//! Image manifests and indexes: pure functions of bytes. image-spec, manifest.md and image-index.md; Docker's "schema 2".

mod wire;

mod config;
pub use config::Config;

mod environment;

use crate::Platform;
use store::{Digest, DigestError, digest::shorten};

/// Bytes. A manifest larger than this is refused; image-spec wants registries to take 4 MiB at least, and clients need no
/// more.
pub const MANIFEST_MAX: u64 = store::cache::BLOB_MAX;

/// How deep indexes may be nested. The spec sets no limit, practice knows one level below the top.
const NESTING_MAX: usize = 4;

/// Layers of one image. Docker's engine stops at 127, since overlayfs does.
pub const LAYERS_MAX: usize = 500;

/// Bytes. All layers of one image together, as the registry has them.
pub const LAYERS_SIZE_MAX: u64 = 256 << 30;

/// Bytes. All layers of one image together, as they are unpacked. What is more than [`tree::Limits::data`] of it can only be
/// zeros, which take time.
const LAYERS_UNPACKED_MAX: u64 = 1 << 40;

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
    /// More than 1 TiB.
    #[error("layers have {len} bytes together when unpacked, expected at most {LAYERS_UNPACKED_MAX}")]
    UnpackedTooLarge {
        /// Bytes.
        len: u64,
    },
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
    /// What can't be used, and why: an error only for who needs it.
    unusable: Vec<Unusable>,
}

/// An entry of an index with a digest of another algorithm, without a size, ….
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unusable {
    platform: Option<Platform>,
    why: String,
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
        match bare(media_type).as_str() {
            "application/vnd.oci.image.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v2+json" => Class::Manifest,
            "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json" => Class::Index,
            "application/vnd.docker.distribution.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v1+prettyjws" => Class::Schema1,
            "" | "application/json" | "application/octet-stream" | "binary/octet-stream" | "text/plain" => {
                Class::Any
            }
            // Some registries send it in spite of a right body, some send a login page: the body decides.
            "text/html" => Class::Any,
            _ => Class::Other,
        }
    }
}

/// What a manifest is called in messages.
const WHAT: &str = "manifest";

impl Document {
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
    /// As [`Document::parse`].
    pub fn parse_served(bytes: &[u8], content_type: Option<&str>) -> Result<Self, ManifestError> {
        let raw: wire::Document = wire::parse(WHAT, bytes)?;
        let own = raw.media_type.as_deref().map(Class::of);
        let says_itself = matches!(own, Some(Class::Manifest | Class::Index));
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
            let (manifests, unusable) = wire::entries(raw.manifests.unwrap_or_default());
            let unusable =
                unusable.into_iter().map(|(platform, e)| Unusable { platform, why: e.to_string() });
            return Ok(Document::Index(Index { manifests, unusable: unusable.collect() }));
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

/// Adds up what the layers of an image have unpacked, as they come.
#[derive(Debug, Default)]
pub(crate) struct Unpacked(std::sync::atomic::AtomicU64);

impl Unpacked {
    pub(crate) fn add(&self, len: u64) -> Result<(), ManifestError> {
        let before = self.0.fetch_add(len, std::sync::atomic::Ordering::Relaxed);
        match before.saturating_add(len) {
            len if len > LAYERS_UNPACKED_MAX => Err(ManifestError::UnpackedTooLarge { len }),
            _ => Ok(()),
        }
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
        // Which of the other types is a config's is for its content to say: see `parse_config`.
        if !matches!(Class::of(&self.config.media_type), Class::Any | Class::Other)
            || layer_kind(&self.config.media_type).is_some()
        {
            return refuse("config".into(), &self.config);
        }
        for layer in &self.layers {
            if !is_layer(&layer.media_type) {
                return refuse(format!("layer {}", layer.digest), layer);
            }
        }
        Ok(())
    }

    /// Reads the config of this manifest, whose digest was checked. Docker 1.10 called it `application/octet-stream`, and other
    /// builders have names of their own, so its content decides.
    ///
    /// # Errors
    /// Not a config, or one of another image; of an artifact that is no image ([`ManifestError::NotAnImage`]).
    pub fn parse_config(&self, bytes: &[u8]) -> Result<Config, ManifestError> {
        let known = matches!(
            bare(&self.config.media_type).as_str(),
            "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
        );
        let config = Config::parse(bytes).and_then(|config| self.check_config(&config).map(|()| config));
        config.map_err(|e| match e {
            e if known => e,
            e @ ManifestError::Ambiguous { .. } => e,
            _ => {
                let media_type = shorten(&self.config.media_type);
                ManifestError::NotAnImage { what: "config".into(), media_type }
            }
        })
    }

    /// Checks that config and manifest are of the same image.
    ///
    /// # Errors
    /// Other numbers of layers.
    fn check_config(&self, config: &Config) -> Result<(), ManifestError> {
        if self.layers.len() != config.diff_ids.len() {
            let (layers, diff_ids) = (self.layers.len(), config.diff_ids.len());
            return Err(ManifestError::LayerCount { layers, diff_ids });
        }
        Ok(())
    }
}

/// A media type in lower case, without parameters.
fn bare(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a `Content-Type` is one that somebody chose for this document, not what a server says of files in general.
fn is_claim(content_type: &str) -> bool {
    bare(content_type).starts_with("application/vnd.")
}

/// What stands behind the name of a layer's media type.
fn layer_kind(media_type: &str) -> Option<&str> {
    [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ]
    .iter()
    .find_map(|prefix| media_type.strip_prefix(prefix))
}

/// Whether a layer of this type may be a tar. How it is compressed is not asked here: that lies often enough, and the blob's
/// first bytes tell. "+encrypted" has to be told apart, and so has what is no tar.
fn is_layer(media_type: &str) -> bool {
    let bare = bare(media_type);
    match layer_kind(&bare) {
        Some(rest) => matches!(
            rest,
            "" | "+gzip"
                | ".gzip"
                | "+zstd"
                | ".zstd"
                | "+xz"
                | ".xz"
                | "+bzip2"
                | ".bzip2"
                | "+zstd:chunked"
        ),
        // Names that say nothing, and those of before OCI 1.0. The diff_id in the config says what it has to be.
        None => matches!(
            bare.as_str(),
            "" | "application/octet-stream"
                | "binary/octet-stream"
                | "application/x-tar"
                | "application/tar"
                | "application/tar+gzip"
                | "application/gzip"
                | "application/x-gzip"
                | "application/zstd"
                | "application/vnd.docker.container.image.rootfs.diff+x-gtar"
                | "application/vnd.oci.image.layer.tar+gzip"
                | "application/vnd.oci.image.rootfs.tar.gzip"
                | "application/vnd.oci.image.serialization.rootfs.tar.gzip"
        ),
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

    /// The same index with some of its entries.
    pub(crate) fn with_manifests(&self, manifests: Vec<Descriptor>) -> Index {
        Index { manifests, unusable: self.unusable.clone() }
    }

    fn no_platform(&self, wanted: &Platform) -> ManifestError {
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
    fn candidates(&self, wanted: &Platform) -> Vec<&Descriptor> {
        let rank = |d: &Descriptor| {
            let nested = match Class::of(&d.media_type) {
                // Without a type it is most likely an image; what it is shows when it is read.
                Class::Manifest | Class::Any => false,
                Class::Index => true,
                Class::Schema1 | Class::Other => return None,
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

/// What is asked for on the way to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A manifest or an index.
    Document,
    /// An image's config.
    Config,
}

/// Goes down from a document to the image for a platform. `fetch` brings the bytes that a descriptor names; they are
/// verified here. Of several entries that tell no platform, their configs do. The descriptor is none if `document` is the
/// image itself.
///
/// # Errors
/// No image for the platform, a malformed document on the way, or what `fetch` says.
pub fn find_manifest<E: From<ManifestError>>(
    document: Document,
    wanted: &Platform,
    fetch: impl FnMut(Part, &Descriptor) -> Result<Vec<u8>, E>,
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

impl<E: From<ManifestError>, F: FnMut(Part, &Descriptor) -> Result<Vec<u8>, E>> Search<'_, F> {
    fn get(&mut self, part: Part, descriptor: &Descriptor) -> Result<Vec<u8>, E> {
        let what = if part == Part::Config { "config" } else { WHAT };
        descriptor.check_document_size(what)?;
        self.left = self.left.checked_sub(1).ok_or(ManifestError::Nesting)?;
        let bytes = (self.fetch)(part, descriptor)?;
        descriptor.verify(&bytes)?;
        Ok(bytes)
    }

    fn go(
        &mut self,
        document: Document,
        own: Option<Descriptor>,
        depth: usize,
    ) -> Result<Option<FoundManifest>, E> {
        let index = match document {
            Document::Manifest(manifest) => return Ok(Some((own, manifest))),
            Document::Index(index) => index,
        };
        if depth >= NESTING_MAX {
            return Err(ManifestError::Nesting.into());
        }
        // The best entry that holds an image. An index inside that turns out to have none for us is passed over.
        let candidates = index.candidates(self.wanted);
        let several = candidates.len() > 1;
        for descriptor in candidates {
            let bytes = self.get(Part::Document, descriptor)?;
            let media_type = Some(descriptor.media_type.as_str()).filter(|m| !m.is_empty());
            let inner = match Document::parse(&bytes, media_type) {
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
            if let Document::Manifest(manifest) = &inner
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
        let bytes = self.get(Part::Config, &manifest.config)?;
        match manifest.parse_config(&bytes) {
            Ok(config) => Ok(config.mismatch(self.wanted).is_none()),
            Err(e) => {
                self.other.get_or_insert(e);
                Ok(false)
            }
        }
    }
}

#[cfg(test)]
mod tests;
