//! Tar archives as places in a blob: nothing is copied out of them.
//!
//! Reads ustar, old (v7) tar, GNU's long names and sparse files, and PAX. Where POSIX (pax, "ustar Interchange Format")
//! leaves room, Go's archive/tar decides, because Docker, containerd, Podman and umoci read layers with it; where two
//! known readers would see two different trees, the archive is refused. In particular:
//!
//! - Two zero blocks, or the end of the blob between two entries, end an archive; what follows the two blocks is ignored. A
//!   lone zero block is an error.
//! - PAX `size` wins over the header's. An `x` header belongs to the next file, past any `L`, `K` and `g` on the way; a
//!   second one before that file is an error. So is a global `path`, `linkpath`, `size` or `GNU.sparse.*`.
//! - Hard links, symlinks, directories, devices and FIFOs have no data, whatever their size field says.
//! - Types that are not file system objects (volume labels, multi-volume parts, unknown letters) are errors.
//! - Ignored: names of owners (`uname`, `gname`), access and change times, comments, and ACLs in text form, which no
//!   container runtime applies either.

mod header;
mod pax;
mod sparse;

mod entries;
pub use entries::{Entries, entries};

mod apply;

mod error;
pub use error::{ArchiveError, Problem};

#[cfg(any(test, feature = "testing"))]
pub mod testing;

use std::sync::Arc;

use crate::{Blob, Kind, Meta, Tree};

/// What an archive may cost, or several that make one tree (see [`Usage`]). An archive beyond is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries.
    pub entries: u64,
    /// Names, link targets and extended attributes of all entries together. Bytes.
    pub metadata: u64,
    /// Names of directories that no entry makes, as part of [`Limits::metadata`]. Bytes. An entry of 4 KB can take 4 MB of them, so
    /// that they need a limit of their own.
    pub implied: u64,
    /// One extension header: a long name or a set of PAX records. Bytes. Go allows 1 MiB.
    pub extension: u64,
    /// The size of one file, which for a sparse file has nothing to do with the archive's. Bytes. A larger file is in the tree,
    /// but can't be read ([`Content::too_large`](crate::Content::too_large)).
    pub file: u64,
    /// The sizes of all files together that can be read, holes included. Bytes.
    pub data: u64,
    /// Data runs of one sparse file.
    pub extents: usize,
    /// The lengths of all paths, one for each component, that are looked up because a symlink or a missing directory is on an
    /// entry's way. Bytes. 13 for `lib/x` behind a symlink to usr/lib; some million such entries are usual at most.
    pub resolution: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            entries: 4 << 20,
            metadata: 1 << 30,
            implied: 64 << 20,
            extension: 1 << 20,
            file: 64 << 30,
            data: 256 << 30,
            extents: 1 << 16,
            resolution: 256 << 20,
        }
    }
}

/// Bytes. About what an entry takes in the memory of a tree besides its path.
pub const ENTRY_MEMORY: usize = 192;
/// Bytes. About what an extended attribute takes there besides its name and value.
pub const ATTRIBUTE_MEMORY: usize = 64;

impl Limits {
    /// For a whole image that somebody else has made: what it takes in memory is bounded whatever its length.
    pub fn image() -> Limits {
        Limits { entries: 1 << 20, metadata: 192 << 20, ..Limits::default() }
    }
}

/// What has been used up of [`Limits`]. Handed from one archive to the next, where several make one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Of [`Limits::entries`].
    pub entries: u64,
    /// Of [`Limits::metadata`]. Bytes.
    pub metadata: u64,
    /// Of [`Limits::implied`]. Bytes.
    pub implied: u64,
    /// Of [`Limits::data`]. Bytes.
    pub data: u64,
    /// Of [`Limits::resolution`]. Bytes.
    pub resolution: u64,
}

/// One entry of an archive.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name as stored; not checked in any way.
    pub path: Vec<u8>,
    /// Mode, owner, time, extended attributes.
    pub meta: Meta,
    /// What it is.
    pub item: Item,
    /// Where its header is in the archive. Bytes.
    pub position: u64,
}

/// What an [`Entry`] stands for.
#[derive(Debug, Clone)]
pub enum Item {
    /// Something of its own.
    Node(Kind),
    /// Another name for what has this name already; as stored.
    Hardlink(Vec<u8>),
}

impl Tree {
    /// The tree that a plain tar holds; no whiteouts. The root is there even if the tar has no entry for it.
    ///
    /// # Errors
    /// A malformed archive, or an entry that fits no tree: see [`Entry::apply`].
    pub fn from_tar(blob: &Arc<Blob>, offset: u64, len: u64, limits: &Limits) -> Result<Tree, ArchiveError> {
        let mut tree = Tree::default();
        // The archive's own metadata is held against the limit by itself.
        let mut usage = Usage::default();
        for entry in entries(blob, offset, len, limits) {
            entry?.apply(&mut tree, limits, &mut usage)?;
        }
        Ok(tree)
    }
}

#[cfg(test)]
mod tests;
