//! Fetching: by URL, from mirrors if the user has some, into the cache, where files lie under the digest of their bytes.

mod error;
pub use error::{FetchCause, FetchError};

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use store::http::{GetRequest, HttpClient, HttpOptions, TaggedDocument};
use store::{Cache, CacheError, Digest, DownloadError, Environment, ExpectedFile, LayerBlob};
use tree::{Content, Event, Events, parallel};

use crate::{checksum::Checksum, config::Config};

/// Bytes. The largest thing in the catalogue has 1.5 GB.
const FILE_MAX: u64 = 16 << 30;
/// Bytes. Longer documents are kept in pieces.
const PIECE_MAX: usize = store::cache::BLOB_MAX as usize;
/// The cache's key space for entity tags: by location, the digests of the document's pieces and its tag.
const ETAGS: &str = "etag";

/// A file that is wanted, and all that is known of it. What is known is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRequest {
    /// Upstream's.
    pub url: String,
    /// Of the lock file, or upstream's.
    pub checksums: Vec<Checksum>,
    /// Bytes.
    pub size: Option<u64>,
}

/// A file that is here.
#[derive(Debug, Clone)]
pub struct DownloadedFile {
    /// Upstream's.
    pub url: String,
    /// Of its bytes.
    pub sha256: Digest,
    /// Bytes.
    pub size: u64,
    /// In the cache.
    pub file: LayerBlob,
}

impl DownloadedFile {
    /// Its bytes.
    pub fn content(&self) -> Content {
        Content::in_blob(self.file.blob.clone(), self.file.offset, self.file.len)
    }
}

/// Gets files. May be used from several threads at once.
#[derive(Debug)]
pub struct Fetcher {
    client: HttpClient,
    cache: Cache,
    config: Config,
    token: Option<String>,
    offline: bool,
    /// Documents of this run: none is asked for twice, even by several threads.
    asked: Mutex<BTreeMap<String, Arc<Mutex<Option<KeptDocument>>>>>,
}

/// A document in the cache: the digests of its pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
struct KeptDocument(Vec<Digest>);

impl KeptDocument {
    fn parse(text: &str) -> Option<KeptDocument> {
        text.split(',').map(|digest| digest.parse().ok()).collect::<Option<_>>().map(KeptDocument)
    }
}

impl std::fmt::Display for KeptDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digests: Vec<String> = self.0.iter().map(Digest::to_string).collect();
        f.write_str(&digests.join(","))
    }
}

impl Fetcher {
    /// One that asks where the configuration says. The environment has proxies, and a token for GitHub's API.
    pub fn new(config: Config, cache: Cache, environment: Environment, offline: bool) -> Fetcher {
        Self::with_options(config, cache, HttpOptions::new(&environment), environment, offline)
    }

    /// As [`Fetcher::new`], with other patience.
    pub(crate) fn with_options(
        config: Config,
        cache: Cache,
        mut options: HttpOptions,
        environment: Environment,
        offline: bool,
    ) -> Fetcher {
        let token = ["GITHUB_TOKEN", "GH_TOKEN"].iter().find_map(|name| environment.text(name));
        let token = token.map(|t| format!("Bearer {t}"));
        options.ca_files.extend(config.ca_files.iter().cloned());
        options.document_timeout = config.document_timeout.unwrap_or(options.document_timeout);
        options.pace.rate = config.min_rate.unwrap_or(options.pace.rate);
        options.user_agent = concat!("bakery/", env!("CARGO_PKG_VERSION")).into();
        let client = HttpClient::new(options, environment);
        Fetcher { client, cache, config, token, offline, asked: Mutex::default() }
    }

