//! What keeps a file from being fetched.

use std::fmt;

use store::http::HttpError;
use store::{CacheError, DownloadError};
use tree::ContentError;

use crate::checksum::Checksum;

/// A file that can't be had. Names the URL of the recipe and, if a mirror was asked instead, the mirror's.
#[derive(Debug)]
pub struct FetchError {
    /// As the recipe has it.
    pub url: String,
    /// Where it was asked for last, if anywhere.
    pub location: Option<String>,
    /// Why.
    pub cause: FetchCause,
    /// What other locations said before.
    pub others: Vec<String>,
}

/// Why a file can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum FetchCause {
    /// The server, or the way to it.
    #[error(transparent)]
    Http(Box<HttpError>),
    /// What came isn't what was expected, or the cache can't take it.
    #[error(transparent)]
    Download(Box<DownloadError>),
    /// Other bytes than these were expected.
    #[error("got content with digest {got}, expected {expected}")]
    Checksum {
        got: Box<Checksum>,
        /// Upstream's, or the lock file's.
        expected: Box<Checksum>,
    },
    /// Another length than the lock file has.
    #[error("got {got} bytes, expected {expected}")]
    Size { got: u64, expected: u64 },
    /// No network was to be used.
    #[error("not in the cache, and network access is off")]
    Offline,
    /// The configuration forbids to ask for it.
    #[error("the configuration has an empty list of mirrors for it")]
    NoMirror,
    #[error(transparent)]
    Cache(Box<CacheError>),
    /// A file of the cache.
    #[error(transparent)]
    Content(#[from] ContentError),
}

impl From<CacheError> for FetchCause {
    fn from(e: CacheError) -> Self {
        FetchCause::Cache(Box::new(e))
    }
}

impl From<HttpError> for FetchCause {
    fn from(e: HttpError) -> Self {
        FetchCause::Http(Box::new(e))
    }
}

impl From<DownloadError> for FetchCause {
    fn from(e: DownloadError) -> Self {
        match e {
            DownloadError::Source(e) => match e.downcast::<HttpError>() {
                Ok(e) => e.into(),
                Err(e) => FetchCause::Download(Box::new(DownloadError::Source(e))),
            },
            DownloadError::Cache(e) => e.into(),
            other => FetchCause::Download(Box::new(other)),
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)?;
        if let Some(location) = self.location.as_deref().filter(|p| *p != self.url) {
            write!(f, " (asked for at {location})")?;
        }
        // The client names the address itself; after a redirect it is another one.
        let cause = self.cause.to_string();
        let shown = self.location.as_deref().unwrap_or(&self.url);
        let shown = shown.split('?').next().unwrap_or(shown);
        let cause = cause.strip_prefix(shown).and_then(|c| c.strip_prefix(": ")).unwrap_or(&cause);
        write!(f, ": {cause}")?;
        self.others.iter().try_for_each(|other| write!(f, "; before that: {other}"))
    }
}

// The cause is in the message.
impl std::error::Error for FetchError {}

impl FetchError {
    /// Whether upstream, or the mirror, says that there is no such file.
    pub fn is_not_found(&self) -> bool {
        matches!(&self.cause, FetchCause::Http(e) if e.is_not_found())
    }
}
