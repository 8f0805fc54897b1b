//! What goes wrong between us and a registry.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::credentials::CredentialsError;

/// Why a registry didn't give what it was asked for. URLs are shown without their query, which may hold signatures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No connection, or it broke before there was an answer.
    #[error("{host}: {message}")]
    Connect {
        /// Host and port.
        host: String,
        /// What happened.
        message: String,
        /// Whether there was no connection at all, so that the next one is unlikely to do better.
        refused: bool,
    },
    /// No trusted TLS connection.
    #[error("{host}: TLS: {message}")]
    Tls {
        /// Host and port.
        host: String,
        /// What rustls says.
        message: String,
    },
    /// The registry speaks HTTP without TLS.
    #[error(
        "{host}: answered without TLS, expected HTTPS (insecure = true in registries.conf allows plain HTTP)"
    )]
    PlainHttp {
        /// Host and port.
        host: String,
    },
    /// An answer that is neither success nor one of the cases below.
    #[error("{url}: got status {status}{}", colon(message))]
    Status {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
        /// What the registry says, in one line; may be empty.
        message: String,
        /// When to come back.
        retry_after: Option<Duration>,
    },
    /// 404.
    #[error("{url}: not found{}", colon(message))]
    NotFound {
        /// What was asked for.
        url: String,
        /// What the registry says, in one line; may be empty.
        message: String,
    },
    /// 401 or 403, with or without credentials.
    #[error("{host}: access to {repository} denied {}{}", who(*.with_credentials), colon(message))]
    Denied {
        /// Host and port.
        host: String,
        /// The repository.
        repository: String,
        /// Whether there were credentials for it.
        with_credentials: bool,
        /// What the registry says, in one line; may be empty.
        message: String,
    },
    /// A challenge that can't be met.
    #[error("{host}: asks for authentication by {schemes}, expected Bearer or Basic")]
    Challenge {
        /// Host and port.
        host: String,
        /// What it offers.
        schemes: String,
    },
    /// The token server's answer or address makes no sense.
    #[error("{host}: token server {realm:?} {message}")]
    Token {
        /// Host and port of the registry.
        host: String,
        /// The server's address.
        realm: String,
        /// What is wrong.
        message: String,
    },
    /// The registry names another place, where credentials or answers would travel in clear.
    #[error("{host}: {what} {url:?} has no TLS, and that host is not marked insecure itself")]
    WithoutTls {
        /// Host and port of the registry.
        host: String,
        /// `token server`, `redirect target`.
        what: &'static str,
        /// Where it leads.
        url: String,
    },
    /// Not an address that this client can ask.
    #[error("{url:?} is no address of a file: it {why}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A redirect that isn't followed.
    #[error("{url}: redirect {message}")]
    Redirect {
        /// What was asked for.
        url: String,
        /// Why.
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
        /// What it is.
        what: &'static str,
        /// Bytes.
        limit: u64,
    },
    /// The answer contradicts what was asked for.
    #[error("{url}: got {what} {got}, expected {expected}")]
    Mismatch {
        /// What was asked for.
        url: String,
        /// What is wrong.
        what: &'static str,
        /// As it came.
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
    Proxy {
        /// Its name.
        variable: String,
    },
    /// No way to log in.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

fn colon(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

fn who(with_credentials: bool) -> &'static str {
    if with_credentials { "(with credentials)" } else { "(anonymous; it may not exist, or need a login)" }
}

impl ClientError {
    /// Whether the same request may well succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            ClientError::Connect { .. } | ClientError::Body { .. } => true,
            ClientError::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// Whether this registry doesn't have what was asked for, or doesn't show it.
    pub fn is_not_found(&self) -> bool {
        matches!(self, ClientError::NotFound { .. })
    }

    /// A `ClientError` that went through an `io::Error` and whatever wrapped that.
    pub fn find<'a>(mut error: &'a (dyn std::error::Error + 'static)) -> Option<&'a ClientError> {
        loop {
            if let Some(found) = error.downcast_ref::<ClientError>() {
                return Some(found);
            }
            if let Some(inner) = error.downcast_ref::<io::Error>().and_then(|e| e.get_ref()) {
                error = inner;
                continue;
            }
            error = error.source()?;
        }
    }
}

impl From<ClientError> for io::Error {
    fn from(e: ClientError) -> Self {
        io::Error::other(e)
    }
}

/// One line of hostile text for a message.
pub(super) fn one_line(text: &str) -> String {
    const MAX: usize = 300;
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX).collect();
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}
