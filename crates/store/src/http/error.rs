//! What goes wrong between us and a server.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a server didn't give what it was asked for. URLs are shown without their query, which may hold signatures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum HttpError {
    /// No connection, or it broke before there was an answer.
    #[error("{host}: {message}")]
    Connect {
        host: String,
        message: String,
        /// Whether there was no connection at all, so that the next one is unlikely to do better.
        refused: bool,
    },
    /// No trusted TLS connection.
    #[error("{host}: TLS: {message}")]
    Tls { host: String, message: String },
    /// The server speaks HTTP without TLS.
    #[error(
        "{host}: answered without TLS, expected HTTPS (insecure = true in registries.conf allows plain HTTP)"
    )]
    PlainHttp { host: String },
    /// An answer that is neither success nor one of the cases below.
    #[error("{url}: got status {status}{}", colon(message))]
    Status {
        /// What was asked for.
        url: String,
        status: u16,
        /// What the server says, in one line; may be empty.
        message: String,
        /// When to come back.
        retry_after: Option<Duration>,
    },
    /// 404.
    #[error("{url}: not found{}", colon(message))]
    NotFound {
        /// What was asked for.
        url: String,
        /// What the server says, in one line; may be empty.
        message: String,
    },
    /// The registry names another place, where credentials or answers would travel in clear.
    #[error("{host}: {what} {url:?} has no TLS, and that host is not marked insecure itself")]
    WithoutTls {
        /// Host and port of the registry.
        host: String,
        /// `token server`, `redirect target`.
        what: &'static str,
        url: String,
    },
    /// Not an address that this client can ask.
    #[error("{url:?} is no address of a file: it {why}")]
    Url { url: String, why: &'static str },
    /// A redirect that isn't followed.
    #[error("{url}: redirect {message}")]
    Redirect {
        /// What was asked for.
        url: String,
        message: String,
    },
    /// A web page instead of a manifest or blob: a login page, a captive portal, a proxy.
    #[error("{url}: got a web page (text/html), expected {expected}")]
    Html {
        /// What was asked for.
        url: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Larger than anything sensible.
    #[error("{url}: {what} is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        url: String,
        what: &'static str,
        /// Bytes.
        limit: u64,
    },
    /// The answer contradicts what was asked for.
    #[error("{url}: got {what} {got}, expected {expected}")]
    Mismatch {
        /// What was asked for.
        url: String,
        what: &'static str,
        got: String,
        /// As it should be.
        expected: String,
    },
    /// The connection broke in the middle of a body.
    #[error("{url}: {source}")]
    Body {
        /// What was asked for.
        url: String,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate or key file of the configuration.
    #[error("{path:?}: {message}")]
    Certificate {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A proxy setting of the environment.
    #[error(
        "environment variable {variable} is no proxy address, expected http://HOST:PORT or socks5://HOST:PORT"
    )]
    Proxy { variable: String },
}

/// A message behind a colon; nothing if there is none.
pub fn colon(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl HttpError {
    /// Whether the same request may succeed if repeated later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            HttpError::Connect { .. } | HttpError::Body { .. } => true,
            HttpError::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// Whether this server doesn't have what was asked for, or doesn't show it.
    pub fn is_not_found(&self) -> bool {
        matches!(self, HttpError::NotFound { .. })
    }
}

impl From<HttpError> for io::Error {
    fn from(e: HttpError) -> Self {
        io::Error::other(e)
    }
}

/// One line of hostile text for a message.
pub fn one_line(text: &str) -> String {
    const MAX: usize = 300;
    let clean: String = text.chars().map(|c| if tree::is_control(c) { ' ' } else { c }).take(MAX).collect();
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}
