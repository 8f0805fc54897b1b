//! Talks to registries: OCI's distribution-spec, as far as pulling needs it, over blocking connections.
//!
//! What registries and networks do wrong is dealt with here: several challenges, tokens that expire in the middle,
//! redirects, rate limits, connections that break. Credentials go to the host that they are for and nowhere else.

mod auth;
mod challenge;
mod http;
mod proxy;
mod tls;
mod url;

mod error;
pub use error::ClientError;

mod retry;
pub use retry::RetryPolicy;

mod blob;
pub use blob::BlobReader;

mod download;
pub use download::{Download, Get};

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use tree::{Event, Events};

use crate::{credentials::Credentials, manifest::MANIFEST_MAX, reference::DOCKER_HUB, registries::Endpoint};
use auth::Accesses;
use http::{Http, Response};
use store::{Digest, Environment, Hasher};
use tls::Trust;
use url::{Scheme, Url};

/// Redirects that are followed for one request. As many as Go's client follows, which registries are tested with.
const REDIRECTS: usize = 10;

/// Media types of manifests and indexes, the newer ones first.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// How a [`Client`] behaves.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Files with certificate authorities to trust besides the system's.
    pub ca_files: Vec<PathBuf>,
    /// Directories as containers-certs.d(5) has them.
    pub certs_dirs: Vec<PathBuf>,
    /// `HOST[:PORT]` or `*.DOMAIN`: where plain HTTP and unverified TLS are allowed to token servers and redirects, too. What
    /// an [`Endpoint`] allows is for its own host and port alone.
    pub insecure_hosts: Vec<String>,
    /// When to try again.
    pub retry: RetryPolicy,
    /// For a connection, TLS included.
    pub connect_timeout: Duration,
    /// How long a registry may be silent.
    pub idle_timeout: Duration,
    /// `User-Agent`.
    pub user_agent: String,
}

