//! The OpenPGP key that signs a release.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use signature::{ReleaseSigner, SignatureError};

/// A key that can't sign.
#[derive(Debug, thiserror::Error)]
#[error("{path:?}: {source}")]
pub(super) struct SignKeyError {
    path: PathBuf,
    source: SignatureError,
}

pub(super) fn read(path: &Path) -> anyhow::Result<ReleaseSigner> {
    let bytes = std::fs::read(path).with_context(|| format!("{path:?}"))?;
    let signer =
        ReleaseSigner::parse(&bytes).map_err(|source| SignKeyError { path: path.to_owned(), source })?;
    Ok(signer)
}
