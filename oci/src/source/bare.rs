//! What `skopeo copy … dir:` and `podman save --format docker-dir` write: a directory with `manifest.json`, `version`, and
//! blobs under the bare hex digits of their digests. containers-transports(5), "dir:path".

use super::layout::BlobNames;
use super::layout_files::LayoutFiles;
use super::{Reader, SourceError, layout};
use crate::{BlobKind, Config, ManifestOrIndex};
use store::LayerBlob;

/// What the file `version` starts with. It is what tells such a directory from a root file system.
const VERSION: &[u8] = b"Directory Transport Version: ";

pub(super) fn is_image(files: &LayoutFiles) -> bool {
    // One that is far too large is somebody else's file.
    let version = files.read("version").ok().flatten();
    version.is_some_and(|v| v.starts_with(VERSION)) && matches!(files.file("manifest.json"), Ok(Some(_)))
}

pub(super) fn read(
    reader: &Reader<'_>,
    files: &LayoutFiles,
) -> Result<(Config, Vec<LayerBlob>), SourceError> {
    let bytes = files.read("manifest.json")?.ok_or_else(|| files.missing("manifest.json"))?;
    let document = ManifestOrIndex::parse(&bytes, None)
        .map_err(|source| SourceError::Manifest { path: files.path().to_owned(), source })?;
    layout::image(reader, files, document, &|part, digest| match part {
        BlobKind::Manifest => {
            BlobNames { name: format!("{}.manifest.json", digest.hex()), other: Some(digest.hex()) }
        }
        // The first version had an ending.
        BlobKind::Config => BlobNames { name: digest.hex(), other: Some(format!("{}.tar", digest.hex())) },
    })
}
