//! Why there is no image.

use std::io;
use std::path::PathBuf;

use crate::format::{Codec, Format, LevelError};
use crate::signer::SignerError;
use crate::squashfs;
use tree::output::OutputError;
use tree::{ContentError, HostError, TarError, TreePath};

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ImageError {
    /// The place can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The format has no room for extended attributes that the tree has.
    #[error("{format} can't store extended attributes: {list}; formats that can: {able}")]
    Xattrs {
        format: Format,
        /// Files and their attributes, the first few.
        list: String,
        able: String,
    },
    /// The format has no room for the time.
    #[error("{format} can't store the time {epoch}, expected 0 to {max}")]
    Epoch {
        format: Format,
        /// Seconds since 1970.
        epoch: i64,
        /// Seconds since 1970.
        max: i64,
    },
    /// The codec is not the format's.
    #[error("{format} can't be compressed by {codec}")]
    Compression { format: Format, codec: Codec },
    /// Only squashfs is made of blocks whose size is free.
    #[error("{format} takes no block size, only squashfs does")]
    BlockSize { format: Format },
    /// The format is no file system.
    #[error("{format} can't be protected by verity, only a file system can")]
    NoDisk { format: Format },
    /// There is no key to sign with.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// A disk image's partitions are of an architecture, and there is none.
    #[error("extension has no architecture, which partitions of a disk image need")]
    NoArchitecture,
    /// The level is not the codec's.
    #[error(transparent)]
    Level(#[from] LevelError),
    /// The squashfs writer failed.
    #[error("{path:?}: {source}")]
    Squashfs { path: PathBuf, source: Box<squashfs::WriteError> },
    /// Reading or writing failed.
    #[error("{path:?}: {source}")]
    Io {
        path: PathBuf,
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
    /// erofs's inodes were placed for another tree.
    #[error("internal error: inode {inode} has no place in the image that is written")]
    NoPlace { inode: usize },
    /// The program that makes the format is missing.
    #[error("{tool}: program is missing")]
    NoTool {
        tool: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The program that makes the format can't be started.
    #[error("{tool}: {source}")]
    Start {
        tool: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The program that makes the format failed.
    #[error("{tool}: {message}")]
    Tool {
        tool: &'static str,
        /// Its status and the end of what it said.
        message: String,
    },
    /// The program that makes the format would lose something of this file.
    #[error("{path}: {reason}, which {format} can't take")]
    Unstorable {
        /// The file in the tree.
        path: TreePath,
        format: Format,
        reason: &'static str,
    },
    /// The tar could not be written.
    #[error("{path:?}: {source}")]
    Tar { path: PathBuf, source: TarError },
    /// The directory could not be filled.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// An error that a reader of content gave, with the content's own error taken out of its wrapping.
pub(crate) fn unreadable(path: &TreePath, error: io::Error) -> ImageError {
    let kind = error.kind();
    match error.downcast::<ContentError>() {
        Ok(source) => ImageError::Content { path: path.clone(), source },
        Err(_) => ImageError::Io { path: path.as_host_relative().to_owned(), source: kind.into() },
    }
}
