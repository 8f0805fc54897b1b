//! Extensions as images.
//!
//! [`write`] is the one way out: it takes an [`Extension`] and nothing else, checks that the format can hold what the
//! tree has, and puts the image in its place only when it is complete. The same extension makes the same bytes, whatever
//! the number of threads (for formats made by mkfs tools: with the same version of the tool).

mod ahead;
mod codec;
mod plain;
mod squashfs;

mod format;
pub use format::{Codec, Compression, Format, FormatError, ImageOptions, LevelError};

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::output::{OutputError, OutputFile};
use crate::tree::escape;
use crate::{Events, Extension, Tree, TreePath};

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
    /// The level is not the codec's.
    #[error(transparent)]
    Level(#[from] LevelError),
    /// The squashfs writer failed.
    #[error("{path:?}: {source}")]
    Squashfs {
        /// The image.
        path: PathBuf,
        /// Why.
        source: Box<backhand::BackhandError>,
    },
    /// Reading or writing failed.
    #[error("{path:?}: {source}")]
    Io {
        /// The image.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory could not be filled.
    #[error(transparent)]
    Host(#[from] crate::HostError),
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
    check_xattrs(extension.tree(), format)?;
    match format {
        Format::Squashfs => to_file(path, |file| squashfs::write(extension, file, path, options, events)),
        Format::Tar => to_file(path, |file| plain::tar(extension, file, path)),
        Format::Dir => plain::dir(extension, path, events),
        Format::Erofs | Format::Ext4 | Format::Ext2 | Format::Btrfs => todo_mkfs(path),
    }
}

fn todo_mkfs(path: &Path) -> Result<Written, ImageError> {
    Err(ImageError::Io { path: path.to_owned(), source: io::ErrorKind::Unsupported.into() })
}

/// Fills an output file, hashes it while it is still in the page cache, and puts it in place.
fn to_file(path: &Path, fill: impl FnOnce(&File) -> Result<(), ImageError>) -> Result<Written, ImageError> {
    let output = OutputFile::create(path)?;
    fill(output.file())?;
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
    if format.stores_xattrs() {
        return Ok(());
    }
    let with: Vec<(&TreePath, String)> = tree
        .iter()
        .filter(|(_, node)| !node.meta.xattrs.is_empty())
        .map(|(path, node)| (path, node.meta.xattrs.keys().map(|k| escape(k)).collect::<Vec<_>>().join(", ")))
        .collect();
    if with.is_empty() {
        return Ok(());
    }
    let mut list: Vec<String> =
        with.iter().take(NAMED).map(|(path, names)| format!("{path} ({names})")).collect();
    if with.len() > NAMED {
        list.push(format!("{} more", with.len() - NAMED));
    }
    let able: Vec<String> =
        Format::ALL.iter().filter(|f| f.stores_xattrs()).map(ToString::to_string).collect();
    Err(ImageError::Xattrs { format, list: list.join(", "), able: able.join(", ") })
}

#[cfg(test)]
mod tests;