    /// Where files are kept.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether the network is left alone.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// A small document that changes: an index, a list of checksums, a signature. Without a network, what was last seen.
    ///
    /// # Errors
    /// No location has it, or it is larger than `limit` bytes.
    pub fn text(&self, url: &str, limit: u64, events: &dyn Events) -> Result<Vec<u8>, FetchError> {
        if self.offline {
            return self.last_seen(url).map_err(|cause| error(url, None, cause));
        }
        let slot = self
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(url.to_owned())
            .or_default()
            .clone();
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = |e: CacheError| error(url, None, e.into());
        let seen = slot.as_ref().map(|kept| self.kept(kept)).transpose().map_err(cached)?.flatten();
        if let Some(bytes) = seen.filter(|bytes| bytes.len() as u64 <= limit) {
            return Ok(bytes);
        }
        let (bytes, kept) = self.anywhere(url, events, |location, spare| {
            let get = GetRequest { html: true, spare, ..self.request(location) };
            let known = self.known_document(location)?;
            let document = self.client.tagged_document(&get, known.as_ref(), limit, events)?;
            let kept = self.keep(&document.bytes)?;
            if let Some(etag) = &document.etag {
                self.cache.set_key(ETAGS, location, &format!("{kept} {etag}"))?;
            }
            Ok((document.bytes, kept))
        })?;
        self.cache.set_key("text", url, &kept.to_string()).map_err(cached)?;
        *slot = Some(kept);
        Ok(bytes)
    }

    fn keep(&self, bytes: &[u8]) -> Result<KeptDocument, CacheError> {
        // An empty document has one piece, too.
        let pieces = bytes.chunks(PIECE_MAX).chain(bytes.is_empty().then_some(bytes));
        pieces.map(|piece| self.cache.put_blob(piece)).collect::<Result<_, _>>().map(KeptDocument)
    }

    fn kept(&self, document: &KeptDocument) -> Result<Option<Vec<u8>>, CacheError> {
        let mut bytes = Vec::new();
        for digest in &document.0 {
            let Some(piece) = self.cache.blob(digest)? else { return Ok(None) };
            bytes.extend(piece);
        }
        Ok(Some(bytes))
    }

    /// A document that a location has given before, and its entity tag.
    fn known_document(&self, location: &str) -> Result<Option<TaggedDocument>, FetchCause> {
        let Some(text) = self.cache.key(ETAGS, location)? else { return Ok(None) };
        let Some((kept, etag)) = text.split_once(' ') else { return Ok(None) };
        let Some(kept) = KeptDocument::parse(kept) else { return Ok(None) };
        let etag = Some(etag.to_owned());
        Ok(self.kept(&kept)?.map(|bytes| TaggedDocument { bytes, etag }))
    }

    fn last_seen(&self, url: &str) -> Result<Vec<u8>, FetchCause> {
        let kept = self.cache.key("text", url)?.and_then(|text| KeptDocument::parse(&text));
        let bytes = kept.map(|kept| self.kept(&kept)).transpose()?.flatten();
        bytes.ok_or(FetchCause::Offline)
    }

    /// A file. What is in the cache already isn't asked for; what came of it before is taken up where it broke, if its
    /// SHA-256 is known.
    ///
    /// # Errors
    /// No location has it, or it isn't what was expected.
    pub fn get(&self, want: &FileRequest, events: &dyn Events) -> Result<DownloadedFile, FetchError> {
        let url = &want.url;
        let here = self.known(want).map_err(|cause| error(url, None, cause))?;
        if let Some(file) = here.and_then(|digest| self.cache.file(&digest).ok().flatten()) {
            return self.checked(want, file).map_err(|cause| error(url, None, cause));
        }
        if self.offline {
            return Err(error(url, None, FetchCause::Offline));
        }
        let expect = ExpectedFile { digest: here, size: want.size, limit: FILE_MAX };
        let task = url.split(['?', '#']).next().unwrap_or(url).rsplit('/').next().unwrap_or(url);
        let fetched = self.anywhere(url, events, |location, spare| {
            let waits = || {
                let text = format!("{url} is being fetched by another process, waiting for it");
                events.event(Event::Note(text.into()));
            };
            let open = |offset| {
                let get = GetRequest { spare, ..self.request(location) };
                let download =
                    self.client.download(get, offset, here.is_some(), events).map_err(io::Error::from)?;
                let size = download.size();
                Ok((download, size))
            };
            let mut progress = |done, total| events.event(Event::Progress { task, done, total });
            let file = self.cache.fetch_file(url, &expect, waits, open, &mut progress);
            self.checked(want, file?)
        });
        events.event(Event::Done { task });
        fetched
    }

