//! Talks to registries: OCI's distribution-spec, as far as pulling needs it, over blocking connections.
//!
//! What registries and networks do wrong is dealt with here: several challenges, tokens that expire in the middle,
//! redirects, rate limits, connections that break. Credentials go to the host that they are for and nowhere else.

mod auth;
mod challenge;

mod error;
pub use error::ClientError;

mod blob;
pub(crate) use blob::BlobReader;

use std::collections::HashMap;
use std::sync::Mutex;

use store::http::{GetRequest, HttpClient, HttpError, HttpOptions, RedirectPolicy, Response, Scheme, Url};
use store::{Digest, Environment};
use tree::Events;

use crate::credentials::Credentials;
use crate::manifest::MANIFEST_MAX;
use crate::reference::DOCKER_HUB;
use crate::registries::Endpoint;
use auth::Accesses;

/// Media types of manifests and indexes, the newer ones first.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// How a [`Client`] behaves.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Connections, certificates and retries.
    pub http: HttpOptions,
    /// `HOST[:PORT]` or `*.DOMAIN`: where plain HTTP and unverified TLS are allowed to token servers and redirects, too. What
    /// an [`Endpoint`] allows is for its own host and port alone.
    pub insecure_hosts: Vec<String>,
}

impl ClientOptions {
    /// The defaults, with the directories that the environment leads to.
    pub fn new(environment: &Environment) -> Self {
        ClientOptions { http: HttpOptions::new(environment), insecure_hosts: Vec::new() }
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
    insecure_hosts: Vec<String>,
    http: HttpClient,
    accesses: Accesses,
    /// What insecure hosts turned out to speak.
    schemes: Mutex<HashMap<String, Scheme>>,
}

impl Client {
    /// A client without connections. The environment says which proxies to use.
    pub fn new(options: ClientOptions, credentials: Credentials, environment: Environment) -> Client {
        Client {
            credentials,
            insecure_hosts: options.insecure_hosts,
            http: HttpClient::new(options.http, environment),
            accesses: Accesses::default(),
            schemes: Mutex::default(),
        }
    }

    /// A manifest or index by tag or digest. The bytes are checked against the digest, and against what the registry says
    /// itself. `spare` means that there is another server to ask.
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
        self.http.retrying(spare, events, || {
            let path = format!("/v2/{}/manifests/{reference}", endpoint.repository);
            let response = self.get(endpoint, &path, &[("accept", ACCEPT)], events)?;
            if response.status != 200 {
                return Err(response.into_error().into());
            }
            read_manifest(response, reference)
        })
    }

    /// A document of `limit` bytes at most that isn't the registry's, such as a signature; none if it isn't there. Nobody's
    /// credentials go along.
    pub(crate) fn document(
        &self,
        url: &str,
        limit: u64,
        events: &dyn Events,
    ) -> Result<Option<Vec<u8>>, HttpError> {
        match self.http.tagged_document(&GetRequest::new(url), None, limit, events) {
            Ok(document) => Ok(Some(document.bytes)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
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
            return Ok(follow(Scheme::Https)?);
        }
        let known = self.schemes.lock().unwrap_or_else(|e| e.into_inner()).get(host).copied();
        if let Some(scheme) = known {
            return Ok(follow(scheme)?);
        }
        let (scheme, response) = match follow(Scheme::Https) {
            Ok(response) => (Scheme::Https, response),
            Err(HttpError::PlainHttp { .. } | HttpError::Tls { .. } | HttpError::Connect { .. }) => {
                (Scheme::Http, follow(Scheme::Http)?)
            }
            Err(e) => return Err(e.into()),
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
    ) -> Result<Response, HttpError> {
        self.http.get(url, authorization, headers, &EndpointPolicy { client: self, endpoint })
    }
}

/// Without TLS only where the configuration allows it.
struct EndpointPolicy<'a> {
    client: &'a Client,
    endpoint: &'a Endpoint,
}

impl RedirectPolicy for EndpointPolicy<'_> {
    fn is_insecure(&self, url: &Url) -> bool {
        self.client.is_insecure(self.endpoint, url)
    }

    fn check(&self, _: &Url, to: &Url) -> Result<(), HttpError> {
        if to.scheme == Scheme::Http && !self.is_insecure(to) {
            let host = self.endpoint.host.clone();
            return Err(HttpError::WithoutTls { host, what: "redirect target", url: to.to_string() });
        }
        Ok(())
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
    let media_type = response.content_type();
    let stated = response.header("docker-content-digest").map(str::to_owned);
    let too_large = || HttpError::TooLarge { url: url.clone(), what: "manifest", limit: MANIFEST_MAX };
    let bytes = response.bytes(MANIFEST_MAX, too_large)?;
    // Some registries send manifests as text/html, so that the first character decides.
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'<') {
        return Err(HttpError::Html { url, expected: "a manifest" }.into());
    }
    let digest = Digest::of(&bytes);
    // The registry's word is optional, and in another algorithm it can't be checked; the caller's counts.
    let stated = stated.filter(|d| d.starts_with("sha256:"));
    let wanted = reference.contains(':').then(|| reference.to_owned());
    for expected in [wanted, stated].into_iter().flatten() {
        if expected != digest.to_string() {
            let got = digest.to_string();
            return Err(HttpError::Mismatch { url, what: "digest", got, expected }.into());
        }
    }
    Ok(Fetched { bytes, digest, media_type })
}
