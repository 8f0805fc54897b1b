//! How a client behaves.

use std::path::PathBuf;
use std::time::Duration;

use super::pace::Pace;
use super::retry::RetryPolicy;
use crate::Environment;

/// How an [`HttpClient`](super::HttpClient) behaves.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Files with certificate authorities to trust besides the system's.
    pub ca_files: Vec<PathBuf>,
    /// Directories as containers-certs.d(5) has them.
    pub certs_dirs: Vec<PathBuf>,
    /// When to try again.
    pub retry: RetryPolicy,
    /// For a connection, TLS included.
    pub(crate) connect_timeout: Duration,
    /// How long a server may be silent.
    pub idle_timeout: Duration,
    /// How long a small document may take once its answer has begun: a manifest, a token, a list of checksums, an error's text.
    pub document_timeout: Duration,
    /// How slow a body may be.
    pub pace: Pace,
    /// `User-Agent`.
    pub user_agent: String,
}

impl HttpOptions {
    /// The defaults, with the directories that the environment leads to.
    pub fn new(environment: &Environment) -> Self {
        let user = environment.config_home().map(|c| c.join("containers/certs.d"));
        let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
        HttpOptions {
            ca_files: Vec::new(),
            certs_dirs: user.into_iter().chain(system).collect(),
            retry: RetryPolicy::default(),
            connect_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(60),
            document_timeout: Duration::from_secs(60),
            pace: Pace::default(),
            user_agent: concat!("flix/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}
