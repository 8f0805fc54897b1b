//! The layers of a local image: in place, or through the cache.

use tree::{Content, parallel};

use super::layout_files::{self, LayoutFiles};
use super::{Reader, SourceError};
use crate::manifest::UnpackedSize;
use store::{CompressionFormat, Digest, ExpectedLayer, LayerBlob, compress::SNIFF};

/// A layer that is wanted.
#[derive(Debug, Clone)]
pub(super) struct WantedLayer {
    /// The name of its file in the layout.
    pub name: String,
    /// Digest and length of that file, where the image tells.
    pub blob: Option<(Digest, u64)>,
    pub diff_id: Digest,
    /// Said if the file is missing.
    pub note: &'static str,
}

/// Gets all layers, several at a time.
pub(super) fn get_all(
    reader: &Reader<'_>,
    files: &LayoutFiles,
    wanted: &[WantedLayer],
) -> Result<Vec<LayerBlob>, SourceError> {
    // Inflating one layer keeps a core busy and hashing it half of another one.
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let unpacked = UnpackedSize::default();
    let too_large = |source| SourceError::Manifest { path: files.path().to_owned(), source };
    parallel::try_map(threads, wanted, |wanted| {
        let layer = get(reader, files, wanted)?;
        unpacked.add(layer.len).map_err(too_large)?;
        Ok(layer)
    })
}

fn get(reader: &Reader<'_>, files: &LayoutFiles, wanted: &WantedLayer) -> Result<LayerBlob, SourceError> {
    let path = || files.path().to_owned();
    let in_cache = |source| SourceError::Cache { path: path(), source };
    if let Some((digest, _)) = &wanted.blob {
        // Both digests were checked when it came in, and that one belongs to the other.
        let layer = reader.cache.layer_by_digest(digest).map_err(in_cache)?;
        if let Some(layer) = layer.filter(|l| l.diff_id == wanted.diff_id) {
            return Ok(layer);
        }
    }
    let missing = || SourceError::Missing { path: path(), name: wanted.name.clone(), note: wanted.note };
    let content = files.file(&wanted.name)?.ok_or_else(missing)?;
    if let Some((digest, expected)) = wanted.blob
        && content.len() != expected
    {
        return Err(SourceError::Size { path: path(), digest, got: content.len(), expected });
    }
    if let Some(layer) = in_place(files, wanted, &content)? {
        return Ok(layer);
    }
    let expect = ExpectedLayer {
        digest: wanted.blob.map(|(digest, _)| digest),
        size: Some(content.len()),
        diff_id: Some(wanted.diff_id),
    };
    reader.cache.ingest_layer(content.reader(), &expect, reader.events).map_err(in_cache)
}

/// The layer where it is, if it isn't compressed; its digest is checked all the same.
fn in_place(
    files: &LayoutFiles,
    wanted: &WantedLayer,
    content: &Content,
) -> Result<Option<LayerBlob>, SourceError> {
    let Some((blob, offset)) = content.place() else { return Ok(None) };
    let path = files.path();
    let head = content
        .head(SNIFF)
        .map_err(|source| SourceError::Content { path: path.join(&wanted.name), source })?;
    if !matches!(CompressionFormat::sniff(&head), Ok(CompressionFormat::None)) {
        return Ok(None);
    }
    let got = layout_files::digest(path, content)?;
    for expected in wanted.blob.map(|(digest, _)| digest).into_iter().chain([wanted.diff_id]) {
        if got != expected {
            return Err(SourceError::Digest { path: path.to_owned(), got, expected });
        }
    }
    let digest = wanted.blob.map(|(digest, _)| digest);
    Ok(Some(LayerBlob { diff_id: got, digest, blob: blob.clone(), offset, len: content.len() }))
}
