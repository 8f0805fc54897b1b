//! Extended attributes: lists of them, each list once, and a table that numbers the lists.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use super::metadata::{METADATA_SIZE, MetadataWriter};
use super::{Output, SquashfsError};
use crate::image::Encoder;
use crate::tree::escape;
use crate::{Meta, TreePath};

/// The number of an inode without attributes. SQUASHFS_INVALID_XATTR.
pub(super) const NONE: u32 = u32::MAX;

/// Prefixes by their number, SQUASHFS_XATTR_USER and the others. All that the format knows.
const PREFIXES: [(&[u8], u16); 3] = [(b"user.", 0), (b"trusted.", 1), (b"security.", 2)];

type List = BTreeMap<Vec<u8>, Vec<u8>>;

pub(super) struct XattrTable {
    values: MetadataWriter<Vec<u8>>,
    numbers: HashMap<List, u32>,
    /// `struct squashfs_xattr_id`, one after the other.
    lists: Vec<u8>,
}

impl XattrTable {
    pub(super) fn new(values: MetadataWriter<Vec<u8>>) -> Self {
        XattrTable { values, numbers: HashMap::new(), lists: Vec::new() }
    }

    /// The number of the list of `meta`, [`NONE`] if it is empty.
    pub(super) fn number(&mut self, path: &TreePath, meta: &Meta) -> Result<u32, SquashfsError> {
        if meta.xattrs.is_empty() {
            return Ok(NONE);
        }
        if let Some(&n) = self.numbers.get(&meta.xattrs) {
            return Ok(n);
        }
        let too_large = |what| SquashfsError::TooLarge { path: path.clone(), what };
        let mut bytes = Vec::new();
        for (name, value) in &meta.xattrs {
            let (kind, rest) = PREFIXES
                .iter()
                .find_map(|(prefix, kind)| name.strip_prefix(*prefix).map(|rest| (*kind, rest)))
                .ok_or_else(|| SquashfsError::Xattr { path: path.clone(), name: escape(name) })?;
            let name_size =
                u16::try_from(rest.len()).map_err(|_| too_large("name of an extended attribute"))?;
            let value_size = u32::try_from(value.len()).map_err(|_| too_large("extended attribute"))?;
            bytes.extend_from_slice(&kind.to_le_bytes());
            bytes.extend_from_slice(&name_size.to_le_bytes());
            bytes.extend_from_slice(rest);
            bytes.extend_from_slice(&value_size.to_le_bytes());
            bytes.extend_from_slice(value);
        }
        let size = u32::try_from(bytes.len()).map_err(|_| too_large("list of extended attributes"))?;
        let n = self.numbers.len() as u32;
        self.lists.extend_from_slice(&self.values.place().reference().to_le_bytes());
        self.lists.extend_from_slice(&(meta.xattrs.len() as u32).to_le_bytes());
        self.lists.extend_from_slice(&size.to_le_bytes());
        self.values.write(&bytes)?;
        self.numbers.insert(meta.xattrs.clone(), n);
        Ok(n)
    }

    /// Writes the tables. Says where `struct squashfs_xattr_id_table` is, if there are attributes.
    pub(super) fn finish(self, out: &mut Output<'_>, encoder: Encoder) -> io::Result<Option<u64>> {
        if self.numbers.is_empty() {
            return Ok(None);
        }
        let values_start = out.position;
        out.write_all(&self.values.finish()?)?;
        let mut index = Vec::new();
        let ids_start = out.position;
        let mut ids = MetadataWriter::new(Vec::new(), encoder);
        for block in self.lists.chunks(METADATA_SIZE) {
            index.extend_from_slice(&(ids_start + ids.place().block).to_le_bytes());
            // Whole blocks but for the last, so each ends by itself.
            ids.write(block)?;
        }
        out.write_all(&ids.finish()?)?;
        let start = out.position;
        out.write_all(&values_start.to_le_bytes())?;
        out.write_all(&(self.numbers.len() as u32).to_le_bytes())?;
        out.write_all(&[0; 4])?;
        out.write_all(&index)?;
        Ok(Some(start))
    }
}
