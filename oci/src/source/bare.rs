//! What `skopeo copy … dir:` and `podman save --format docker-dir` write: a directory with `manifest.json`, `version`, and
//! blobs under the bare hex digits of their digests. containers-transports(5), "dir:path".

use super::layout::BlobNames;
use super::layout_files::LayoutFiles;
use super::{Reader, SourceError, accept, layout};
use crate::policy::{Found, ImageSignature, SIGNATURES_MAX, Subject};
use crate::{BlobKind, Config, ManifestOrIndex};
use store::{Digest, LayerBlob};

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
    let subject = || Subject::Local("dir", files.path(), None);
    accept::first(reader, files.path(), &subject())?;
    let bytes = files.read("manifest.json")?.ok_or_else(|| files.missing("manifest.json"))?;
    let top = Digest::of(&bytes);
    let document = ManifestOrIndex::parse(&bytes, None)
        .map_err(|source| SourceError::Manifest { path: files.path().to_owned(), source })?;
    let names = |part, digest: &Digest| match part {
        BlobKind::Manifest => {
            BlobNames { name: format!("{}.manifest.json", digest.hex()), other: Some(digest.hex()) }
        }
        // The first version had an ending.
        BlobKind::Config => BlobNames { name: digest.hex(), other: Some(format!("{}.tar", digest.hex())) },
    };
    layout::image(reader, files, document, &names, &|inner| {
        let mut found = Found::default();
        // Those of an image in an index have its digest in their names.
        for prefix in inner.map(|d| format!("{}.", d.hex())).into_iter().chain([String::new()]) {
            signatures(files, &prefix, &mut found)?;
        }
        let digests: Vec<Digest> = inner.copied().into_iter().chain([top]).collect();
        accept::signed(reader, files.path(), &subject(), &digests, &found)
    })
}

/// `signature-1` and those that follow.
fn signatures(files: &LayoutFiles, prefix: &str, found: &mut Found) -> Result<(), SourceError> {
    for n in 1..=SIGNATURES_MAX {
        let name = format!("{prefix}signature-{n}");
        let Some(bytes) = files.read(&name)? else { break };
        match ImageSignature::from_file(&bytes) {
            Ok(signature) => found.signatures.push(signature),
            Err(why) => found.problems.push(format!("{name} {why}")),
        }
    }
    Ok(())
}
