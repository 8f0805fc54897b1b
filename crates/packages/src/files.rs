//! Files of a database.

use tree::{Content, Tree, TreePath};

use crate::DatabaseError;
use crate::budget::Budget;

/// Bytes. The largest file of a database that is read; the status of 4,000 Debian packages has 6 MiB.
pub(crate) const FILE_LIMIT: u64 = 256 << 20;

/// The content of a file of a database; none if it isn't there.
pub(crate) fn content<'t>(
    tree: &'t Tree,
    path: &str,
    budget: &mut Budget,
) -> Result<Option<(TreePath, &'t Content)>, DatabaseError> {
    let Some(real) = budget.resolve(tree, path, true)? else { return Ok(None) };
    let content = tree.get(&real.path).and_then(|n| n.content());
    Ok(content.map(|content| (real.path, content)))
}

/// Reads such a content.
pub(crate) fn read(
    path: &TreePath,
    content: &Content,
    budget: &mut Budget,
) -> Result<Vec<u8>, DatabaseError> {
    // A larger one is an error by itself.
    budget.bytes(content.len().min(FILE_LIMIT) as usize)?;
    content.read(FILE_LIMIT).map_err(|source| DatabaseError::Content { path: path.clone(), source })
}

/// The bytes of a list of paths, which need not be UTF-8; none if it isn't there.
pub(crate) fn bytes(tree: &Tree, path: &str, budget: &mut Budget) -> Result<Option<Vec<u8>>, DatabaseError> {
    let Some((path, content)) = content(tree, path, budget)? else { return Ok(None) };
    read(&path, content, budget).map(Some)
}

/// The text of such a file. Bytes that are no UTF-8 become replacement characters.
pub(crate) fn text(tree: &Tree, path: &str, budget: &mut Budget) -> Result<Option<String>, DatabaseError> {
    let Some(bytes) = bytes(tree, path, budget)? else { return Ok(None) };
    Ok(Some(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
    }))
}
