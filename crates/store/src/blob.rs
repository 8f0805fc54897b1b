//! Stored bytes, at their place in a file of the host.

use std::sync::Arc;

use tree::Blob;

use crate::Digest;

/// An inflated tar whose digest was checked, at a place in a file of the host.
#[derive(Debug, Clone)]
pub struct LayerBlob {
    /// The digest of the inflated tar.
    pub diff_id: Digest,
    /// The digest of the blob as the registry has it; none if the layer never was one (`docker save`, a sandbox run).
    pub digest: Option<Digest>,
    /// Where the tar is.
    pub blob: Arc<Blob>,
    /// Where in the blob the tar starts: 0 in the cache, elsewhere for layers read in place inside an archive. Bytes.
    pub offset: u64,
    /// Length of the tar. Bytes.
    pub len: u64,
}
