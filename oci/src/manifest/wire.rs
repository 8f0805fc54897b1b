//! The JSON as it is written, before it means anything.
//!
//! oci-spec's types are not used here: they want `layers` and `diff_ids` where Go programs leave out or write `null` for an
//! empty list (zero layers are legal), know `os.version` by another name, and keep digests of any algorithm. The tests
//! read what oci-spec writes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Descriptor as Resolved, MANIFEST_MAX, ManifestError};
use crate::{Digest, Platform};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    #[serde(default)]
    pub schema_version: serde_json::Value,
    pub media_type: Option<String>,
    pub config: Option<Descriptor>,
    pub layers: Option<Vec<Descriptor>>,
    pub manifests: Option<Vec<Descriptor>>,
    /// Schema 1.
    pub fs_layers: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    urls: Option<Vec<String>>,
    platform: Option<WirePlatform>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct WirePlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

impl Descriptor {
    pub(super) fn resolve(self) -> Result<Resolved, ManifestError> {
        Ok(Resolved {
            media_type: self.media_type,
            digest: self.digest.parse::<Digest>()?,
            size: self.size,
            urls: self.urls.unwrap_or_default(),
            platform: self
                .platform
                .filter(|p| !p.os.is_empty() || !p.architecture.is_empty())
                .map(|p| Platform::new(&p.os, &p.architecture, p.variant.as_deref())),
            annotations: self.annotations.unwrap_or_default(),
        })
    }
}

pub(super) fn descriptors(wire: Vec<Descriptor>) -> Result<Vec<Resolved>, ManifestError> {
    wire.into_iter().map(Descriptor::resolve).collect()
}

#[derive(Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub architecture: String,
    pub variant: Option<String>,
    pub config: Option<Process>,
    pub rootfs: Option<Rootfs>,
    /// None of these is a config's; they are here to tell a manifest that is passed off as one.
    pub layers: Option<serde::de::IgnoredAny>,
    pub manifests: Option<serde::de::IgnoredAny>,
    #[serde(rename = "schemaVersion")]
    pub schema_version: Option<serde::de::IgnoredAny>,
    #[serde(rename = "fsLayers")]
    pub fs_layers: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Process {
    pub env: Option<Vec<String>>,
    pub entrypoint: Option<Words>,
    pub cmd: Option<Words>,
    pub working_dir: Option<String>,
    pub user: Option<String>,
    pub labels: Option<BTreeMap<String, String>>,
}

/// Docker wrote a bare string before it wrote lists.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Words {
    List(Vec<String>),
    One(String),
}

impl From<Words> for Vec<String> {
    fn from(words: Words) -> Self {
        match words {
            Words::List(list) => list,
            Words::One(word) => vec![word],
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Rootfs {
    #[serde(default, rename = "type")]
    pub kind: String,
    pub diff_ids: Option<Vec<String>>,
}

pub(super) fn parse<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, ManifestError> {
    if bytes.len() as u64 > MANIFEST_MAX {
        return Err(ManifestError::TooLarge { what, len: bytes.len() as u64 });
    }
    if bytes.trim_ascii_start().starts_with(b"<") {
        return Err(ManifestError::Html { what });
    }
    serde_json::from_slice(bytes).map_err(|source| ManifestError::Json { what, source })
}
