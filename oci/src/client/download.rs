//! Files by URL, for those who fetch from elsewhere than a registry: the same connections, proxies and patience.

use std::fmt;
use std::io::{self, ErrorKind, Read};

use tree::{Event, Events};

use super::blob::content_range;
use super::http::Response;
use super::url::{Scheme, Url};
use super::{Client, ClientError, REDIRECTS};

/// Bytes. With this much progress, patience starts anew.
const PROGRESS: u64 = 256 << 10;

/// A GET of something that isn't a registry's.
#[derive(Debug, Clone, Copy)]
pub struct Get<'a> {
    /// Absolute, http or https.
    pub url: &'a str,
    /// `Accept`, if the default won't do.
    pub accept: Option<&'a str>,
    /// `Authorization`; goes to the URL's own host only, not along with redirects.
    pub authorization: Option<&'a str>,
    /// Whether a web page is what is wanted.
    pub html: bool,
    /// Whether there is another place to ask, so that this one needs less patience.
    pub spare: bool,
}

impl<'a> Get<'a> {
    /// A plain one.
    pub fn new(url: &'a str) -> Self {
        Get { url, accept: None, authorization: None, html: false, spare: false }
    }
}

impl Client {
    /// The whole of a small document, of `limit` bytes at most.
    ///
    /// # Errors
    /// As [`ClientError`] lists; also a document that is larger.
    pub fn document(&self, get: &Get<'_>, limit: u64, events: &dyn Events) -> Result<Vec<u8>, ClientError> {
        let too_large = || ClientError::TooLarge { url: get.url.to_owned(), what: "document", limit };
        self.retrying(get.spare, events, || {
            let response = self.ask(get, &[])?;
            if response.status != 200 {
                return Err(response.into_error());
            }
            if response.content_length().is_some_and(|len| len > limit) {
                return Err(too_large());
            }
            let url = response.url.to_string();
            let mut bytes = Vec::new();
            let read = response.body.into_reader().take(limit.saturating_add(1)).read_to_end(&mut bytes);
            read.map_err(|source| ClientError::Body { url, source })?;
            if bytes.len() as u64 > limit {
                return Err(too_large());
            }
            Ok(bytes)
        })
    }

    /// A file from `offset` on. The first answer is waited for here, so that its length is known.
    ///
    /// `pinned` says that the caller knows what has to come out: then a broken connection is taken up where it broke in
    /// any case. Otherwise that takes an `ETag` from the server, since the file may be another one by now; without one it
    /// is an error. An `offset` of other than 0 needs `pinned`.
    ///
    /// # Errors
    /// As [`ClientError`] lists.
    pub fn download<'a>(
        &'a self,
        get: Get<'a>,
        offset: u64,
        pinned: bool,
        events: &'a dyn Events,
    ) -> Result<Download<'a>, ClientError> {
        let mut download = Download {
            client: self,
            get,
            pinned,
            position: offset,
            size: None,
            etag: None,
            body: None,
            url: get.url.to_owned(),
            failed: 0,
            failed_at: offset,
            no_ranges: false,
            events,
        };
        while let Err(error) = download.open() {
            download.recover(error)?;
        }
        Ok(download)
    }

    fn ask(&self, get: &Get<'_>, headers: &[(&str, &str)]) -> Result<Response, ClientError> {
        let url = Url::parse(get.url).map_err(|why| ClientError::Url { url: get.url.to_owned(), why })?;
        let response = self.follow_url(&url, get, headers)?;
        let is_page = response.content_type().as_deref() == Some("text/html");
        if is_page && !get.html && response.status == 200 {
            return Err(ClientError::Html { url: response.url.to_string(), expected: "a file" });
        }
        Ok(response)
    }

    /// A GET that follows redirects, away from TLS never. The authorization stays with its host.
    fn follow_url(
        &self,
        url: &Url,
        get: &Get<'_>,
        headers: &[(&str, &str)],
    ) -> Result<Response, ClientError> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS {
            let mut all = headers.to_vec();
            all.extend(get.accept.map(|a| ("accept", a)));
            all.extend(get.authorization.filter(|_| at.same_origin(url)).map(|a| ("authorization", a)));
            let mut response = self.http.send(&at, false, &all, None)?;
            response.foreign = !at.same_origin(url);
            if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let bad = |message: String| ClientError::Redirect { url: at.to_string(), message };
            let location = response.header("location").ok_or_else(|| bad("leads nowhere".into()))?;
            let next = at.join(location).map_err(|e| bad(format!("leads to an address that {e}")))?;
            if at.scheme == Scheme::Https && next.scheme == Scheme::Http {
                return Err(bad(format!("leads to {next}, away from TLS")));
            }
            at = next;
        }
        let message = format!("leads on more than {REDIRECTS} times");
        Err(ClientError::Redirect { url: url.to_string(), message })
    }
}

