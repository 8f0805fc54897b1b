//! Extended attributes: lists of them, each list once, and a table that numbers the lists.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use super::metadata::{METADATA_SIZE, MetadataWriter};
use super::{Output, WriteError};
use crate::codec::Encoder;
use tree::{Meta, TreePath, escape};

/// The number of an inode without attributes. SQUASHFS_INVALID_XATTR.
pub(super) const NONE: u32 = u32::MAX;

/// Prefixes by their number, SQUASHFS_XATTR_USER and the others. All that the format knows.
const PREFIXES: [(&[u8], u16); 3] = [(b"user.", 0), (b"trusted.", 1), (b"security.", 2)];

type List = BTreeMap<Vec<u8>, Vec<u8>>;

/// The lists of a tree, each once.
#[derive(Default)]
pub(super) struct XattrTable<'t> {
    numbers: HashMap<&'t List, u32>,
    /// By number.
    lists: Vec<&'t List>,
}

impl<'t> XattrTable<'t> {
    /// The number of the list of `meta`, [`NONE`] if it is empty.
    pub(super) fn number(&mut self, path: &TreePath, meta: &'t Meta) -> Result<u32, WriteError> {
        if meta.xattrs.is_empty() {
            return Ok(NONE);
        }
        if let Some(&n) = self.numbers.get(&meta.xattrs) {
            return Ok(n);
        }
        check(path, &meta.xattrs)?;
        let n = self.lists.len() as u32;
        self.lists.push(&meta.xattrs);
        self.numbers.insert(&meta.xattrs, n);
        Ok(n)
    }

    /// Writes the tables. Says where `struct squashfs_xattr_id_table` is, if there are attributes.
    pub(super) fn write(
        &self,
        out: &mut Output<'_>,
        encoder: &dyn Fn() -> io::Result<Encoder>,
    ) -> io::Result<Option<u64>> {
        if self.lists.is_empty() {
            return Ok(None);
        }
        let values_start = out.position;
        let mut values = MetadataWriter::new(&mut *out, encoder()?);
        // `struct squashfs_xattr_id`, one after the other.
        let mut ids = Vec::with_capacity(self.lists.len());
        for list in &self.lists {
            let place = values.place();
            let bytes = stored(list);
            values.write(&bytes)?;
            let mut id = [0; 16];
            id[..8].copy_from_slice(&place.reference().to_le_bytes());
            id[8..12].copy_from_slice(&(list.len() as u32).to_le_bytes());
            id[12..].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
            ids.push(id);
        }
        values.finish()?;
        // The header stands before the index of the blocks.
        let mut index = Vec::new();
        let ids_start = out.position;
        let mut table = MetadataWriter::new(&mut *out, encoder()?);
        for (i, id) in ids.iter().enumerate() {
            if (i * id.len()).is_multiple_of(METADATA_SIZE) {
                index.extend_from_slice(&(ids_start + table.place().block).to_le_bytes());
            }
            table.write(id)?;
        }
        table.finish()?;
        let start = out.position;
        out.write_all(&values_start.to_le_bytes())?;
        out.write_all(&(self.lists.len() as u32).to_le_bytes())?;
        out.write_all(&[0; 4])?;
        out.write_all(&index)?;
        Ok(Some(start))
    }
}

fn prefix(name: &[u8]) -> Option<(u16, &[u8])> {
    PREFIXES.iter().find_map(|(prefix, kind)| name.strip_prefix(*prefix).map(|rest| (*kind, rest)))
}

/// Whether there is room for an attribute of this full name. SQUASHFS_XATTR_USER and the others are all that there is.
pub(crate) fn stores(name: &[u8]) -> bool {
    prefix(name).is_some()
}

/// Whether the format can hold the list.
fn check(path: &TreePath, list: &List) -> Result<(), WriteError> {
    let too_large = |what| WriteError::TooLarge { path: path.clone(), what };
    let mut size = 0usize;
    for (name, value) in list {
        let (_, rest) =
            prefix(name).ok_or_else(|| WriteError::Xattr { path: path.clone(), name: escape(name) })?;
        u16::try_from(rest.len()).map_err(|_| too_large("name of an extended attribute"))?;
        size = size.saturating_add(8 + rest.len()).saturating_add(value.len());
    }
    u32::try_from(size).map(drop).map_err(|_| too_large("list of extended attributes"))
}

/// `struct squashfs_xattr_entry` and `struct squashfs_xattr_val`, one after the other.
fn stored(list: &List) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in list {
        // All were checked.
        let Some((kind, rest)) = prefix(name) else { continue };
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&(rest.len() as u16).to_le_bytes());
        bytes.extend_from_slice(rest);
        bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
        bytes.extend_from_slice(value);
    }
    bytes
}
