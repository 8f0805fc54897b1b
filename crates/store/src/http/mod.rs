//! Transfers over HTTP: connections, TLS, proxies, redirects, retries and resumable downloads.
//!
//! Registries and plain URLs share all of it. Who may be asked and with which credentials is the callers' part.

mod url;
pub use url::{Scheme, Url, form_encode, is_domain};

mod error;
pub use error::{HttpError, colon, one_line};

mod proxy;
mod tls;

mod pace;
pub use pace::Pace;

mod connection;
pub use connection::Response;

mod retry;
pub use retry::{RetryPolicy, TransferError};

mod reach;
mod redirect;
pub use redirect::RedirectPolicy;

mod resume;
pub use resume::{Origin, ResumableDownload};

mod options;
pub use options::HttpOptions;

mod client;
pub use client::HttpClient;

mod download;
pub use download::{Download, GetRequest, TaggedDocument};
