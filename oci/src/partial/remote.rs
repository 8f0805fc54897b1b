//! Parts of a blob in a registry.

use std::io::{self, Read};
use std::sync::Arc;

use store::Digest;
use tree::Silent;

use crate::client::BlobReader;
use crate::{Client, Endpoint};

/// A blob that isn't here.
#[derive(Debug)]
pub(super) struct Remote {
    pub client: Arc<Client>,
    pub endpoints: Vec<Endpoint>,
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Nothing may be asked for.
    pub offline: bool,
}

impl Remote {
    /// A stream of the bytes from `start` to `end`.
    ///
    /// # Errors
    /// The network is off.
    pub(super) fn part(&self, (start, end): (u64, u64)) -> io::Result<BlobReader<'_>> {
        if self.offline {
            return Err(io::Error::other("not in the cache, and network access is off"));
        }
        Ok(self.client.blob_part(&self.endpoints, &self.digest, self.size, (start, end), &Silent))
    }

    /// These bytes in memory. The caller has checked how many.
    pub(super) fn bytes(&self, (start, end): (u64, u64)) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        self.part((start, end))?.read_to_end(&mut out)?;
        Ok(out)
    }
}
