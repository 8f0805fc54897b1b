//! A blob as one stream, whatever happens to the connections under it.

use std::fmt;
use std::io::{self, ErrorKind, Read};

use tree::{Event, Events};

use super::{Client, ClientError};
use crate::registries::Endpoint;
use store::Digest;

/// Bytes. With this much progress, patience starts anew.
const PROGRESS: u64 = 256 << 10;

/// Bytes of an answer that show whether it is a web page.
const PAGE_HEAD: u64 = 64;

/// Reads a blob from an offset to its end. A connection that breaks is taken up again where it broke, at the next place if
/// one has run out of chances. What comes is as long as it should be; its digest is the reader's to check.
pub struct BlobReader<'a> {
    client: &'a Client,
    endpoints: &'a [Endpoint],
    digest: Digest,
    size: u64,
    /// Bytes that have been handed out, or were here before.
    position: u64,
    body: Option<Box<dyn Read + Send>>,
    url: String,
    failed: u32,
    /// Where the last failure was.
    failed_at: u64,
    /// The registry answers ranges wrongly, so the whole is asked for and its beginning dropped.
    no_ranges: bool,
    events: &'a dyn Events,
}

impl fmt::Debug for BlobReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobReader({} at {} of {})", self.digest, self.position, self.size)
    }
}

impl Client {
    /// A blob of `size` bytes, from `offset` on, from the first of the places that has it. Nothing is asked for before the
    /// first read. Errors come as [`io::Error`]s that hold a [`ClientError`].
    pub fn blob<'a>(
        &'a self,
        endpoints: &'a [Endpoint],
        digest: &Digest,
        size: u64,
        offset: u64,
        events: &'a dyn Events,
    ) -> BlobReader<'a> {
        BlobReader {
            client: self,
            endpoints,
            digest: *digest,
            size,
            position: offset,
            body: None,
            url: String::new(),
            failed: 0,
            failed_at: offset,
            no_ranges: false,
            events,
        }
    }
}

/// RFC 9110, section 14.4: `bytes FIRST-LAST/SIZE`.
pub(super) fn content_range(header: Option<&str>) -> Option<(u64, u64, Option<u64>)> {
    let (range, size) = header?.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let size = if size == "*" { None } else { Some(size.parse().ok()?) };
    Some((first.parse().ok()?, last.parse().ok()?, size))
}

impl BlobReader<'_> {
    fn open(&mut self) -> Result<(), ClientError> {
        let Some(endpoint) = self.endpoints.first() else {
            return Err(ClientError::NotFound {
                url: self.digest.to_string(),
                message: "no place to ask".into(),
            });
        };
        let path = format!("/v2/{}/blobs/{}", endpoint.repository, self.digest);
        let range = format!("bytes={}-", self.position);
        let ranged = self.position > 0 && !self.no_ranges;
        let headers: &[(&str, &str)] = if ranged { &[("range", &range)] } else { &[] };
        let response = self.client.get(endpoint, &path, headers, self.events)?;
        self.url = response.url.to_string();
        let (mut skip, expected) = match response.status {
            // Also the answer to a range from a server that knows none.
            200 => (self.position, self.size),
            206 if ranged && self.is_range(response.header("content-range")) => {
                (0, self.size - self.position)
            }
            // A range that isn't the one that was asked for, or can't be had: the whole will do.
            206 | 416 if ranged => {
                let text = format!("{}: answers ranges wrongly, fetching the whole again", self.url);
                self.events.event(Event::Warning(text.into()));
                self.no_ranges = true;
                return self.open();
            }
            _ => return Err(response.into_error()),
        };
        let is_page = response.status == 200 && response.content_type().as_deref() == Some("text/html");
        let length = response.content_length();
        let mut body: Box<dyn Read + Send> = Box::new(response.body.into_reader());
        if is_page {
            // Some servers say so of everything. What looks like a page is one; of all else the digest decides.
            let mut head = Vec::new();
            (&mut body).take(PAGE_HEAD).read_to_end(&mut head).map_err(|e| self.broken(e))?;
            if head.trim_ascii_start().starts_with(b"<") {
                return Err(ClientError::Html { url: self.url.clone(), expected: "a layer" });
            }
            body = Box::new(io::Cursor::new(head).chain(body));
        }
        if let Some(got) = length.filter(|len| *len != expected) {
            return Err(self.wrong_size(got, expected));
        }
        while skip > 0 {
            let n = io::copy(&mut (&mut body).take(skip), &mut io::sink()).map_err(|e| self.broken(e))?;
            if n == 0 {
                return Err(self.broken(ErrorKind::UnexpectedEof.into()));
            }
            skip -= n;
        }
        self.body = Some(body);
        Ok(())
    }

    fn is_range(&self, header: Option<&str>) -> bool {
        content_range(header).is_some_and(|(first, last, size)| {
            first == self.position
                && last.checked_add(1) == Some(self.size)
                && size.is_none_or(|s| s == self.size)
        })
    }

    fn wrong_size(&self, got: u64, expected: u64) -> ClientError {
        let (got, expected) = (format!("{got} bytes"), format!("{expected} bytes"));
        ClientError::Mismatch { url: self.url.clone(), what: "a length of", got, expected }
    }

    fn broken(&self, source: io::Error) -> ClientError {
        ClientError::Body { url: self.url.clone(), source }
    }

    fn read_once(&mut self, buf: &mut [u8]) -> Result<usize, ClientError> {
        if self.body.is_none() {
            self.open()?;
        }
        let Some(body) = &mut self.body else { return Ok(0) };
        match body.read(buf) {
            Ok(0) if self.position < self.size => Err(self.broken(ErrorKind::UnexpectedEof.into())),
            Ok(n) => Ok(n),
            Err(e) => Err(self.broken(e)),
        }
    }

    /// What to do about an error: nothing (it is the caller's), or wait, or go to the next place.
    fn recover(&mut self, error: ClientError) -> Result<(), ClientError> {
        self.body = None;
        if self.position - self.failed_at >= PROGRESS {
            self.failed = 0;
        }
        self.failed += 1;
        self.failed_at = self.position;
        let spare = self.endpoints.len() > 1;
        if let Some(pause) = self.client.retry.pause(&error, self.failed, spare) {
            self.client.wait(&error, pause, self.events);
            return Ok(());
        }
        let [failed, rest @ ..] = self.endpoints else { return Err(error) };
        let Some(next) = rest.first() else { return Err(error) };
        let text = format!("{error}; trying {} instead of {}", next.host, failed.host);
        self.events.event(Event::Warning(text.into()));
        self.endpoints = rest;
        self.failed = 0;
        self.no_ranges = false;
        Ok(())
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || (self.body.is_none() && self.position == self.size) {
            return Ok(0);
        }
        loop {
            match self.read_once(buf) {
                Ok(n) => {
                    self.position += n as u64;
                    if self.position > self.size {
                        return Err(self.wrong_size(self.position, self.size).into());
                    }
                    return Ok(n);
                }
                Err(error) => self.recover(error)?,
            }
        }
    }
}
