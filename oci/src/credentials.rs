//! Who we are to a registry: containers-auth.json(5), Docker's config.json and docker-credential-helpers.
//!
//! Secrets have no `Display`, and their `Debug` shows stars.

mod file;
mod helper;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::reference::DOCKER_HUB;
use file::AuthFile;
use helper::Helper;
use store::Environment;

/// A user's secret for a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// Name and password.
    Basic {
        /// The user's name.
        user: String,
        /// The password, or an access token in its place.
        password: String,
    },
    /// An OAuth2 refresh token, to be exchanged for an access token.
    IdentityToken(String),
    /// A bearer token, to be sent as it is.
    RegistryToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Basic { user, .. } => write!(f, "Basic({user:?}, ***)"),
            Credential::IdentityToken(_) => f.write_str("IdentityToken(***)"),
            Credential::RegistryToken(_) => f.write_str("RegistryToken(***)"),
        }
    }
}

/// Why credentials can't be had. Never shows one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum CredentialsError {
    /// The file can't be read.
    #[error("{path:?}: {source}")]
    Io {
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not JSON of the expected shape. The parser's words are left out where they could quote a secret.
    #[error("{path:?}: {message}")]
    Syntax {
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// A helper that can't be run, or fails.
    #[error("docker-credential-{helper}: {message}")]
    Helper {
        /// The part of its name behind `docker-credential-`.
        helper: String,
        message: String,
    },
}

/// Where credentials are looked up. Files are read once, when the first registry asks for credentials.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    files: Vec<PathBuf>,
    helpers: Vec<String>,
    search_path: Option<OsString>,
}

impl Credentials {
    /// No credentials at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// The files in their order. `file`, or `REGISTRY_AUTH_FILE`, is the only one if it is given.
    ///
    /// # Errors
    /// An explicit file that isn't there.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, CredentialsError> {
        let search_path = environment.get("PATH").map(Into::into);
        let explicit = file.or_else(|| environment.get("REGISTRY_AUTH_FILE").map(Path::new));
        if let Some(path) = explicit {
            path.metadata().map_err(|source| CredentialsError::Io { path: path.into(), source })?;
            return Ok(Credentials { files: vec![path.into()], search_path, ..Self::default() });
        }
        let runtime = match environment.dir("XDG_RUNTIME_DIR") {
            Some(dir) => dir.join("containers/auth.json"),
            None => format!("/run/containers/{}/auth.json", rustix::process::getuid().as_raw()).into(),
        };
        let docker = match environment.dir("DOCKER_CONFIG") {
            Some(dir) => Some(dir.join("config.json")),
            None => environment.home().map(|h| h.join(".docker/config.json")),
        };
        let config = environment.config_home().map(|c| c.join("containers/auth.json"));
        let files = [Some(runtime), config, docker].into_iter().flatten().collect();
        Ok(Credentials { files, search_path, ..Self::default() })
    }

    /// Asks these helpers (`credential-helpers` of registries.conf(5)) in their order; `containers-auth.json` stands for
    /// the auth files.
    pub fn with_helpers(mut self, helpers: &[String]) -> Self {
        self.helpers = helpers.to_vec();
        self
    }

    /// The credential for a repository, the most specific entry of the first file that has one.
    ///
    /// # Errors
    /// A file that can't be read or understood; a helper that fails other than by having no entry.
    pub fn find(&self, host: &str, repository: &str) -> Result<Option<Credential>, CredentialsError> {
        if self.helpers.is_empty() {
            return self.find_in_files(host, repository);
        }
        for name in &self.helpers {
            let found = match name.as_str() {
                "containers-auth.json" => self.find_in_files(host, repository)?,
                name => self.helper(name)?.get(host)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn find_in_files(&self, host: &str, repository: &str) -> Result<Option<Credential>, CredentialsError> {
        for path in &self.files {
            let Some(file) = AuthFile::read(path)? else { continue };
            if let Some(name) = file.helper_for(host) {
                if let Some(found) = self.helper(name)?.get(host)? {
                    return Ok(Some(found));
                }
                continue;
            }
            if let Some(found) = file.find(host, repository) {
                return Ok(Some(found.clone()));
            }
            if let Some(name) = file.store() {
                // Docker keeps Docker Hub's credentials under the address of its first API.
                let server = if host == DOCKER_HUB { file::DOCKER_HUB_KEY } else { host };
                if let Some(found) = self.helper(name)?.get(server)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    fn helper<'a>(&'a self, name: &'a str) -> Result<Helper<'a>, CredentialsError> {
        Helper::new(name, self.search_path.as_deref())
    }
}
