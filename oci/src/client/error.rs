//! What goes wrong between us and a registry.

use std::io;

use store::http::colon;
use store::http::{HttpError, TransferError};

use crate::credentials::CredentialsError;

/// Why a registry didn't give what it was asked for. URLs are shown without their query, which may hold signatures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ClientError {
    #[error(transparent)]
    Http(#[from] HttpError),
    /// 401 or 403, with or without credentials.
    #[error("{host}: access to {repository} denied {}{}", who(*.with_credentials), colon(message))]
    Denied {
        host: String,
        repository: String,
        /// Whether there were credentials for it.
        with_credentials: bool,
        /// What the registry says, in one line; may be empty.
        message: String,
    },
    /// A challenge that can't be met.
    #[error("{host}: asks for authentication by {schemes}, expected Bearer or Basic")]
    Challenge { host: String, schemes: String },
    /// The token server's answer or address makes no sense.
    #[error("{host}: token server {realm:?} {message}")]
    Token {
        /// Host and port of the registry.
        host: String,
        realm: String,
        message: String,
    },
    /// No way to log in.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

fn who(with_credentials: bool) -> &'static str {
    if with_credentials { "(with credentials)" } else { "(anonymous; it may not exist, or need a login)" }
}

impl TransferError for ClientError {
    fn http(&self) -> Option<&HttpError> {
        match self {
            ClientError::Http(e) => Some(e),
            _ => None,
        }
    }
}

impl ClientError {
    /// Whether this registry doesn't have what was asked for, or doesn't show it.
    pub fn is_not_found(&self) -> bool {
        self.http().is_some_and(HttpError::is_not_found)
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
