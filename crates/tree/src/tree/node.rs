//! What stands at a path.

use std::collections::BTreeMap;

use super::Content;

/// One file, directory, link or device.
#[derive(Debug, Clone)]
pub struct Node {
    /// Ownership, mode, time, extended attributes.
    pub meta: Meta,
    /// What it is.
    pub kind: Kind,
}

/// An inode's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The lower twelve bits of st_mode: permissions, setuid, setgid, sticky. inode(7).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time. Seconds since the epoch.
    pub mtime: i64,
    /// Extended attributes by full name (`security.capability`). xattr(7).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What an inode is. inode(7).
#[derive(Debug, Clone)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file.
    File(Content),
    /// A symbolic link and its target, as it is stored.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A FIFO.
    Fifo,
    /// A Unix socket.
    Socket,
}

impl Meta {
    /// root:root, the given permission bits, time 0.
    pub fn with_mode(mode: u32) -> Self {
        Meta { mode: mode & 0o7777, uid: 0, gid: 0, mtime: 0, xattrs: BTreeMap::new() }
    }

    /// A directory's: 0755, root:root, time 0.
    pub fn dir() -> Self {
        Self::with_mode(0o755)
    }
}

impl Node {
    /// A directory, 0755 root:root.
    pub fn dir() -> Self {
        Node { meta: Meta::dir(), kind: Kind::Dir }
    }

    /// A regular file of root's with the given permission bits.
    pub fn file(mode: u32, content: impl Into<Content>) -> Self {
        Node { meta: Meta::with_mode(mode), kind: Kind::File(content.into()) }
    }

    /// A symbolic link.
    pub fn symlink(target: impl AsRef<[u8]>) -> Self {
        Node { meta: Meta::with_mode(0o777), kind: Kind::Symlink(target.as_ref().into()) }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Dir)
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File(_))
    }

    /// A regular file's content.
    pub fn content(&self) -> Option<&Content> {
        match &self.kind {
            Kind::File(c) => Some(c),
            _ => None,
        }
    }

    /// A symbolic link's target.
    pub fn symlink_target(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Symlink(t) => Some(t),
            _ => None,
        }
    }

    /// A character device 0:0 is how overlayfs marks a deleted file. Documentation/filesystems/overlayfs.rst.
    pub fn is_overlay_whiteout(&self) -> bool {
        matches!(self.kind, Kind::CharDevice { major: 0, minor: 0 })
    }
}
