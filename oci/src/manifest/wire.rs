//! The JSON as it is written, before it means anything.
//!
//! oci-spec's types are not used here: they want `layers` and `diff_ids` where Go programs leave out or write `null` for an
//! empty list (zero layers are legal), know `os.version` by another name, and keep digests of any algorithm. The tests
//! read what oci-spec writes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Descriptor as Resolved, MANIFEST_MAX, ManifestError};
use crate::Platform;
use store::Digest;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    #[serde(default)]
    pub(crate) schema_version: Value,
    pub media_type: Option<String>,
    pub config: Option<Descriptor>,
    pub layers: Option<Vec<Descriptor>>,
    pub manifests: Option<Vec<Descriptor>>,
    /// Schema 1.
    pub(crate) fs_layers: Option<serde::de::IgnoredAny>,
}

/// Read field by field once it is used: an index may have entries for other platforms, or for other programs, that mean
/// nothing to us.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    media_type: Option<Value>,
    #[serde(default)]
    digest: Value,
    #[serde(default)]
    size: Value,
    urls: Option<Value>,
    platform: Option<Value>,
    annotations: Option<Value>,
}

#[derive(Deserialize)]
struct WirePlatform {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

/// One field. `what` is the document's name.
fn field<T: DeserializeOwned>(what: &'static str, value: Value) -> Result<T, ManifestError> {
    serde_json::from_value(value).map_err(|source| ManifestError::Json { what, source })
}

fn optional<T: DeserializeOwned + Default>(value: Option<Value>) -> Result<T, ManifestError> {
    value.map_or_else(|| Ok(T::default()), |value| field(WHAT, value))
}

const WHAT: &str = "manifest";

impl Descriptor {
    pub(super) fn resolve(self) -> Result<Resolved, ManifestError> {
        let platform = self.platform()?;
        Ok(Resolved {
            media_type: optional(self.media_type)?,
            digest: field::<String>(WHAT, self.digest)?.parse::<Digest>()?,
            size: field(WHAT, self.size)?,
            urls: self.urls.as_ref().and_then(Value::as_array).map(|urls| texts(urls)).unwrap_or_default(),
            platform,
            annotations: self.annotations.map(labels).unwrap_or_default(),
        })
    }

    fn platform(&self) -> Result<Option<Platform>, ManifestError> {
        let Some(value) = &self.platform else { return Ok(None) };
        let p: WirePlatform = field(WHAT, value.clone())?;
        let (os, architecture) = (p.os.unwrap_or_default(), p.architecture.unwrap_or_default());
        let is_empty = os.is_empty() && architecture.is_empty();
        Ok((!is_empty).then(|| Platform::new(&os, &architecture, p.variant.as_deref())))
    }
}

pub(super) fn descriptors(wire: Vec<Descriptor>) -> Result<Vec<Resolved>, ManifestError> {
    wire.into_iter().map(Descriptor::resolve).collect()
}

/// The entries of an index: those that can be used, and why the others can't.
pub(super) fn entries(wire: Vec<Descriptor>) -> (Vec<Resolved>, Vec<(Option<Platform>, ManifestError)>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for entry in wire {
        // An entry whose platform makes no sense is nobody's.
        let Ok(platform) = entry.platform() else { continue };
        match entry.resolve() {
            Ok(entry) => good.push(entry),
            Err(e) => bad.push((platform, e)),
        }
    }
    (good, bad)
}

/// The strings of a list.
fn texts(values: &[Value]) -> Vec<String> {
    values.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

/// Labels and annotations. Go takes null for an empty string; what else is no string means nothing to anybody.
fn labels(value: Value) -> BTreeMap<String, String> {
    let Value::Object(map) = value else { return BTreeMap::new() };
    let text = |v: Value| match v {
        Value::String(text) => Some(text),
        Value::Null => Some(String::new()),
        _ => None,
    };
    map.into_iter().filter_map(|(name, v)| Some((name, text(v)?))).collect()
}

#[derive(Deserialize)]
pub(super) struct Config {
    pub os: Option<String>,
    pub architecture: Option<String>,
    pub variant: Option<String>,
    pub config: Option<Process>,
    pub rootfs: Option<Rootfs>,
    /// None of these is a config's; they are here to tell a manifest that is passed off as one.
    pub layers: Option<serde::de::IgnoredAny>,
    pub manifests: Option<serde::de::IgnoredAny>,
    #[serde(rename = "schemaVersion")]
    pub(crate) schema_version: Option<serde::de::IgnoredAny>,
    #[serde(rename = "fsLayers")]
    pub(crate) fs_layers: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Process {
    pub env: Option<Vec<Option<String>>>,
    pub entrypoint: Option<Words>,
    pub cmd: Option<Words>,
    pub working_dir: Option<String>,
    pub user: Option<String>,
    labels: Option<Value>,
}

impl Process {
    pub(super) fn labels(&mut self) -> BTreeMap<String, String> {
        self.labels.take().map(labels).unwrap_or_default()
    }
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
    #[serde(rename = "type")]
    pub kind: Option<String>,
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
