//! OCI image layouts. image-spec, image-layout.md.

use serde::Deserialize;

use super::choice::{Candidate, named, no_such, several};
use super::layers::{WantedLayer, get_all};
use super::layout_files::LayoutFiles;
use super::{Reader, SourceError, accept};
use crate::{
    BlobKind, Config, Descriptor, ImageSelector, Index, ManifestError, ManifestOrIndex, find_manifest,
};
use store::{Digest, LayerBlob};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The whole reference; containerd and docker save write it beside the tag.
const FULL_NAME: &str = "io.containerd.image.name";

#[derive(Deserialize)]
struct Marker {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

/// A root file system may have anything under these names, so that what can't be read is no error.
pub(super) fn is_layout(files: &LayoutFiles) -> bool {
    ["oci-layout", "index.json"].iter().all(|name| matches!(files.file(name), Ok(Some(_))))
}

pub(super) fn read(
    reader: &Reader<'_>,
    files: &LayoutFiles,
    transport: &'static str,
    which: Option<&ImageSelector>,
) -> Result<(Config, Vec<LayerBlob>), SourceError> {
    let name = match which {
        Some(ImageSelector::Name(name)) => Some(name.as_str()),
        _ => None,
    };
    accept::unsigned(reader, transport, files.path(), name)?;
    let path = || files.path().to_owned();
    let wrong = |source: ManifestError| SourceError::Manifest { path: path(), source };
    let kind = |why| SourceError::Kind { path: path(), why };
    let marker = files.read("oci-layout")?;
    let marker = marker.ok_or_else(|| kind("not an OCI image layout: the file oci-layout is missing"))?;
    let marker: Marker = serde_json::from_slice(&marker)
        .map_err(|source| wrong(ManifestError::Json { what: "oci-layout", source }))?;
    if !marker.version.starts_with("1.") {
        return Err(kind("OCI image layout has an unknown version, expected 1.0.0"));
    }
    let index = files.read("index.json")?.ok_or_else(|| files.missing("index.json"))?;
    let ManifestOrIndex::Index(index) = ManifestOrIndex::parse(&index, None).map_err(wrong)? else {
        return Err(kind("index.json is an image manifest, expected an index"));
    };
    let document = ManifestOrIndex::Index(choose(files, transport, index, which)?);
    let names = |_, digest: &Digest| BlobNames { name: blob_name(digest), other: None };
    image(reader, files, document, &names, &|_| Ok(()))
}

/// The files that a blob may be in.
pub(super) struct BlobNames {
    pub name: String,
    /// Where it is if it isn't there.
    pub other: Option<String>,
}

impl BlobNames {
    fn all(&self) -> impl Iterator<Item = &str> {
        [Some(&self.name), self.other.as_ref()].into_iter().flatten().map(String::as_str)
    }
}

/// Where a blob is, by its kind: manifests may have other names than configs and layers.
pub(super) type Names<'a> = &'a dyn Fn(BlobKind, &Digest) -> BlobNames;

/// The image for the platform. `check` is asked whether the image is accepted before anything of it is read; it gets the digest of
/// its manifest if that isn't `document`.
pub(super) fn image(
    reader: &Reader<'_>,
    files: &LayoutFiles,
    document: ManifestOrIndex,
    names: Names<'_>,
    check: &dyn Fn(Option<&Digest>) -> Result<(), SourceError>,
) -> Result<(Config, Vec<LayerBlob>), SourceError> {
    let wrong = |source: ManifestError| SourceError::Manifest { path: files.path().to_owned(), source };
    let blob = |part: BlobKind, descriptor: &Descriptor| {
        let names = names(part, &descriptor.digest);
        for name in names.all() {
            if let Some(bytes) = files.read(name)? {
                return Ok(bytes);
            }
        }
        Err(files.missing(names.name))
    };
    // find_manifest wants one error type for what it says itself and for what `blob` says.
    let found = find_manifest(document, reader.platform, |part, d| blob(part, d).map_err(Either::Source));
    let (descriptor, manifest) = found.map_err(|e| match e {
        Either::Source(e) => e,
        Either::Manifest(e) => wrong(e),
    })?;
    check(descriptor.as_ref().map(|d| &d.digest))?;
    manifest.config.check_document_size("config").map_err(wrong)?;
    let bytes = blob(BlobKind::Config, &manifest.config)?;
    manifest.config.verify(&bytes).map_err(wrong)?;
    let config = manifest.parse_config(&bytes).map_err(wrong)?;
    let mut wanted = Vec::new();
    for (d, diff_id) in manifest.layers.iter().zip(&config.diff_ids) {
        let BlobNames { name, other } = names(BlobKind::Config, &d.digest);
        let name = match (files.file(&name)?, other) {
            (None, Some(other)) => other,
            _ => name,
        };
        wanted.push(WantedLayer {
            name,
            blob: Some((d.digest, d.size)),
            diff_id: *diff_id,
            // CVE-2020-15157.
            note: if d.urls.is_empty() { "" } else { "; its other URLs are not followed" },
        });
    }
    let layers = get_all(reader, files, &wanted)?;
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

/// The name that tells most first: of several images that docker saved, all may have the tag `latest`.
fn names(descriptor: &Descriptor) -> impl Iterator<Item = &str> {
    [FULL_NAME, REF_NAME].into_iter().filter_map(|key| descriptor.annotations.get(key)).map(String::as_str)
}

/// The entries of `index.json` that may be meant.
fn choose(
    files: &LayoutFiles,
    transport: &'static str,
    index: Index,
    which: Option<&ImageSelector>,
) -> Result<Index, SourceError> {
    let all = &index.manifests;
    let candidates: Vec<Candidate> = all
        .iter()
        .map(|d| Candidate { names: names(d).map(str::to_owned).collect(), digest: d.digest.to_string() })
        .collect();
    let manifests: Vec<Descriptor> = match which {
        None => all.clone(),
        Some(ImageSelector::Position(n)) => all.get(*n).into_iter().cloned().collect(),
        Some(ImageSelector::Name(name)) => {
            named(&candidates, name).into_iter().map(|i| all[i].clone()).collect()
        }
    };
    if let (true, Some(which)) = (manifests.is_empty(), which) {
        return Err(no_such(files, transport, &candidates, which));
    }
    // Several names for one image, or one image for several platforms, need no choice.
    let mut chosen: Vec<Descriptor> = Vec::new();
    let mut named: Vec<Option<String>> = Vec::new();
    for d in manifests {
        if chosen.iter().any(|m| m.digest == d.digest) {
            continue;
        }
        let name = names(&d).next().map(str::to_owned);
        if !named.contains(&name) {
            named.push(name);
        }
        chosen.push(d);
    }
    // Without a name there is no telling whether two entries are one image for two platforms.
    let unknown = chosen.iter().filter(|d| d.platform.is_none()).count() > 1 && named.contains(&None);
    if named.len() > 1 || unknown {
        return Err(several(files, transport, &candidates));
    }
    Ok(index.with_manifests(chosen))
}