/// Reads a file to its end, whatever happens to the connections under it. Its digest is the reader's to check.
pub struct Download<'a> {
    client: &'a Client,
    get: Get<'a>,
    pinned: bool,
    /// Bytes that have been handed out, or were here before.
    position: u64,
    /// Of the whole file, if the server told.
    size: Option<u64>,
    /// A strong one.
    etag: Option<String>,
    body: Option<Box<dyn Read + Send>>,
    url: String,
    failed: u32,
    /// Where the last failure was.
    failed_at: u64,
    no_ranges: bool,
    events: &'a dyn Events,
}

impl fmt::Debug for Download<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Download({} at {} of {:?})", self.url, self.position, self.size)
    }
}

impl Download<'_> {
    /// The whole length, if the server tells. Bytes.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    fn open(&mut self) -> Result<(), ClientError> {
        let range = format!("bytes={}-", self.position);
        let ranged = self.position > 0 && !self.no_ranges;
        let mut headers: Vec<(&str, &str)> = Vec::new();
        if ranged {
            headers.push(("range", &range));
            // RFC 9110, section 13.1.5: the whole file comes if it is another one by now.
            headers.extend(self.etag.as_deref().map(|etag| ("if-range", etag)));
        }
        let response = self.client.ask(&self.get, &headers)?;
        self.url = response.url.to_string();
        let etag = response.header("etag").filter(|e| e.starts_with('"')).map(str::to_owned);
        let (mut skip, size) = match response.status {
            200 => (self.position, response.content_length()),
            206 if ranged => match content_range(response.header("content-range")) {
                // Only to the file's very end.
                Some((first, last, size))
                    if first == self.position && size.is_none_or(|s| last.checked_add(1) == Some(s)) =>
                {
                    (0, size)
                }
                _ => return self.whole(),
            },
            206 | 416 if ranged => return self.whole(),
            _ => return Err(response.into_error()),
        };
        let changed = |old: &Option<_>, new: &Option<_>| matches!((old, new), (Some(a), Some(b)) if a != b);
        if changed(&self.etag, &etag) && !self.pinned {
            return Err(self.another());
        }
        if let (Some(expected), Some(got)) = (self.size, size)
            && expected != got
        {
            let (got, expected) = (format!("{got} bytes"), format!("{expected} bytes"));
            return Err(ClientError::Mismatch { url: self.url.clone(), what: "a length of", got, expected });
        }
        self.size = self.size.or(size);
        self.etag = etag.or(self.etag.take());
        let mut body = response.body.into_reader();
        while skip > 0 {
            let n = io::copy(&mut (&mut body).take(skip), &mut io::sink()).map_err(|e| self.broken(e))?;
            if n == 0 {
                return Err(self.broken(ErrorKind::UnexpectedEof.into()));
            }
            skip -= n;
        }
        self.body = Some(Box::new(body));
        Ok(())
    }

    /// A range that isn't the one that was asked for, or can't be had: the whole will do.
    fn whole(&mut self) -> Result<(), ClientError> {
        let text = format!("{}: answers ranges wrongly, fetching the whole again", self.url);
        self.events.event(Event::Warning(text.into()));
        self.no_ranges = true;
        self.open()
    }

    fn another(&self) -> ClientError {
        ClientError::Mismatch {
            url: self.url.clone(),
            what: "another file",
            got: "a new ETag".into(),
            expected: "the one of before the connection broke".into(),
        }
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
            Ok(0) if self.size.is_some_and(|size| self.position < size) => {
                Err(self.broken(ErrorKind::UnexpectedEof.into()))
            }
            Ok(n) => Ok(n),
            Err(e) => Err(self.broken(e)),
        }
    }

    /// Waits, or hands the error to the caller.
    fn recover(&mut self, error: ClientError) -> Result<(), ClientError> {
        self.body = None;
        if self.position - self.failed_at >= PROGRESS {
            self.failed = 0;
        }
        self.failed += 1;
        self.failed_at = self.position;
        // What comes after the break might be of another file, and nobody would notice.
        let blind = self.position > 0 && !self.pinned && self.etag.is_none();
        match self.client.retry.pause(&error, self.failed, self.get.spare).filter(|_| !blind) {
            Some(pause) => {
                self.client.wait(&error, pause, self.events);
                Ok(())
            }
            None => Err(error),
        }
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let ended = self.body.is_none() && self.size == Some(self.position);
        if buf.is_empty() || ended {
            return Ok(0);
        }
        loop {
            match self.read_once(buf) {
                Ok(n) => {
                    self.position += n as u64;
                    return Ok(n);
                }
                Err(error) => self.recover(error)?,
            }
        }
    }
}
