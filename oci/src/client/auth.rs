//! Basic authentication, and bearer tokens as the distribution project specifies them (token.md, oauth.md there).

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use store::http::{HttpError, Response, Scheme, Url, form_encode, one_line};
use tree::Events;

use super::challenge::Challenge;
use super::{Client, ClientError};
use crate::{credentials::Credential, registries::Endpoint};

/// Bytes. A token with a long list of scopes has some KiB.
const TOKEN_MAX: u64 = 1 << 20;
/// Says who we are to OAuth2 servers.
const CLIENT_ID: &str = "flix";

/// What is sent to one repository.
#[derive(Default)]
pub(super) struct Access {
    /// Grows with each new header, so that of several threads that were refused, one gets a new token.
    pub generation: u64,
    /// The value of `Authorization`; none if the registry hasn't asked for any.
    pub header: Option<String>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Access(generation {})", self.generation)
    }
}

/// By host and repository.
pub(super) type Accesses = Mutex<HashMap<(String, String), Arc<Mutex<Access>>>>;

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Client {
    pub(super) fn access(&self, endpoint: &Endpoint) -> Arc<Mutex<Access>> {
        let key = (endpoint.host.clone(), endpoint.repository.clone());
        let mut all = self.accesses.lock().unwrap_or_else(|e| e.into_inner());
        all.entry(key).or_default().clone()
    }

    /// Meets the challenge of a 401. `generation` is that of the header that was refused.
    pub(super) fn authorize(
        &self,
        endpoint: &Endpoint,
        refused: Response,
        generation: u64,
        events: &dyn Events,
    ) -> Result<(), ClientError> {
        let access = self.access(endpoint);
        let mut access = access.lock().unwrap_or_else(|e| e.into_inner());
        if access.generation != generation {
            return Ok(());
        }
        let challenges = challenges(&refused);
        let credential = self.credentials.find(&endpoint.host, &endpoint.repository)?;
        let bearer = challenges.iter().find(|c| c.scheme == "bearer" && c.get("realm").is_some());
        let basic = challenges.iter().any(|c| c.scheme == "basic");
        let header = match (bearer, &credential) {
            (Some(_), Some(Credential::RegistryToken(token))) => format!("Bearer {token}"),
            (Some(challenge), credential) => {
                let token = self.token(endpoint, challenge, credential.as_ref(), events)?;
                format!("Bearer {token}")
            }
            (None, Some(Credential::Basic { user, password })) if basic => basic_header(user, password),
            (None, _) if basic => return Err(self.denied(endpoint, refused)),
            (None, _) => {
                let schemes: Vec<_> = challenges.iter().map(|c| one_line(&c.scheme)).collect();
                let schemes = if schemes.is_empty() { "nothing".into() } else { schemes.join(", ") };
                return Err(ClientError::Challenge { host: endpoint.host.clone(), schemes });
            }
        };
        if !header.bytes().all(|b| (b' '..0x7f).contains(&b)) {
            let message = "gave a token with control characters".into();
            return Err(ClientError::Token { host: endpoint.host.clone(), realm: String::new(), message });
        }
        access.header = Some(header);
        access.generation += 1;
        Ok(())
    }

    /// The error for a 401 or 403 that no credential of ours changes.
    pub(super) fn denied(&self, endpoint: &Endpoint, response: Response) -> ClientError {
        let credential = self.credentials.find(&endpoint.host, &endpoint.repository);
        let message = match response.foreign {
            true => format!("redirected to {}, which refuses access", response.url),
            false => response.message(),
        };
        ClientError::Denied {
            host: endpoint.host.clone(),
            repository: endpoint.repository.clone(),
            with_credentials: matches!(credential, Ok(Some(_))),
            message,
        }
    }

    fn token(
        &self,
        endpoint: &Endpoint,
        challenge: &Challenge,
        credential: Option<&Credential>,
        events: &dyn Events,
    ) -> Result<String, ClientError> {
        let realm = challenge.get("realm").unwrap_or_default();
        let bad = |message: String| ClientError::Token {
            host: endpoint.host.clone(),
            realm: Url::parse(realm).map(|u| u.to_string()).unwrap_or_default(),
            message,
        };
        let url = Url::parse(realm).map_err(|e| bad(format!("address {e}")))?;
        // The password goes there, so a registry that is trusted without TLS can't vouch for it.
        let insecure = self.is_insecure(endpoint, &url);
        if url.scheme == Scheme::Http && !insecure {
            let host = endpoint.host.clone();
            return Err(HttpError::WithoutTls { host, what: "token server", url: url.to_string() }.into());
        }
        let own_scope = format!("repository:{}:pull", endpoint.repository);
        let scope = challenge.get("scope").filter(|s| !s.is_empty()).unwrap_or(&own_scope);
        let service = challenge.get("service").filter(|s| !s.is_empty());
        let response = match credential {
            Some(Credential::IdentityToken(refresh)) => {
                let mut body = format!("grant_type=refresh_token&client_id={CLIENT_ID}");
                for (name, value) in
                    [("service", service), ("scope", Some(scope)), ("refresh_token", Some(refresh))]
                {
                    if let Some(value) = value {
                        body.push_str(&format!("&{name}={}", form_encode(value)));
                    }
                }
                self.http.retrying(false, events, || self.http.post_form(&url, insecure, &body))?
            }
            credential => {
                let mut url = url.clone();
                if let Some(service) = service {
                    url = url.with("service", service);
                }
                // Several scopes come as one parameter, with blanks.
                for scope in scope.split(' ').filter(|s| !s.is_empty()) {
                    url = url.with("scope", scope);
                }
                let header = match credential {
                    Some(Credential::Basic { user, password }) => {
                        url = url.with("account", user);
                        Some(basic_header(user, password))
                    }
                    _ => None,
                };
                self.http.retrying(false, events, || self.follow(&url, endpoint, header.as_deref(), &[]))?
            }
        };
        match response.status {
            200 => {}
            400 | 401 | 403 => return Err(self.denied(endpoint, response)),
            _ => return Err(response.into_error().into()),
        }
        let mut bytes = Vec::new();
        let read = response.body.take(TOKEN_MAX).read_to_end(&mut bytes);
        read.map_err(|e| bad(format!("broke off: {e}")))?;
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| bad("gave no valid JSON".into()))?;
        let token = [answer.token, answer.access_token].into_iter().flatten().find(|t| !t.is_empty());
        token.ok_or_else(|| bad("gave no token".into()))
    }
}

fn challenges(response: &Response) -> Vec<Challenge> {
    let headers = response.headers.get_all("www-authenticate");
    Challenge::parse(headers.iter().filter_map(|v| v.to_str().ok()))
}

/// Whether there is a challenge of a kind that we know.
pub(super) fn can_be_met(response: &Response) -> bool {
    challenges(response)
        .iter()
        .any(|c| c.scheme == "basic" || (c.scheme == "bearer" && c.get("realm").is_some()))
}

fn basic_header(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