    /// Several files, some at once, in the order in which they are wanted.
    ///
    /// # Errors
    /// The first that can't be had; the others are given up.
    pub fn get_all(
        &self,
        wants: &[FileRequest],
        events: &dyn Events,
    ) -> Result<Vec<DownloadedFile>, FetchError> {
        parallel::try_map(self.config.jobs, wants, |want| self.get(want, events))
    }

    /// The SHA-256 that is wanted, or that a file with the wanted SHA-512 turned out to have.
    fn known(&self, want: &FileRequest) -> Result<Option<Digest>, FetchCause> {
        for checksum in &want.checksums {
            if let Checksum::Sha256(digest) = checksum {
                return Ok(Some(*digest));
            }
        }
        for checksum in &want.checksums {
            let found =
                self.cache.key("sha512", &checksum.to_string())?.and_then(|d| d.parse::<Digest>().ok());
            if let Some(digest) = found.filter(|d| self.cache.file(d).is_ok_and(|f| f.is_some())) {
                return Ok(Some(digest));
            }
        }
        Ok(None)
    }

    fn checked(&self, want: &FileRequest, file: LayerBlob) -> Result<DownloadedFile, FetchCause> {
        let fetched = DownloadedFile { url: want.url.clone(), sha256: file.diff_id, size: file.len, file };
        if let Some(expected) = want.size.filter(|s| *s != fetched.size) {
            return Err(FetchCause::Size { got: fetched.size, expected });
        }
        for expected in &want.checksums {
            let key = expected.to_string();
            let got = match expected {
                Checksum::Sha256(_) => Checksum::Sha256(fetched.sha256),
                Checksum::Sha512(_) => {
                    // The file's own digest is checked whenever it is opened.
                    if self.cache.key("sha512", &key)? == Some(fetched.sha256.to_string()) {
                        continue;
                    }
                    expected.of_same_kind(&fetched.content())?
                }
            };
            if got != *expected {
                let (got, expected) = (Box::new(got), Box::new(*expected));
                return Err(FetchCause::Checksum { got, expected });
            }
            if matches!(got, Checksum::Sha512(_)) {
                self.cache.set_key("sha512", &key, &fetched.sha256.to_string())?;
            }
        }
        Ok(fetched)
    }

    fn request<'a>(&'a self, location: &'a str) -> GetRequest<'a> {
        // No other host gets to see it, whatever the mirrors are.
        let github = location.starts_with("https://api.github.com/");
        let accept = github.then_some("application/vnd.github+json");
        GetRequest {
            accept,
            authorization: self.token.as_deref().filter(|_| github),
            ..GetRequest::new(location)
        }
    }

    /// Asks one location after the other.
    fn anywhere<T>(
        &self,
        url: &str,
        events: &dyn Events,
        ask: impl Fn(&str, bool) -> Result<T, FetchCause>,
    ) -> Result<T, FetchError> {
        let locations = self.config.locations(url);
        let mut others = Vec::new();
        for (i, location) in locations.iter().enumerate() {
            let spare = i + 1 < locations.len();
            match ask(location, spare) {
                Ok(answer) => return Ok(answer),
                Err(cause) if spare && is_elsewhere(&cause) => {
                    let text = format!("{location}: {cause}; trying {}", locations[i + 1]);
                    events.event(Event::Warning(text.into()));
                    others.push(format!("{location}: {cause}"));
                }
                Err(cause) => {
                    return Err(FetchError {
                        url: url.to_owned(),
                        location: Some(location.clone()),
                        cause,
                        others,
                    });
                }
            }
        }
        Err(error(url, None, FetchCause::NoMirror))
    }
}

/// Whether another location may do better.
fn is_elsewhere(cause: &FetchCause) -> bool {
    match cause {
        FetchCause::Http(_) | FetchCause::Checksum { .. } | FetchCause::Size { .. } => true,
        FetchCause::Download(e) => e.is_content() || matches!(**e, DownloadError::Limit { .. }),
        _ => false,
    }
}

fn error(url: &str, location: Option<String>, cause: FetchCause) -> FetchError {
    FetchError { url: url.to_owned(), location, cause, others: Vec::new() }
}

#[cfg(test)]
mod tests;
