//! OCI image layouts. image-spec, image-layout.md.

use serde::Deserialize;

use super::layers::{Wanted, get_all};
use super::store::Store;
use super::{Reader, SourceError};
use crate::digest::shorten;
use crate::{Config, Descriptor, Digest, Document, Index, LayerBlob, ManifestError, find_manifest};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The whole reference; containerd and docker save write it beside the tag.
const FULL_NAME: &str = "io.containerd.image.name";

#[derive(Deserialize)]
struct Marker {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

pub(super) fn is_layout(store: &Store) -> Result<bool, SourceError> {
    Ok(store.file("oci-layout")?.is_some() && store.file("index.json")?.is_some())
}

pub(super) fn read(
    reader: &Reader<'_>,
    store: &Store,
    tag: Option<&str>,
) -> Result<(Config, Vec<LayerBlob>), SourceError> {
    let path = || store.path().to_owned();
    let wrong = |source: ManifestError| SourceError::Manifest { path: path(), source };
    let kind = |why| SourceError::Kind { path: path(), why };
    let marker = store.read("oci-layout")?;
    let marker = marker.ok_or_else(|| kind("not an OCI image layout: the file oci-layout is missing"))?;
    let marker: Marker = serde_json::from_slice(&marker)
        .map_err(|source| wrong(ManifestError::Json { what: "oci-layout", source }))?;
    if !marker.version.starts_with("1.") {
        return Err(kind("OCI image layout has an unknown version, expected 1.0.0"));
    }
    let index = store.read("index.json")?.ok_or_else(|| store.missing("index.json"))?;
    let Document::Index(index) = Document::parse(&index, None).map_err(wrong)? else {
        return Err(kind("index.json is an image manifest, expected an index"));
    };
    let document = Document::Index(choose(store, index, tag)?);
    let blob = |descriptor: &Descriptor| {
        let name = blob_name(&descriptor.digest);
        store.read(&name)?.ok_or_else(|| store.missing(name))
    };
    // find_manifest wants one error type for what it says itself and for what `blob` says.
    let found = find_manifest(document, reader.platform, |d| blob(d).map_err(Either::Source));
    let (_, manifest) = found.map_err(|e| match e {
        Either::Source(e) => e,
        Either::Manifest(e) => wrong(e),
    })?;
    manifest.config.check_document_size("config").map_err(wrong)?;
    let bytes = blob(&manifest.config)?;
    manifest.config.verify(&bytes).map_err(wrong)?;
    let config = Config::parse(&bytes).map_err(wrong)?;
    manifest.check_config(&config).map_err(wrong)?;
    let wanted: Vec<Wanted> = manifest
        .layers
        .iter()
        .zip(&config.diff_ids)
        .map(|(d, diff_id)| Wanted {
            name: blob_name(&d.digest),
            blob: Some((d.digest, d.size)),
            diff_id: *diff_id,
            // CVE-2020-15157.
            note: if d.urls.is_empty() { "" } else { "; its other URLs are not followed" },
        })
        .collect();
    let layers = get_all(reader, store, &wanted)?;
    Ok((config, layers))
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

enum Either {
    Source(SourceError),
    Manifest(ManifestError),
}

impl From<ManifestError> for Either {
    fn from(e: ManifestError) -> Self {
        Either::Manifest(e)
    }
}

fn names(descriptor: &Descriptor) -> impl Iterator<Item = &str> {
    [REF_NAME, FULL_NAME].into_iter().filter_map(|key| descriptor.annotations.get(key)).map(String::as_str)
}

fn list(index: &Index) -> String {
    let mut all: Vec<String> = index.manifests.iter().filter_map(|d| names(d).next()).map(shorten).collect();
    all.sort();
    all.dedup();
    all.truncate(32);
    if all.is_empty() { "images without names".into() } else { all.join(", ") }
}

/// The entries of `index.json` that may be meant.
fn choose(store: &Store, index: Index, tag: Option<&str>) -> Result<Index, SourceError> {
    let path = store.path().to_owned();
    if let Some(tag) = tag {
        let manifests: Vec<Descriptor> =
            index.manifests.iter().filter(|d| names(d).any(|n| n == tag)).cloned().collect();
        if manifests.is_empty() {
            return Err(SourceError::NoTag { path, tag: tag.into(), names: list(&index) });
        }
        return Ok(Index { manifests });
    }
    // Several names for one image, or one image for several platforms, need no choice.
    let mut manifests: Vec<Descriptor> = Vec::new();
    let mut named: Vec<Option<String>> = Vec::new();
    for d in &index.manifests {
        if manifests.iter().any(|m| m.digest == d.digest) {
            continue;
        }
        let name = names(d).next().map(str::to_owned);
        if !named.contains(&name) {
            named.push(name);
        }
        manifests.push(d.clone());
    }
    let without_platform = manifests.iter().filter(|d| d.platform.is_none()).count();
    if named.len() > 1 || (without_platform > 1 && manifests.len() > 1) {
        return Err(SourceError::Several { path, names: list(&index) });
    }
    Ok(Index { manifests })
}
