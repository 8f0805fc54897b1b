//! A download as one stream, whatever happens to the connections under it.

use std::fmt;
use std::io::{self, ErrorKind, Read};

use tree::{Event, Events};

use super::retry::TransferError;
use super::{HttpClient, HttpError, Response};

/// Bytes. After this much progress, the count of failures starts again.
const PROGRESS: u64 = 256 << 10;

/// Where a download comes from: one place or several that have the same.
pub trait Origin {
    /// What a request may fail with.
    type Error: TransferError + From<HttpError> + Into<io::Error>;

    /// One request to the present place.
    ///
    /// # Errors
    /// No answer, or one that can't be what was asked for. A status that is no success is no error.
    fn request(&self, headers: &[(&str, &str)]) -> Result<Response, Self::Error>;

    /// Whether there is another place to ask, so that the present one needs less patience.
    fn has_spare(&self) -> bool;

    /// Goes on to the next place, if there is one, and reports it: `trying B instead of A`.
    fn next_place(&mut self) -> Option<String>;
}

/// Reads a file from an offset to its end. A connection that breaks is taken up again where it broke, at the next place if
/// one has run out of chances. What comes is as long as it should be, if that is known; its digest is the reader's to check.
///
/// `pinned` says that the caller knows what has to come out: then a broken connection is taken up in any case. Otherwise that
/// takes an `ETag` from the server, since the file may be another one by now; without one it is an error.
pub struct ResumableDownload<'a, O> {
    client: &'a HttpClient,
    origin: O,
    pinned: bool,
    /// Bytes that have been handed out, or were here before.
    position: u64,
    /// Of the whole file, if it is known.
    size: Option<u64>,
    /// Where the part ends that is wanted, if it isn't the whole file.
    end: Option<u64>,
    /// A strong one, of a file that isn't pinned.
    etag: Option<String>,
    body: Option<Box<dyn Read + Send>>,
    url: String,
    failed: u32,
    /// Where the last failure was.
    failed_at: u64,
    /// The server answers ranges wrongly, so the whole is asked for and its beginning dropped.
    no_ranges: bool,
    events: &'a dyn Events,
}

impl<O> fmt::Debug for ResumableDownload<'_, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResumableDownload({} at {} of {:?})", self.url, self.position, self.size)
    }
}

/// RFC 9110, section 14.4: `bytes FIRST-LAST/SIZE`.
fn content_range(header: Option<&str>) -> Option<(u64, u64, Option<u64>)> {
    let (range, size) = header?.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let size = if size == "*" { None } else { Some(size.parse().ok()?) };
    Some((first.parse().ok()?, last.parse().ok()?, size))
}

impl<'a, O: Origin> ResumableDownload<'a, O> {
    /// A download of something whose digest and length are known. Nothing is asked for before the first read.
    pub fn pinned(client: &'a HttpClient, origin: O, size: u64, offset: u64, events: &'a dyn Events) -> Self {
        Self::new(client, origin, Some(size), offset, true, events)
    }

    /// Of such a download the bytes from `start` to `end` alone. Servers that answer with all of it are refused.
    pub fn part(
        client: &'a HttpClient,
        origin: O,
        size: u64,
        (start, end): (u64, u64),
        events: &'a dyn Events,
    ) -> Self {
        let whole = Self::new(client, origin, Some(size), start, true, events);
        ResumableDownload { end: Some(end.min(size)), ..whole }
    }

    pub(super) fn new(
        client: &'a HttpClient,
        origin: O,
        size: Option<u64>,
        offset: u64,
        pinned: bool,
        events: &'a dyn Events,
    ) -> Self {
        ResumableDownload {
            client,
            origin,
            pinned,
            position: offset,
            size,
            end: None,
            etag: None,
            body: None,
            url: String::new(),
            failed: 0,
            failed_at: offset,
            no_ranges: false,
            events,
        }
    }

    /// Waits for the first answer, so that the length is known.
    pub(super) fn start(&mut self) -> Result<(), O::Error> {
        while let Err(error) = self.open() {
            self.recover(error)?;
        }
        Ok(())
    }

    /// The whole length, if it is known. Bytes.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// Where the bytes end that are wanted, if it is known.
    fn last(&self) -> Option<u64> {
        self.end.or(self.size)
    }

