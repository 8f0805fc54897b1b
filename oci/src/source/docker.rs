//! What `docker save` and `podman save` write. moby, image/spec/v1.2.md, "Combined Image JSON + Filesystem Changeset Format".

use serde::Deserialize;

use super::choice::{Candidate, named, no_such, several};
use super::layers::{WantedLayer, get_all};
use super::layout_files::LayoutFiles;
use super::{Reader, SourceError, accept};
use crate::{Config, ImageSelector, ManifestError};
use store::{Digest, LayerBlob, digest::shorten};

/// As references call such archives.
pub(super) const TRANSPORT: &str = "docker-archive";

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags")]
    repo_tags: Option<Vec<String>>,
    #[serde(rename = "Layers")]
    layers: Option<Vec<String>>,
}

/// Whether a tar is such an archive, and not a root file system that happens to have a `/manifest.json`.
pub(super) fn is_archive(files: &LayoutFiles) -> bool {
    // One that is far too large, or no JSON, is somebody else's file.
    let manifest = files.read("manifest.json").ok().flatten();
    let items = manifest.and_then(|bytes| serde_json::from_slice::<Vec<Item>>(&bytes).ok());
    match items.as_deref() {
        Some([first, ..]) => matches!(files.file(&first.config), Ok(Some(_))),
        _ => false,
    }
}

pub(super) fn read(
    reader: &Reader<'_>,
    files: &LayoutFiles,
    which: Option<&ImageSelector>,
) -> Result<(Config, Vec<LayerBlob>), SourceError> {
    accept::unsigned(reader, TRANSPORT, files.path(), None)?;
    let path = || files.path().to_owned();
    let wrong = |source| SourceError::Manifest { path: path(), source };
    let kind = |why| SourceError::Kind { path: path(), why };
    let Some(manifest) = files.read("manifest.json")? else {
        return Err(kind(match files.file("repositories")? {
            Some(_) => "archive was written by Docker before 1.10, expected one with a manifest.json",
            None => "not a docker save archive: the file manifest.json is missing",
        }));
    };
    let what = "manifest.json";
    let items: Vec<Item> =
        serde_json::from_slice(&manifest).map_err(|source| wrong(ManifestError::Json { what, source }))?;
    if items.is_empty() {
        return Err(kind("manifest.json is empty, expected an image"));
    }
    let first = choose(files, &items, which)?;
    let bytes = files.read(&first.config)?.ok_or_else(|| files.missing(shorten(&first.config)))?;
    if let Some(expected) = first.id() {
        let got = Digest::of(&bytes);
        if got != expected {
            return Err(wrong(ManifestError::Digest { got, expected }));
        }
    }
    let config = Config::parse(&bytes).map_err(wrong)?;
    let layers = first.layers.as_deref().unwrap_or_default();
    if layers.len() != config.diff_ids.len() {
        let (layers, diff_ids) = (layers.len(), config.diff_ids.len());
        return Err(wrong(ManifestError::LayerCount { layers, diff_ids }));
    }
    let wanted: Vec<WantedLayer> = layers
        .iter()
        .zip(&config.diff_ids)
        .map(|(name, diff_id)| WantedLayer { name: name.clone(), blob: None, diff_id: *diff_id, note: "" })
        .collect();
    let layers = get_all(reader, files, &wanted)?;
    Ok((config, layers))
}

impl Item {
    /// The file is named by its digest: HEX.json, or blobs/sha256/HEX.
    fn id(&self) -> Option<Digest> {
        let stem = self.config.rsplit('/').next().unwrap_or_default();
        Digest::from_hex(stem.strip_suffix(".json").unwrap_or(stem))
    }
}

fn choose<'a>(
    files: &LayoutFiles,
    items: &'a [Item],
    which: Option<&ImageSelector>,
) -> Result<&'a Item, SourceError> {
    let candidate = |item: &Item| Candidate {
        names: item.repo_tags.clone().unwrap_or_default(),
        digest: item.id().map(|d| d.to_string()).unwrap_or_default(),
    };
    let candidates: Vec<Candidate> = items.iter().map(candidate).collect();
    let found: Vec<&Item> = match which {
        None => items.iter().collect(),
        Some(ImageSelector::Position(n)) => items.get(*n).into_iter().collect(),
        Some(ImageSelector::Name(name)) => named(&candidates, name).into_iter().map(|i| &items[i]).collect(),
    };
    match (found.as_slice(), which) {
        // Several names for one image need no choice.
        ([first, rest @ ..], _) if rest.iter().all(|i| i.config == first.config) => Ok(first),
        ([], Some(which)) => Err(no_such(files, TRANSPORT, &candidates, which)),
        _ => Err(several(files, TRANSPORT, &candidates)),
    }
}
