//! Extensions as images.
//!
//! [`write()`] is the one way out: it takes an [`Extension`] and nothing else, checks that the format can hold what the
//! tree has, and puts the image in its place only when it is complete. The same extension makes the same bytes, whatever
//! the number of threads (for formats made by mkfs tools: with the same version of the tool).

mod btrfs;
mod codec;
pub(crate) use codec::Encoder;
mod erofs;
mod ext;
mod plain;
mod squashfs;
mod tool;

mod format;
pub use format::{Codec, Compression, Format, FormatError, ImageOptions, LevelError};

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::output::{OutputError, OutputFile};
use crate::tree::{ContentError, escape};
use crate::{Events, Extension, TarError, Tree, TreePath};

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The image's place.
    pub path: PathBuf,
    /// Length of the image; for a directory, of the files in it. Bytes.
    pub bytes: u64,
    /// SHA-256 of the image, 64 hex digits; none for a directory.
    pub sha256: Option<String>,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The place can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The format has no room for extended attributes that the tree has.
    #[error("{format} can't store extended attributes: {list}; formats that can: {able}")]
    Xattrs {
        /// The format.
        format: Format,
        /// Files and their attributes, the first few.
        list: String,
        /// Formats that can.
        able: String,
    },
    /// The format has no room for the time.
    #[error("{format} can't store the time {epoch}, expected 0 to 4294967295")]
    Epoch {
        /// The format.
        format: Format,
        /// Seconds since the epoch.
        epoch: i64,
    },
    /// The codec is not the format's.
    #[error("{format} can't be compressed by {codec}, only squashfs can")]
    Compression {
        /// The format.
        format: Format,
        /// The codec.
        codec: Codec,
    },
    /// Only squashfs is made of blocks whose size is free.
    #[error("{format} takes no block size, only squashfs does")]
    BlockSize {
        /// The format.
        format: Format,
    },
    /// The level is not the codec's.
    #[error(transparent)]
    Level(#[from] LevelError),
    /// The squashfs writer failed.
    #[error("{path:?}: {source}")]
    Squashfs {
        /// The image.
        path: PathBuf,
        /// Why.
        source: Box<crate::squashfs::SquashfsError>,
    },
    /// Reading or writing failed.
    #[error("{path:?}: {source}")]
    Io {
        /// The image.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file's content can't be read.
    #[error("{path}: {source}")]
    Content {
        /// The file in the tree.
        path: TreePath,
        /// Why.
        source: ContentError,
    },
    /// The program that makes the format is missing.
    #[error("{tool}: program is missing")]
    NoTool {
        /// Its name.
        tool: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The program that makes the format can't be started.
    #[error("{tool}: {source}")]
    Start {
        /// Its name.
        tool: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The program that makes the format failed.
    #[error("{tool}: {message}")]
    Tool {
        /// Its name.
        tool: &'static str,
        /// Its status and the end of what it said.
        message: String,
    },
    /// The program that makes the format would lose something of this file.
    #[error("{path}: {reason}, which {format} can't take")]
    Unstorable {
        /// The file in the tree.
        path: TreePath,
        /// The format.
        format: Format,
        /// What is wrong.
        reason: &'static str,
    },
    /// A device or attribute that has to be staged on the host for this format.
    #[error("{path:?}: {format} images with devices or security attributes take root to make")]
    TakesRoot {
        /// The format.
        format: Format,
        /// The staged file.
        path: PathBuf,
    },
    /// The tar could not be written.
    #[error("{path:?}: {source}")]
    Tar {
        /// The image.
        path: PathBuf,
        /// Why.
        source: TarError,
    },
    /// The directory could not be filled.
    #[error(transparent)]
    Host(#[from] crate::HostError),
}

impl ImageError {
    /// What the user could do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ImageError::NoTool { package, .. } => {
                Some(format!("install {package}, or take --format squashfs"))
            }
            ImageError::Xattrs { able, .. } => Some(format!("take --format with one of {able}")),
            ImageError::TakesRoot { .. } => Some("take --format squashfs, or run as root".to_owned()),
            ImageError::Unstorable { .. } => Some("take --format squashfs".to_owned()),
            _ => None,
        }
    }
}

/// Writes the image of `extension` to `path`, replacing a file there.
///
/// # Errors
/// The format can't hold what the extension has, content can't be read, or the place can't be written. Then nothing is
/// left behind and what was in the image's place before is still there.
pub fn write(
    extension: &Extension,
    path: &Path,
    options: &ImageOptions,
    events: &dyn Events,
) -> Result<Written, ImageError> {
    let format = options.format;
    if let Some(codec) = options.compression.codec.filter(|_| format != Format::Squashfs) {
        return Err(ImageError::Compression { format, codec });
    }
    if options.block_size.is_some() && format != Format::Squashfs {
        return Err(ImageError::BlockSize { format });
    }
    check_xattrs(extension.tree(), format)?;
    match format {
        Format::Squashfs => {
            to_file(path, |output| squashfs::write(extension, output.file(), path, options, events))
        }
        Format::Tar => to_file(path, |output| plain::tar(extension, output.file(), path)),
        Format::Dir => plain::dir(extension, path, events),
        Format::Erofs => to_file(path, |output| erofs::write(extension, output.path(), path)),
        Format::Ext4 | Format::Ext2 => {
            to_file(path, |output| ext::write(extension, output.file(), output.path(), path, format))
        }
        Format::Btrfs => to_file(path, |output| btrfs::write(extension, output.file(), output.path(), path)),
    }
}

/// Fills an output file, hashes it while it is still in the page cache, and puts it in place.
fn to_file(
    path: &Path,
    fill: impl FnOnce(&OutputFile) -> Result<(), ImageError>,
) -> Result<Written, ImageError> {
    let output = OutputFile::create(path)?;
    fill(&output)?;
    let (bytes, sha256) =
        digest(output.file()).map_err(|source| ImageError::Io { path: path.to_owned(), source })?;
    output.commit()?;
    Ok(Written { path: path.to_owned(), bytes, sha256: Some(sha256) })
}

fn digest(file: &File) -> io::Result<(u64, String)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut at = 0;
    loop {
        match file.read_at(&mut buffer, at)? {
            0 => break,
            n => {
                hasher.update(&buffer[..n]);
                at += n as u64;
            }
        }
    }
    let hex = hasher.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Ok((at, hex))
}

/// Files named in an error.
const NAMED: usize = 5;

fn check_xattrs(tree: &Tree, format: Format) -> Result<(), ImageError> {
    let lost = |names: &mut dyn Iterator<Item = &Vec<u8>>| -> Vec<String> {
        names.filter(|name| !format.stores_xattr(name)).map(|name| escape(name)).collect()
    };
    let with: Vec<(&TreePath, String)> = tree
        .iter()
        .map(|(path, node)| (path, lost(&mut node.meta.xattrs.keys())))
        .filter(|(_, names)| !names.is_empty())
        .map(|(path, names)| (path, names.join(", ")))
        .collect();
    if with.is_empty() {
        return Ok(());
    }
    let mut list: Vec<String> =
        with.iter().take(NAMED).map(|(path, names)| format!("{path} ({names})")).collect();
    if with.len() > NAMED {
        list.push(format!("{} more", with.len() - NAMED));
    }
    let able: Vec<String> = Format::ALL.iter().filter(|&&f| f != format).map(ToString::to_string).collect();
    Err(ImageError::Xattrs { format, list: list.join(", "), able: able.join(", ") })
}

#[cfg(test)]
mod tests;