impl ClientOptions {
    /// The defaults, with the directories that the environment leads to.
    pub fn new(environment: &Environment) -> Self {
        let user = environment.config_home().map(|c| c.join("containers/certs.d"));
        let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
        ClientOptions {
            ca_files: Vec::new(),
            certs_dirs: user.into_iter().chain(system).collect(),
            insecure_hosts: Vec::new(),
            retry: RetryPolicy::default(),
            connect_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(60),
            user_agent: concat!("flix/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

/// A manifest as the registry has it.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The very bytes.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// `Content-Type`, lower case, without parameters.
    pub media_type: Option<String>,
}

/// A registry client. May be used from several threads at once; holds connections and tokens.
#[derive(Debug)]
pub struct Client {
    credentials: Credentials,
    retry: RetryPolicy,
    insecure_hosts: Vec<String>,
    http: Http,
    accesses: Accesses,
    /// What insecure hosts turned out to speak.
    schemes: Mutex<HashMap<String, Scheme>>,
}

impl Client {
    /// A client without connections. The environment says which proxies to use.
    pub fn new(options: ClientOptions, credentials: Credentials, environment: Environment) -> Client {
        let trust = Trust::new(options.ca_files, options.certs_dirs);
        let http =
            Http::new(environment, trust, options.user_agent, options.connect_timeout, options.idle_timeout);
        Client {
            credentials,
            retry: options.retry,
            insecure_hosts: options.insecure_hosts,
            http,
            accesses: Accesses::default(),
            schemes: Mutex::default(),
        }
    }

    /// A manifest or index by tag or digest. The bytes are checked against the digest, and against what the registry says
    /// itself. `spare` tells that there is another place to ask.
    ///
    /// # Errors
    /// All that [`ClientError`] lists.
    pub fn manifest(
        &self,
        endpoint: &Endpoint,
        reference: &str,
        spare: bool,
        events: &dyn Events,
    ) -> Result<Fetched, ClientError> {
        self.retrying(spare, events, || {
            let path = format!("/v2/{}/manifests/{reference}", endpoint.repository);
            let response = self.get(endpoint, &path, &[("accept", ACCEPT)], events)?;
            if response.status != 200 {
                return Err(response.into_error());
            }
            read_manifest(response, reference)
        })
    }

    /// One request to a registry, with what it takes to be let in.
    fn get(
        &self,
        endpoint: &Endpoint,
        path: &str,
        headers: &[(&str, &str)],
        events: &dyn Events,
    ) -> Result<Response, ClientError> {
        let mut fresh = false;
        loop {
            let (generation, header) = {
                let access = self.access(endpoint);
                let access = access.lock().unwrap_or_else(|e| e.into_inner());
                (access.generation, access.header.clone())
            };
            let response = self.reach(endpoint, path, header.as_deref(), headers)?;
            match response.status {
                // A token may have expired. A new one that is refused, too, doesn't get better.
                // Some registries answer 403 to whoever has no token, and say all the same where to get one.
                401 | 403 if !fresh && !response.foreign && is_challenge(&response) => {
                    self.authorize(endpoint, response, generation, events)?
                }
                401 | 403 => return Err(self.denied(endpoint, response)),
                _ => return Ok(response),
            }
            fresh = true;
        }
    }

    /// Finds out whether an insecure host speaks TLS: it is tried first, since it does no harm.
    fn reach(
        &self,
        endpoint: &Endpoint,
        path: &str,
        authorization: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Result<Response, ClientError> {
        let host = api_host(endpoint);
        let follow = |scheme| {
            let url = Url::new(scheme, host, path);
            self.follow(&url, endpoint, authorization, headers)
        };
        if !endpoint.insecure {
            return follow(Scheme::Https);
        }
        let known = self.schemes.lock().unwrap_or_else(|e| e.into_inner()).get(host).copied();
        if let Some(scheme) = known {
            return follow(scheme);
        }
        let (scheme, response) = match follow(Scheme::Https) {
            Ok(response) => (Scheme::Https, response),
            Err(ClientError::PlainHttp { .. } | ClientError::Tls { .. } | ClientError::Connect { .. }) => {
                (Scheme::Http, follow(Scheme::Http)?)
            }
            Err(e) => return Err(e),
        };
        self.schemes.lock().unwrap_or_else(|e| e.into_inner()).insert(host.into(), scheme);
        Ok(response)
    }

    /// Whether plain HTTP and unverified TLS are allowed there, on behalf of an endpoint: a registry that is trusted without TLS
    /// says nothing about the hosts that it names.
    fn is_insecure(&self, endpoint: &Endpoint, url: &Url) -> bool {
        let own = || Url::new(url.scheme, api_host(endpoint), "/").same_origin(url);
        let listed = |pattern: &String| crate::registries::covers_host(pattern, &url.authority);
        (endpoint.insecure && own()) || self.insecure_hosts.iter().any(listed)
    }

    /// A GET that follows redirects. The credentials stay with their host.
    fn follow(
        &self,
        url: &Url,
        endpoint: &Endpoint,
        authorization: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Result<Response, ClientError> {
        let mut at = url.clone();
        let mut seen = vec![url.full()];
        for _ in 0..=REDIRECTS {
            let mut all = headers.to_vec();
            if let Some(authorization) = authorization.filter(|_| at.same_origin(url)) {
                all.push(("authorization", authorization));
            }
            let mut response = self.http.send(&at, self.is_insecure(endpoint, &at), &all, None)?;
            response.foreign = !at.same_origin(url);
            if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let bad = |message: String| ClientError::Redirect { url: at.to_string(), message };
            let location =
                response.headers.get("location").map(|v| v.as_bytes().trim_ascii()).unwrap_or_default();
            if location.is_empty() {
                return Err(bad("leads nowhere".into()));
            }
            let next = at.join_bytes(location).map_err(|e| bad(format!("leads to an address that {e}")))?;
            if next.scheme == Scheme::Http && !self.is_insecure(endpoint, &next) {
                return Err(ClientError::WithoutTls {
                    host: endpoint.host.clone(),
                    what: "redirect target",
                    url: next.to_string(),
                });
            }
            if seen.contains(&next.full()) {
                return Err(bad("leads in a circle".into()));
            }
            seen.push(next.full());
            at = next;
        }
        Err(ClientError::Redirect {
            url: url.to_string(),
            message: format!("leads on more than {REDIRECTS} times"),
        })
    }

    /// Repeats what fails for reasons that pass.
    fn retrying<T>(
        &self,
        spare: bool,
        events: &dyn Events,
        mut attempt: impl FnMut() -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let mut failed = 0;
        loop {
            let error = match attempt() {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            failed += 1;
            match self.retry.pause(&error, failed, spare) {
                Some(pause) => self.wait(&error, pause, events),
                None => return Err(error),
            }
        }
    }

    fn wait(&self, error: &ClientError, pause: Duration, events: &dyn Events) {
        let text = format!("{error}; trying again in {:.1} s", pause.as_secs_f32());
        events.event(Event::Warning(text.into()));
        (self.retry.sleep)(pause);
    }
}

/// Whether a refusal says what would help. Every 401 should.
fn is_challenge(response: &Response) -> bool {
    response.status == 401 || auth::can_be_met(response)
}

/// Docker Hub's API is not where its name says.
fn api_host(endpoint: &Endpoint) -> &str {
    if endpoint.host == DOCKER_HUB { "registry-1.docker.io" } else { &endpoint.host }
}

fn read_manifest(response: Response, reference: &str) -> Result<Fetched, ClientError> {
    let url = response.url.to_string();
    let too_large = || ClientError::TooLarge { url: url.clone(), what: "manifest", limit: MANIFEST_MAX };
    if response.content_length().is_some_and(|len| len > MANIFEST_MAX) {
        return Err(too_large());
    }
    let media_type = response.content_type();
    let stated = response.header("docker-content-digest").map(str::to_owned);
    let mut bytes = Vec::new();
    let read = response.body.into_reader().take(MANIFEST_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|source| ClientError::Body { url: url.clone(), source })?;
    if bytes.len() as u64 > MANIFEST_MAX {
        return Err(too_large());
    }
    // Some registries send manifests as text/html, so that the first character decides.
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'<') {
        return Err(ClientError::Html { url, expected: "a manifest" });
    }
    let mut hasher = Hasher::new();
    hasher.update(&bytes);
    let digest = hasher.finish();
    // The registry's word is optional, and in another algorithm it can't be checked; the caller's counts.
    let stated = stated.filter(|d| d.starts_with("sha256:"));
    let wanted = reference.contains(':').then(|| reference.to_owned());
    for expected in [wanted, stated].into_iter().flatten() {
        if expected != digest.to_string() {
            return Err(ClientError::Mismatch { url, what: "digest", got: digest.to_string(), expected });
        }
    }
    Ok(Fetched { bytes, digest, media_type })
}
