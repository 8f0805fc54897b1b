//! Files of a database.

use tree::{Content, ContentError, Tree, TreePath};

/// Bytes. The largest file of a database that is read; the status of 4,000 Debian packages has 6 MiB.
pub(crate) const FILE_LIMIT: u64 = 256 << 20;

/// Why a database can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum DatabaseError {
    /// Content that can't be had.
    #[error("{path}: {source}")]
    Content { path: TreePath, source: ContentError },
    /// More than any root file system has.
    #[error("package database: {what}, more than the {limit} that are read")]
    TooMany { what: &'static str, limit: usize },
    /// A format that isn't read.
    #[error("{path}: {what}")]
    Format { path: TreePath, what: &'static str },
}

/// A file of a database; none if it isn't there.
pub(crate) fn content<'t>(tree: &'t Tree, path: &str) -> Option<(TreePath, &'t Content)> {
    let real = tree.resolve(path, true).ok()?.path;
    let content = tree.get(&real)?.content()?;
    Some((real, content))
}

/// The text of such a file. Bytes that are no UTF-8 become replacement characters.
pub(crate) fn text(tree: &Tree, path: &str) -> Result<Option<String>, DatabaseError> {
    let Some((path, content)) = content(tree, path) else { return Ok(None) };
    let bytes = content.read(FILE_LIMIT).map_err(|source| DatabaseError::Content { path, source })?;
    Ok(Some(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
    }))
}

/// The bytes of a list of paths, which need not be UTF-8.
pub(crate) fn bytes(tree: &Tree, path: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
    let Some((path, content)) = content(tree, path) else { return Ok(None) };
    content.read(FILE_LIMIT).map(Some).map_err(|source| DatabaseError::Content { path, source })
}
