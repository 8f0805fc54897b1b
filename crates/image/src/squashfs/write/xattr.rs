//! Extended attributes: lists of them, each list once, and a table that numbers the lists.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use super::WriteError;
use super::metadata::{MetadataWriter, write_records};
use super::output::Output;
use crate::codec::Encoder;
use crate::squashfs::layout::{self, NO_XATTRS, Record as _, XATTR_PREFIXES, XattrEntry, XattrList};
use tree::{Meta, TreePath, escape};

type List = BTreeMap<Vec<u8>, Vec<u8>>;

/// The lists of a tree, each once.
#[derive(Default)]
pub(super) struct XattrTable<'t> {
    numbers: HashMap<&'t List, u32>,
    lists: Vec<&'t List>,
}

impl<'t> XattrTable<'t> {
    /// The number of the list of `meta`, [`NO_XATTRS`] if it is empty.
    pub(super) fn number(&mut self, path: &TreePath, meta: &'t Meta) -> Result<u32, WriteError> {
        if meta.xattrs.is_empty() {
            return Ok(NO_XATTRS);
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
        let mut lists = Vec::with_capacity(self.lists.len());
        for list in &self.lists {
            let reference = values.place().reference();
            let bytes = stored(list);
            values.write(&bytes)?;
            lists.push(XattrList { reference, count: list.len() as u32, size: bytes.len() as u32 });
        }
        values.finish()?;
        // The header stands before the index of the blocks.
        let index = write_records(out, encoder()?, lists.iter())?;
        let start = out.position;
        let table = layout::XattrTable { values_start, count: self.lists.len() as u32, unused: 0 };
        out.write_all(&table.to_bytes())?;
        out.write_all(&index)?;
        Ok(Some(start))
    }
}

fn prefix(name: &[u8]) -> Option<(u16, &[u8])> {
    XATTR_PREFIXES.iter().find_map(|(prefix, kind)| name.strip_prefix(*prefix).map(|rest| (*kind, rest)))
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
        XattrEntry { kind, name_len: rest.len() as u16 }.put(&mut bytes);
        bytes.extend_from_slice(rest);
        bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
        bytes.extend_from_slice(value);
    }
    bytes
}
