//! What an image is made of.

use std::io;

use crate::error::{ImageError, unreadable};
use crate::sha256::Sha256;
use crate::uuid::as_uuid;
use tree::{Arch, Kind, Tree};

/// A tree to be written unchanged, and the image's metadata.
///
/// Nothing is checked here. What becomes a system extension goes through `sysext::Extension`, which gives its volume.
#[derive(Debug, Clone, Copy)]
pub struct Volume<'t> {
    /// What is in it.
    pub tree: &'t Tree,
    /// Distinguishes volumes of the same tree: UUIDs and dm-verity's salt are derived from it.
    pub name: &'t str,
    /// Whose partition types a disk image has.
    pub architecture: Option<Arch>,
    /// The time of the file system. Seconds since the epoch.
    pub epoch: i64,
}

impl Volume<'_> {
    /// Of all files. Bytes.
    pub(crate) fn content_len(&self) -> u64 {
        self.tree.iter().filter_map(|(_, n)| n.content()).map(|c| c.len()).fold(0, u64::saturating_add)
    }

    /// A UUID that is the same for the same volume and another for any other: hosts don't take two btrfs of one UUID.
    pub(crate) fn uuid(&self) -> Result<[u8; 16], ImageError> {
        let mut hash = Sha256::new();
        hash.update(self.name);
        for (path, node) in self.tree.iter() {
            let add = |hash: &mut Sha256, bytes: &[u8]| {
                hash.update((bytes.len() as u64).to_le_bytes());
                hash.update(bytes);
            };
            add(&mut hash, path.as_relative());
            let meta = &node.meta;
            hash.update(meta.mode.to_le_bytes());
            hash.update(meta.mtime.to_le_bytes());
            for (name, value) in &meta.xattrs {
                add(&mut hash, name);
                add(&mut hash, value);
            }
            match &node.kind {
                Kind::File(content) => {
                    hash.update(content.len().to_le_bytes());
                    io::copy(&mut content.reader(), &mut HashWriter(&mut hash))
                        .map_err(|e| unreadable(path, e))?;
                }
                Kind::Symlink(target) => add(&mut hash, target),
                Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                    hash.update(major.to_le_bytes());
                    hash.update(minor.to_le_bytes());
                }
                Kind::Dir | Kind::Fifo | Kind::Socket => {}
            }
        }
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&hash.finish()[..16]);
        Ok(as_uuid(uuid))
    }
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.update(buf);
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
