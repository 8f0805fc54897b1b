//! Runs `docker-credential-NAME get`: the protocol of the docker-credential-helpers project.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::{Credential, CredentialsError};

/// Bytes that an answer may have.
const LIMIT: u64 = 1 << 20;

pub(super) struct Helper<'a> {
    name: &'a str,
    search_path: Option<&'a OsStr>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl<'a> Helper<'a> {
    pub(super) fn new(name: &'a str, search_path: Option<&'a OsStr>) -> Result<Self, CredentialsError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(plain) {
            let message = "is not a helper's name, expected letters, digits and - _ .".into();
            return Err(CredentialsError::Helper { helper: name.escape_debug().to_string(), message });
        }
        Ok(Helper { name, search_path })
    }

    /// The credential for a server; none if the helper has no entry for it.
    pub(super) fn get(&self, server: &str) -> Result<Option<Credential>, CredentialsError> {
        let mut command = Command::new(format!("docker-credential-{}", self.name));
        if let Some(path) = self.search_path {
            command.env("PATH", path);
        }
        command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|e| self.error(e.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that doesn't read its input will say so by its answer.
            let _ = stdin.write_all(server.as_bytes());
        }
        let mut out = Vec::new();
        let read = match child.stdout.take() {
            Some(stdout) => stdout.take(LIMIT).read_to_end(&mut out),
            None => Ok(0),
        };
        let status = child.wait().map_err(|e| self.error(e.to_string()))?;
        read.map_err(|e| self.error(e.to_string()))?;
        if !status.success() {
            // Errors come on standard output; this one isn't one.
            let message = String::from_utf8_lossy(&out);
            let message = message.trim();
            if message.contains("credentials not found") {
                return Ok(None);
            }
            let message = message.lines().next().unwrap_or_default();
            return Err(self.error(format!("{status}: {message}")));
        }
        let answer: Answer =
            serde_json::from_slice(&out).map_err(|_| self.error("answer is not the expected JSON".into()))?;
        Ok(match (answer.username.as_str(), answer.secret) {
            (_, secret) if secret.is_empty() => None,
            ("<token>", secret) => Some(Credential::IdentityToken(secret)),
            (user, password) => Some(Credential::Basic { user: user.into(), password }),
        })
    }

    fn error(&self, message: String) -> CredentialsError {
        CredentialsError::Helper { helper: self.name.into(), message }
    }
}
