//! Whether the policy accepts an image that is on this machine.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use store::Digest;

use super::{Reader, SourceError};
use crate::policy::{Found, PolicyError, Subject};

/// Asks before anything is read: whoever rejects an image doesn't want it looked at.
pub(super) fn first(reader: &Reader<'_>, path: &Path, subject: &Subject<'_>) -> Result<(), SourceError> {
    let rules = reader.policy.rules(subject);
    rules.map_or(Ok(()), |rules| rules.check_first()).map_err(|e| wrong(path, e))
}

/// Asks with the signatures that were found for these digests.
pub(super) fn signed(
    reader: &Reader<'_>,
    path: &Path,
    subject: &Subject<'_>,
    digests: &[Digest],
    found: &Found,
) -> Result<(), SourceError> {
    let rules = reader.policy.rules(subject);
    rules.map_or(Ok(()), |rules| rules.check(digests, found, now())).map_err(|e| wrong(path, e))
}

/// Asks for an image of a transport that keeps no signatures.
pub(super) fn unsigned(
    reader: &Reader<'_>,
    transport: &'static str,
    path: &Path,
    name: Option<&str>,
) -> Result<(), SourceError> {
    let subject = Subject::Local(transport, path, name);
    signed(reader, path, &subject, &[], &Found::default())
}

fn wrong(path: &Path, source: PolicyError) -> SourceError {
    SourceError::Policy { path: path.to_owned(), source: Box::new(source) }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
