//! What can go wrong when a database is read.

use tree::{ContentError, TreePath};

/// Why a database can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum DatabaseError {
    /// Content that can't be read.
    #[error("{path}: {source}")]
    Content { path: TreePath, source: ContentError },
    /// More than any root file system has.
    #[error("package database: more than {limit} {what}")]
    TooMany { what: &'static str, limit: u64 },
    /// A format that isn't read.
    #[error("{path}: {what}")]
    Format { path: TreePath, what: &'static str },
}
