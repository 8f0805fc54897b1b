//! Extended attributes, behind the inode that they belong to: `struct erofs_xattr_ibody_header` and its entries.

use crate::error::ImageError;
use crate::format::Format;
use tree::{Node, TreePath};

/// EROFS_XATTR_INDEX_*, for names that begin so; the last two are whole names.
const PREFIXES: [(u8, &[u8]); 5] = [
    (1, b"user."),
    (4, b"trusted."),
    (6, b"security."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
];

/// Bytes.
const HEADER: usize = 12;

/// Number of the prefix, and the rest of the name.
fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    let found = PREFIXES.iter().find_map(|&(index, prefix)| Some((index, name.strip_prefix(prefix)?)))?;
    // Some prefixes want a rest, the others have none.
    (found.1.is_empty() == matches!(found.0, 2 | 3)).then_some(found)
}

/// Whether there is room for a name.
pub(crate) fn stores(name: &[u8]) -> bool {
    split(name).is_some()
}

/// All attributes of a node; nothing if it has none.
pub(super) fn body(path: &TreePath, node: &Node) -> Result<Vec<u8>, ImageError> {
    if node.meta.xattrs.is_empty() {
        return Ok(Vec::new());
    }
    let refuse = |reason| ImageError::Unstorable { path: path.clone(), format: Format::Erofs, reason };
    let mut out = vec![0; HEADER];
    for (name, value) in &node.meta.xattrs {
        let (index, rest) = split(name).ok_or_else(|| refuse("has an attribute of an unknown kind"))?;
        let name_len = u8::try_from(rest.len()).map_err(|_| refuse("has an attribute with a long name"))?;
        let value_len = u16::try_from(value.len()).map_err(|_| refuse("has an attribute of 64 KiB"))?;
        out.extend_from_slice(&[name_len, index]);
        out.extend_from_slice(&value_len.to_le_bytes());
        out.extend_from_slice(rest);
        out.extend_from_slice(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    // i_xattr_icount has 16 bits.
    if count(out.len()).is_none() {
        return Err(refuse("has more than 256 KiB of attributes"));
    }
    Ok(out)
}

/// `i_xattr_icount` for a body of that length.
pub(super) fn count(len: usize) -> Option<u16> {
    if len == 0 { Some(0) } else { u16::try_from((len - HEADER) / 4 + 1).ok() }
}