    fn open(&mut self) -> Result<(), O::Error> {
        let range = match self.end {
            Some(end) => format!("bytes={}-{}", self.position, end.saturating_sub(1)),
            None => format!("bytes={}-", self.position),
        };
        let ranged = self.end.is_some() || self.position > 0 && !self.no_ranges;
        let mut headers: Vec<(&str, &str)> = Vec::new();
        if ranged {
            headers.push(("range", &range));
            // RFC 9110, section 13.1.5: the whole file comes if it is another one by now.
            headers.extend(self.etag.as_deref().map(|etag| ("if-range", etag)));
        }
        let response = self.origin.request(&headers)?;
        self.url = response.url.to_string();
        let length = response.content_length();
        let (mut skip, size) = match response.status {
            // Also the answer to a range from a server that knows none.
            200 if self.end.is_none() => (self.position, length),
            206 if ranged => match self.ranged_size(response.header("content-range"), length) {
                Some(size) => (0, size),
                None if self.end.is_none() => return self.whole(),
                None => return Err(self.no_part().into()),
            },
            200 => return Err(self.no_part().into()),
            // A range can't be had: the whole will do.
            416 if ranged && self.end.is_none() => return self.whole(),
            _ => return Err(response.into_error().into()),
        };
        if !self.pinned {
            let etag = response.header("etag").filter(|e| e.starts_with('"')).map(str::to_owned);
            if matches!((&self.etag, &etag), (Some(old), Some(new)) if old != new) {
                return Err(self.another().into());
            }
            self.etag = etag.or(self.etag.take());
        }
        if let (Some(expected), Some(got)) = (self.size, size)
            && expected != got
        {
            return Err(self.wrong_size(got, expected).into());
        }
        self.size = self.size.or(size);
        let mut body = response.body;
        while skip > 0 {
            let n = io::copy(&mut (&mut body).take(skip), &mut io::sink()).map_err(|e| self.broken(e))?;
            if n == 0 {
                return Err(self.broken(ErrorKind::UnexpectedEof.into()).into());
            }
            skip -= n;
        }
        self.body = Some(body);
        Ok(())
    }

    /// What a range of the file says about its whole size; none if it isn't the range that was asked for, to the very end.
    fn ranged_size(&self, header: Option<&str>, length: Option<u64>) -> Option<Option<u64>> {
        let (first, last, stated) = content_range(header)?;
        let end = last.checked_add(1)?;
        if let Some(wanted) = self.end {
            let sizes = stated.is_none_or(|size| self.size.is_none_or(|s| s == size));
            let lengths = length.is_none_or(|len| Some(len) == wanted.checked_sub(self.position));
            return (first == self.position && end == wanted && sizes && lengths).then_some(stated);
        }
        let expected = self.size.or(stated);
        let fits = first == self.position
            && expected.is_none_or(|size| size == end)
            && stated.is_none_or(|size| size == end);
        // The length of the answer itself says the same in another way.
        fits.then(|| length.map(|len| self.position.saturating_add(len)).or(stated))
    }

    /// Asks for the whole, since ranges aren't answered as they should be.
    fn whole(&mut self) -> Result<(), O::Error> {
        let text = format!("{}: answers ranges wrongly, fetching the whole again", self.url);
        self.events.event(Event::Warning(text.into()));
        self.no_ranges = true;
        self.open()
    }

    fn no_part(&self) -> HttpError {
        let (got, expected) = ("other bytes".into(), "the range asked for".into());
        HttpError::Mismatch { url: self.url.clone(), what: "an answer with", got, expected }
    }

    fn another(&self) -> HttpError {
        HttpError::Mismatch {
            url: self.url.clone(),
            what: "another file",
            got: "a new ETag".into(),
            expected: "the one of before the connection broke".into(),
        }
    }

    fn wrong_size(&self, got: u64, expected: u64) -> HttpError {
        let (got, expected) = (format!("{got} bytes"), format!("{expected} bytes"));
        HttpError::Mismatch { url: self.url.clone(), what: "a length of", got, expected }
    }

    fn broken(&self, source: io::Error) -> HttpError {
        HttpError::Body { url: self.url.clone(), source }
    }

    fn read_once(&mut self, buf: &mut [u8]) -> Result<usize, O::Error> {
        if self.body.is_none() {
            self.open()?;
        }
        let Some(body) = &mut self.body else { return Ok(0) };
        match body.read(buf) {
            Ok(0) if self.last().is_some_and(|last| self.position < last) => {
                Err(self.broken(ErrorKind::UnexpectedEof.into()).into())
            }
            Ok(n) => Ok(n),
            Err(e) => Err(self.broken(e).into()),
        }
    }

    /// What to do about an error: wait, go to the next place, or leave it to the caller.
    fn recover(&mut self, error: O::Error) -> Result<(), O::Error> {
        self.body = None;
        if self.position - self.failed_at >= PROGRESS {
            self.failed = 0;
        }
        self.failed += 1;
        self.failed_at = self.position;
        // What comes after the break might be of another file, and nobody would notice.
        if self.position > 0 && !self.pinned && self.etag.is_none() {
            return Err(error);
        }
        if let Some(pause) = self.client.pause(&error, self.failed, self.origin.has_spare()) {
            self.client.wait(&error, pause, self.events);
            return Ok(());
        }
        let Some(next) = self.origin.next_place() else { return Err(error) };
        self.events.event(Event::Warning(format!("{error}; {next}").into()));
        self.failed = 0;
        self.no_ranges = false;
        Ok(())
    }
}

impl<O: Origin> Read for ResumableDownload<'_, O> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let ended = self.end.is_some() || self.body.is_none();
        let ended = ended && self.last() == Some(self.position);
        if buf.is_empty() || ended {
            return Ok(0);
        }
        loop {
            match self.read_once(buf) {
                Ok(n) => {
                    self.position += n as u64;
                    if let Some(last) = self.last().filter(|last| self.position > *last) {
                        let error: O::Error = self.wrong_size(self.position, last).into();
                        return Err(error.into());
                    }
                    return Ok(n);
                }
                Err(error) => self.recover(error).map_err(Into::into)?,
            }
        }
    }
}
