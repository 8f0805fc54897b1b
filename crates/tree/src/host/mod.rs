//! Trees from and to directories of the host.
//!
//! Everything happens relative to an open directory, and no symlink is ever followed: not in a directory that a hostile
//! program has filled, nor in one that changes while it is read.

mod read;
pub use read::{Mounts, ReadOptions};

mod write;
pub use write::{WriteOptions, WriteReport};

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use crate::beneath::{DIRECTORY, open_relative};
use crate::{
    TreePath,
    tree::{ContentError, PathError, TreeError},
};

/// Why a directory could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum HostError {
    /// The system refused something.
    #[error("{path:?}: {source}")]
    Io {
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file system, or the caller's rights, don't allow an extended attribute.
    #[error("{path:?}: extended attribute {name} can't be set: {source}")]
    Xattr {
        path: PathBuf,
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file's content can't be read.
    #[error("{path}: {source}")]
    Content {
        /// The file in the tree.
        path: TreePath,
        source: ContentError,
    },
    /// A name in the directory that fits in no tree.
    #[error("{dir:?}: {source}")]
    Path { dir: PathBuf, source: PathError },
    /// The files don't make a tree: the directory changed while it was read.
    #[error("{dir:?}: {source}")]
    Tree { dir: PathBuf, source: TreeError },
    /// More than anybody's.
    #[error("{dir:?}: has too many files, or names and attributes that are too long")]
    TooMany { dir: PathBuf },
}

/// Something that was left out, with the reason.
#[derive(Debug)]
pub struct Skipped {
    /// Where in the tree.
    pub path: TreePath,
    /// What was left out: "children", "owner", "extended attribute security.capability", …
    pub what: String,
    /// What the system said, if that was the reason.
    pub source: Option<io::Error>,
}

/// `PATH: WHAT: REASON`.
impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.what)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

fn io_error(dir: &Path, path: &TreePath, source: Errno) -> HostError {
    let path = if path.is_root() { dir.to_owned() } else { dir.join(path.as_host_relative()) };
    HostError::Io { path, source: source.into() }
}

/// Opens `path` below `root` without following a symlink anywhere.
fn open_beneath(root: impl AsFd, path: &TreePath, flags: OFlags) -> Result<OwnedFd, Errno> {
    if path.is_root() {
        return openat(root.as_fd(), ".", flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    }
    open_relative(root.as_fd(), OsStr::from_bytes(path.as_relative()), flags)
}

/// A path for the calls on extended attributes, which have no variant that takes a directory: the kernel goes straight
/// to the open directory, and the `l` variants don't follow what `name` may be.
fn proc_path(dir: BorrowedFd<'_>, name: &[u8]) -> PathBuf {
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
    path.push(OsStr::from_bytes(name));
    path
}

#[cfg(test)]
pub(crate) mod tests;
