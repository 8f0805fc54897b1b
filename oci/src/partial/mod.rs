//! Layers of which only what is read is fetched: those in eStargz and zstd:chunked.
//!
//! Both are tars, each file of which is compressed by itself, with a table of contents behind them: a JSON document whose digest stands in
//! the manifest. From the table comes a tar with the same headers and with holes where the files' content is; a hole is filled when it is
//! first read, and its bytes are compared with the digest that the table has for them. Whoever applies layers reads it like any other tar.
//!
//! What the table says of a layer is its maker's word: the layer's own digest and diff_id can't be compared without all of it. So what comes
//! out has a diff_id of its own, under which nothing of the whole layer is ever found, and nothing of it where the whole layer is meant.
//!
//! <https://github.com/containerd/stargz-snapshotter/blob/main/docs/estargz.md>,
//! <https://github.com/containers/storage/blob/main/docs/containers-storage-zstd-chunked.md>

mod header;

mod table;

mod location;

mod remote;

mod chunks;

use std::path::PathBuf;
use std::sync::Arc;

use store::{Cache, CacheError, Digest, DownloadError, LayerBlob};
use tree::Blob;

use crate::{Client, Descriptor, Endpoint};
use chunks::Chunks;
use location::Location;
use remote::Remote;
use table::{Table, TableError};

/// Why a layer has to be fetched as a whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartialError {
    /// The table can't be had.
    #[error("table of contents: {0}")]
    Fetch(#[from] DownloadError),
    /// The table has something that can't be checked or that isn't known.
    #[error("table of contents: {0}")]
    Table(#[from] TableError),
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Where a layer is, and where what was read of it goes.
pub(crate) struct Place<'a> {
    pub(crate) client: &'a Arc<Client>,
    pub(crate) endpoints: &'a [Endpoint],
    pub(crate) cache: &'a Cache,
    pub(crate) offline: bool,
}

/// A layer that is fetched as it is read; none if its manifest names no table of contents.
///
/// # Errors
/// The table can't be had or doesn't say all that it should.
pub(crate) fn open(
    place: &Place<'_>,
    descriptor: &Descriptor,
    diff_id: &Digest,
) -> Result<Option<LayerBlob>, PartialError> {
    let Some(location) = Location::of(descriptor) else { return Ok(None) };
    let remote = Remote {
        client: place.client.clone(),
        endpoints: place.endpoints.to_vec(),
        digest: descriptor.digest,
        size: descriptor.size,
        offline: place.offline,
    };
    let json = location.fetch(&remote, place.cache)?;
    let file = place.cache.unnamed_file()?;
    let Table { chunks, len, .. } = Table::parse(&json, descriptor.size, &file)?;
    let path = PathBuf::from(format!("layer {}", descriptor.digest));
    let chunks = Chunks::new(chunks, remote, place.cache.clone());
    let diff_id = Digest::of(format!("part {diff_id} {} {}", descriptor.digest, location.digest()));
    let blob = Blob::filled(path, file, Box::new(chunks));
    Ok(Some(LayerBlob { diff_id, digest: Some(descriptor.digest), blob, offset: 0, len }))
}
