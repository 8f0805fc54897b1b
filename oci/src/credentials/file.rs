//! One auth file.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Credential, CredentialsError};
use crate::reference::DOCKER_HUB;

/// Docker's key for Docker Hub.
pub(super) const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// As typed. Keys that aren't listed belong to other tools.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// Checked. Keys are `HOST[:PORT][/PATH]`.
pub(super) struct AuthFile {
    auths: BTreeMap<String, Credential>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

impl AuthFile {
    /// Reads a file; none if it isn't there.
    pub(super) fn read(path: &Path) -> Result<Option<AuthFile>, CredentialsError> {
        let io = |source| CredentialsError::Io { path: path.into(), source };
        let text = match store::small_file::read_text(path) {
            Ok(text) => text,
            // Another user's runtime directory can't be entered.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(e) => return Err(io(e)),
        };
        Self::parse(&text)
            .map(Some)
            .map_err(|message| CredentialsError::Syntax { path: path.into(), message })
    }

    /// The error says what is wrong and where, and quotes nothing.
    pub(super) fn parse(text: &str) -> Result<AuthFile, String> {
        if text.trim().is_empty() {
            return Ok(AuthFile { auths: BTreeMap::new(), helpers: BTreeMap::new(), store: None });
        }
        let typed: Typed = serde_json::from_str(text).map_err(|e| {
            // serde_json quotes what it didn't expect, and that may be a secret.
            let what = if e.is_data() { "has a value of the wrong type" } else { "is not valid JSON" };
            format!("{what} (line {}, column {})", e.line(), e.column())
        })?;
        let mut auths = BTreeMap::new();
        for (key, entry) in typed.auths {
            if let Some(credential) = entry.credential().map_err(|e| format!("auths, {key:?}: {e}"))? {
                auths.insert(normal(&key), credential);
            }
        }
        let helpers = typed.cred_helpers.into_iter().map(|(k, v)| (normal(&k), v)).collect();
        Ok(AuthFile { auths, helpers, store: typed.creds_store.filter(|s| !s.is_empty()) })
    }

    /// The most specific entry: `quay.io/user/app`, `quay.io/user`, `quay.io`.
    pub(super) fn find(&self, host: &str, repository: &str) -> Option<&Credential> {
        let mut key = format!("{host}/{repository}");
        loop {
            if let Some(found) = self.auths.get(&key) {
                return Some(found);
            }
            match key.rfind('/') {
                Some(slash) => key.truncate(slash),
                None => return None,
            }
        }
    }

    pub(crate) fn helper_for(&self, host: &str) -> Option<&str> {
        self.helpers.get(host).map(String::as_str).filter(|h| !h.is_empty())
    }

    pub(super) fn store(&self) -> Option<&str> {
        self.store.as_deref()
    }
}

impl Entry {
    fn credential(self) -> Result<Option<Credential>, &'static str> {
        let some = |v: Option<String>| v.filter(|v| !v.is_empty());
        if let Some(token) = some(self.identitytoken) {
            return Ok(Some(Credential::IdentityToken(token)));
        }
        if let Some(token) = some(self.registrytoken) {
            return Ok(Some(Credential::RegistryToken(token)));
        }
        if let Some(auth) = some(self.auth) {
            let bytes = STANDARD.decode(auth.trim()).map_err(|_| "auth is not base64")?;
            let text = String::from_utf8(bytes).map_err(|_| "auth is not UTF-8 under its base64")?;
            let (user, password) = text.split_once(':').ok_or("auth has no colon under its base64")?;
            // Docker pads passwords with NUL bytes.
            let password = password.trim_end_matches('\0');
            return Ok(Some(Credential::Basic { user: user.into(), password: password.into() }));
        }
        match (some(self.username), some(self.password)) {
            (Some(user), Some(password)) => Ok(Some(Credential::Basic { user, password })),
            // `docker login` with a credential store leaves an empty entry.
            _ => Ok(None),
        }
    }
}

/// Docker's older keys are URLs: `https://index.docker.io/v1/`, `https://host/v2/`.
fn normal(key: &str) -> String {
    let url = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let name = match url {
        // Of a URL, only the host counts.
        Some(rest) => rest.split('/').next().unwrap_or(rest),
        None => key.trim_end_matches('/'),
    };
    match name.split_once('/').map_or((name, ""), |(h, p)| (h, p)) {
        ("index.docker.io" | "registry-1.docker.io" | "docker.io", "" | "v1" | "v2") => DOCKER_HUB.into(),
        (host, "v1" | "v2") => host.into(),
        _ => name.into(),
    }
}
