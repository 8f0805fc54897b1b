//! A blob from the first registry that has it.

use std::io::{self, Read};

use store::Digest;
use store::http::{HttpError, Origin, Response, ResumableDownload};
use tree::Events;

use super::{Client, ClientError};
use crate::registries::Endpoint;

/// Bytes of an answer that show whether it is a web page.
const PAGE_HEAD: u64 = 64;

/// Reads a blob from an offset to its end. Errors come as [`io::Error`]s that hold a [`ClientError`].
pub(crate) type BlobReader<'a> = ResumableDownload<'a, BlobOrigin<'a>>;

/// The places that may have a blob, the present one first.
pub struct BlobOrigin<'a> {
    client: &'a Client,
    endpoints: &'a [Endpoint],
    digest: Digest,
    events: &'a dyn Events,
}

impl std::fmt::Debug for BlobOrigin<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlobOrigin({})", self.digest)
    }
}

impl Client {
    /// A blob of `size` bytes, from `offset` on, from the first of the places that has it. Nothing is asked for before the
    /// first read.
    pub fn blob<'a>(
        &'a self,
        endpoints: &'a [Endpoint],
        digest: &Digest,
        size: u64,
        offset: u64,
        events: &'a dyn Events,
    ) -> BlobReader<'a> {
        let origin = BlobOrigin { client: self, endpoints, digest: *digest, events };
        ResumableDownload::pinned(&self.http, origin, size, offset, events)
    }
}

impl Client {
    /// As [`Client::blob`], but of the bytes from `start` to `end` alone.
    pub(crate) fn blob_part<'a>(
        &'a self,
        endpoints: &'a [Endpoint],
        digest: &Digest,
        size: u64,
        (start, end): (u64, u64),
        events: &'a dyn Events,
    ) -> BlobReader<'a> {
        let origin = BlobOrigin { client: self, endpoints, digest: *digest, events };
        ResumableDownload::part(&self.http, origin, size, (start, end), events)
    }
}

impl Origin for BlobOrigin<'_> {
    type Error = ClientError;

    fn request(&self, headers: &[(&str, &str)]) -> Result<Response, ClientError> {
        let Some(endpoint) = self.endpoints.first() else {
            let (url, message) = (self.digest.to_string(), "no place to ask".into());
            return Err(HttpError::NotFound { url, message }.into());
        };
        let path = format!("/v2/{}/blobs/{}", endpoint.repository, self.digest);
        let mut response = self.client.get(endpoint, &path, headers, self.events)?;
        if response.is_page() {
            // Some servers say so of everything. What looks like a page is one; of all else the digest decides.
            let url = response.url.to_string();
            let mut head = Vec::new();
            if let Err(source) = (&mut response.body).take(PAGE_HEAD).read_to_end(&mut head) {
                return Err(HttpError::Body { url, source }.into());
            }
            if head.trim_ascii_start().starts_with(b"<") {
                return Err(HttpError::Html { url, expected: "a layer" }.into());
            }
            response.body = Box::new(io::Cursor::new(head).chain(response.body));
        }
        Ok(response)
    }

    fn has_spare(&self) -> bool {
        self.endpoints.len() > 1
    }

    fn next_place(&mut self) -> Option<String> {
        let [failed, rest @ ..] = self.endpoints else { return None };
        let text = format!("trying {} instead of {}", rest.first()?.host, failed.host);
        self.endpoints = rest;
        Some(text)
    }
}
