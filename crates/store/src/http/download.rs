//! Files by URL, for those who fetch from elsewhere than a registry.

use tree::Events;

use super::{HttpClient, HttpError, Origin, RedirectPolicy, Response, ResumableDownload, Scheme, Url};

/// A GET of something that isn't a registry's.
#[derive(Debug, Clone, Copy)]
pub struct GetRequest<'a> {
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

impl<'a> GetRequest<'a> {
    /// A plain one.
    pub fn new(url: &'a str) -> Self {
        GetRequest { url, accept: None, authorization: None, html: false, spare: false }
    }
}

/// A document as a server has given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedDocument {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Its entity tag, with its quotes.
    pub etag: Option<String>,
}

/// A file that is being downloaded.
pub type Download<'a> = ResumableDownload<'a, UrlOrigin<'a>>;

/// One URL.
#[derive(Debug)]
pub struct UrlOrigin<'a> {
    client: &'a HttpClient,
    get: GetRequest<'a>,
}

/// Never redirects from HTTPS to HTTP.
struct KeepTls;

impl RedirectPolicy for KeepTls {
    fn is_insecure(&self, _: &Url) -> bool {
        false
    }

    fn check(&self, from: &Url, to: &Url) -> Result<(), HttpError> {
        if from.scheme == Scheme::Https && to.scheme == Scheme::Http {
            let message = format!("leads to {to}, away from TLS");
            return Err(HttpError::Redirect { url: from.to_string(), message });
        }
        Ok(())
    }
}

impl Origin for UrlOrigin<'_> {
    type Error = HttpError;

    fn request(&self, headers: &[(&str, &str)]) -> Result<Response, HttpError> {
        self.client.ask(&self.get, headers)
    }

    fn has_spare(&self) -> bool {
        self.get.spare
    }

    fn next_place(&mut self) -> Option<String> {
        None
    }
}

impl HttpClient {
    /// A small document, of `limit` bytes at most, and its entity tag, if the server gives one. `known` is what the server has
    /// given before, with its tag: it isn't sent again if it is unchanged (RFC 9110, 13.1.2).
    ///
    /// # Errors
    /// As [`HttpError`] lists; also a document that is larger.
    pub fn tagged_document(
        &self,
        get: &GetRequest<'_>,
        known: Option<&TaggedDocument>,
        limit: u64,
        events: &dyn Events,
    ) -> Result<TaggedDocument, HttpError> {
        let too_large = || HttpError::TooLarge { url: get.url.to_owned(), what: "document", limit };
        let tag = known.and_then(|known| known.etag.as_deref());
        let headers: Vec<(&str, &str)> = tag.map(|tag| ("if-none-match", tag)).into_iter().collect();
        self.retrying(get.spare, events, || {
            let response = self.ask(get, &headers)?;
            match (response.status, known) {
                (304, Some(known)) if known.bytes.len() as u64 <= limit => Ok(known.clone()),
                (304, Some(_)) => Err(too_large()),
                (200, _) => {
                    let etag = response.header("etag").map(str::to_owned);
                    Ok(TaggedDocument { bytes: response.bytes(limit, too_large)?, etag })
                }
                _ => Err(response.into_error()),
            }
        })
    }

    /// A file from `offset` on. The first answer is waited for here, so that its length is known.
    ///
    /// `pinned` is as [`ResumableDownload`] has it. An `offset` of other than 0 needs it.
    ///
    /// # Errors
    /// As [`HttpError`] lists.
    pub fn download<'a>(
        &'a self,
        get: GetRequest<'a>,
        offset: u64,
        pinned: bool,
        events: &'a dyn Events,
    ) -> Result<Download<'a>, HttpError> {
        let origin = UrlOrigin { client: self, get };
        let mut download = ResumableDownload::new(self, origin, None, offset, pinned, events);
        download.start()?;
        Ok(download)
    }

    fn ask(&self, get: &GetRequest<'_>, headers: &[(&str, &str)]) -> Result<Response, HttpError> {
        let url = Url::parse(get.url).map_err(|why| HttpError::Url { url: get.url.to_owned(), why })?;
        let mut all = headers.to_vec();
        all.extend(get.accept.map(|a| ("accept", a)));
        let response = self.get(&url, get.authorization, &all, &KeepTls)?;
        if response.is_page() && !get.html {
            return Err(HttpError::Html { url: response.url.to_string(), expected: "a file" });
        }
        Ok(response)
    }
}
