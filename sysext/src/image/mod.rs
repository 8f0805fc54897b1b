//! Extensions as images.
//!
//! [`write()`] is the one way out: it takes an [`Extension`] and nothing else, checks that the format can hold what the
//! tree has, and puts the image in its place only when it is complete. The same extension makes the same bytes, whatever
//! the number of threads (for formats made by mkfs tools: with the same version of the tool).

mod btrfs;
mod codec;
pub(crate) use codec::Encoder;
mod disk;
pub use disk::{Signer, SignerError, Verity};
mod erofs;
mod ext;
mod plain;
mod squashfs;
mod tool;

mod format;
pub use format::{Codec, Compression, Format, FormatError, ImageOptions, LevelError};

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use tool::Stage;

use crate::Extension;
use tree::{
    ContentError, Events, HostError, TarError, Tree, TreePath, escape,
    output::{OutputError, OutputFile},
};

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The image's place.
    pub path: PathBuf,
    /// Length of the image; for a directory, of the files in it. Bytes.
    pub bytes: u64,
    /// SHA-256 of the image, 64 hex digits; none for a directory.
    pub sha256: Option<String>,
    /// dm-verity's root hash, 64 hex digits; only of disk images.
    pub root_hash: Option<String>,
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
    #[error("{format} can't be compressed by {codec}")]
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
    /// The format is no file system.
    #[error("{format} can't be protected by verity, only a file system can")]
    NoDisk {
        /// The format.
        format: Format,
    },
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
    Host(#[from] HostError),
}

impl ImageError {
    /// What the user could do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            ImageError::NoTool { package, .. } => {
                Some(format!("install {package}, or take --format squashfs"))
            }
            ImageError::Xattrs { able, .. } => Some(format!("take --format with one of {able}")),
            ImageError::Signer(e) => e.hint(),
            ImageError::NoDisk { .. } => Some("take --format squashfs, or leave --verity out".to_owned()),
            ImageError::Tar { source: TarError::XattrName { .. } | TarError::Socket(_), .. } => {
                Some("take --format squashfs".to_owned())
            }
            ImageError::Host(HostError::Xattr { .. }) => Some(
                "--format dir takes root, and a file system with such attributes: another directory, or --format \
                 squashfs or tar, which take neither"
                    .to_owned(),
            ),
            ImageError::Unstorable { .. } => Some("take --format squashfs".to_owned()),
            _ => None,
        }
    }
}

impl ImageOptions {
    /// Whether the format can do what is asked for; [`write()`] checks it, too.
    ///
    /// # Errors
    /// It can't.
    pub fn check(&self) -> Result<(), ImageError> {
        let format = self.format;
        if let Some(codec) = self.compression.codec.filter(|&codec| !format.takes(codec)) {
            return Err(ImageError::Compression { format, codec });
        }
        if self.block_size.is_some() && format != Format::Squashfs {
            return Err(ImageError::BlockSize { format });
        }
        if self.verity.is_some() && !format.is_file_system() {
            return Err(ImageError::NoDisk { format });
        }
        Ok(())
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
    options.check()?;
    check_xattrs(extension.tree(), format)?;
    match (format, &options.verity) {
        (Format::Tar, _) => to_file(path, |output| {
            plain::tar(extension, output.file(), path)?;
            Ok(None)
        }),
        (Format::Dir, _) => plain::dir(extension, path, events),
        (_, None) => to_file(path, |output| {
            file_system(extension, output.file(), output.path(), path, options, events)?;
            Ok(None)
        }),
        (_, Some(verity)) => to_file(path, |output| {
            disk_image(extension, output.file(), path, verity, options, events).map(Some)
        }),
    }
}

/// Fills an empty file with a file system.
fn file_system(
    extension: &Extension,
    file: &File,
    temporary: &Path,
    path: &Path,
    options: &ImageOptions,
    events: &dyn Events,
) -> Result<(), ImageError> {
    match options.format {
        Format::Squashfs => squashfs::write(extension, file, 0, path, options, events),
        Format::Erofs => erofs::write(extension, file, 0, path, options, events),
        Format::Ext4 | Format::Ext2 => ext::write(extension, file, temporary, path, options.format),
        Format::Btrfs => btrfs::write(extension, file, temporary, path),
        format @ (Format::Tar | Format::Dir) => Err(ImageError::NoDisk { format }),
    }
}

/// Fills an empty file with a disk. Gives the root hash.
fn disk_image(
    extension: &Extension,
    disk: &File,
    path: &Path,
    verity: &Verity,
    options: &ImageOptions,
    events: &dyn Events,
) -> Result<String, ImageError> {
    let io = |source| ImageError::Io { path: path.to_owned(), source };
    let arch = extension.release().architecture.or(verity.architecture).ok_or(ImageError::NoArchitecture)?;
    let start = disk::FILE_SYSTEM;
    if options.format == Format::Squashfs {
        squashfs::write(extension, disk, start, path, options, events)?;
    } else if options.format == Format::Erofs {
        erofs::write(extension, disk, start, path, options, events)?;
    } else {
        // The tools can't begin in the middle of a file.
        let stage = Stage::beside(path)?;
        let place = stage.path().join("image");
        let mut file = File::create_new(&place).map_err(io)?;
        file_system(extension, &file, &place, path, options, events)?;
        (&*disk).seek(SeekFrom::Start(start)).map_err(io)?;
        file.rewind().map_err(io)?;
        io::copy(&mut file, &mut &*disk).map_err(io)?;
    }
    let threads = squashfs::threads(options);
    disk::finish(disk, extension, arch, verity.signer.as_deref(), threads).map_err(io)
}

/// Fills an output file, hashes it while it is still in the page cache, and puts it in place. `fill` gives the root hash
/// of a disk image.
fn to_file(
    path: &Path,
    fill: impl FnOnce(&OutputFile) -> Result<Option<String>, ImageError>,
) -> Result<Written, ImageError> {
    let output = OutputFile::create(path)?;
    let root_hash = fill(&output)?;
    let (bytes, sha256) =
        digest(output.file()).map_err(|source| ImageError::Io { path: path.to_owned(), source })?;
    output.commit()?;
    Ok(Written { path: path.to_owned(), bytes, sha256: Some(sha256), root_hash })
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
    let stores_all = |f: &Format| tree.iter().all(|(_, n)| n.meta.xattrs.keys().all(|x| f.stores_xattr(x)));
    let able: Vec<String> = Format::ALL.into_iter().filter(stores_all).map(|f| f.to_string()).collect();
    Err(ImageError::Xattrs { format, list: list.join(", "), able: able.join(", ") })
}

#[cfg(test)]
mod tests;
