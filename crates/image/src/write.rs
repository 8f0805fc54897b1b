//! Volumes as images.
//!
//! [`write()`] is the one way out: it checks that the format can hold what the tree has, and puts the image in its place
//! only when it is complete. The same volume makes the same bytes, whatever the number of threads (for formats made by
//! mkfs tools: with the same version of the tool).

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::device::{MAJOR_MAX, MINOR_MAX};
use crate::disk::{self, Verity};
use crate::early_sync::EarlySync;
use crate::error::ImageError;
use crate::format::Format;
use crate::options::ImageOptions;
use crate::sha256::Sha256;
use crate::tool::Stage;
use crate::volume::Volume;
use crate::{btrfs, erofs, ext, plain, squashfs};
use base16ct::lower::encode_string as hex;
use tree::{
    Event, Events, Kind, Node, Tree, TreePath, escape,
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

/// Writes the image of `volume` to `path`, replacing a file there.
///
/// # Errors
/// The format can't hold what the tree has, content can't be read, or the place can't be written. Then nothing is
/// left behind and what was in the image's place before is still there.
pub fn write(
    volume: Volume<'_>,
    path: &Path,
    options: &ImageOptions,
    events: &dyn Events,
) -> Result<Written, ImageError> {
    let format = options.format;
    options.check()?;
    check_xattrs(volume.tree, format)?;
    if format.is_file_system() {
        check_devices(volume.tree, format)?;
    }
    match (format, &options.verity) {
        (Format::Tar, _) => to_file(path, |output| {
            plain::tar(volume, output.file(), path)?;
            Ok(None)
        }),
        (Format::Dir, _) => {
            let bytes = plain::dir(volume, path, events)?;
            Ok(Written { path: path.to_owned(), bytes, sha256: None, root_hash: None })
        }
        (_, None) => to_file(path, |output| {
            let named = || Ok(output.path()?.to_owned());
            file_system(volume, output.file(), &named, path, options, events)?;
            Ok(None)
        }),
        (_, Some(verity)) => {
            to_file(path, |output| disk_image(volume, output.file(), path, verity, options, events).map(Some))
        }
    }
}

/// Refuses devices whose numbers a file system would cut: another device would be in the image.
fn check_devices(tree: &Tree, format: Format) -> Result<(), ImageError> {
    let fits = |node: &Node| match node.kind {
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            major <= MAJOR_MAX && minor <= MINOR_MAX
        }
        _ => true,
    };
    match tree.iter().find(|(_, node)| !fits(node)) {
        Some((path, _)) => {
            let reason = "is a device with a larger number than Linux has";
            Err(ImageError::Unstorable { path: path.clone(), format, reason })
        }
        None => Ok(()),
    }
}

/// Fills an empty file with a file system. `temporary` gives it a name, for tools that want one.
fn file_system(
    volume: Volume<'_>,
    file: &File,
    temporary: &dyn Fn() -> Result<PathBuf, OutputError>,
    path: &Path,
    options: &ImageOptions,
    events: &dyn Events,
) -> Result<(), ImageError> {
    match options.format {
        Format::Squashfs => squashfs(volume, file, 0, path, options, events),
        Format::Erofs => erofs(volume, file, 0, path, options, events),
        Format::Ext4 | Format::Ext2 => ext::write(volume, file, &temporary()?, path, options.format),
        Format::Btrfs => btrfs::write(volume, file, &temporary()?, path),
        format @ (Format::Tar | Format::Dir) => Err(ImageError::NoDisk { format }),
    }
}

/// Fills an empty file with a disk. Gives the root hash.
fn disk_image(
    volume: Volume<'_>,
    disk: &File,
    path: &Path,
    verity: &Verity,
    options: &ImageOptions,
    events: &dyn Events,
) -> Result<String, ImageError> {
    let io = |source| ImageError::Io { path: path.to_owned(), source };
    let arch = volume.architecture.or(verity.architecture).ok_or(ImageError::NoArchitecture)?;
    let start = disk::FILE_SYSTEM;
    if options.format == Format::Squashfs {
        squashfs(volume, disk, start, path, options, events)?;
    } else if options.format == Format::Erofs {
        erofs(volume, disk, start, path, options, events)?;
    } else {
        // The tools can't begin in the middle of a file.
        let stage = Stage::beside(path)?;
        let place = stage.path().join("image");
        let mut file = File::create_new(&place).map_err(io)?;
        file_system(volume, &file, &|| Ok(place.clone()), path, options, events)?;
        (&*disk).seek(SeekFrom::Start(start)).map_err(io)?;
        file.rewind().map_err(io)?;
        io::copy(&mut file, &mut &*disk).map_err(io)?;
    }
    disk::finish(disk, volume, arch, verity.signer.as_deref(), options.threads()).map_err(io)
}

/// Writes the file system at `start` in the file, which ends there.
fn squashfs(
    volume: Volume<'_>,
    file: &File,
    start: u64,
    path: &Path,
    options: &ImageOptions,
    events: &dyn Events,
) -> Result<(), ImageError> {
    let (codec, level) = options.compression.resolve(options.format)?;
    let epoch = volume.epoch;
    let max = u32::MAX.into();
    let mkfs_time =
        u32::try_from(epoch).map_err(|_| ImageError::Epoch { format: options.format, epoch, max })?;
    (&*file)
        .seek(SeekFrom::Start(start))
        .map_err(|source| ImageError::Io { path: path.to_owned(), source })?;
    let block_size = options.block_size.unwrap_or(squashfs::DEFAULT_BLOCK_SIZE);
    let squashfs_options = squashfs::Options {
        codec,
        level,
        block_size,
        mkfs_time,
        threads: options.threads(),
        first: options.first.clone(),
    };
    let result = with_progress(volume, path, events, |progress| {
        std::thread::scope(|scope| {
            let mut out = EarlySync::new(scope, file, start);
            squashfs::write(volume.tree, &mut out, &squashfs_options, progress)
        })
    });
    result
        .map(drop)
        .map_err(|source| ImageError::Squashfs { path: path.to_owned(), source: Box::new(source) })
}

/// Writes the file system at `start` in the file, which ends there.
fn erofs(
    volume: Volume<'_>,
    file: &File,
    start: u64,
    path: &Path,
    options: &ImageOptions,
    events: &dyn Events,
) -> Result<(), ImageError> {
    let (codec, level) = options.compression.resolve(options.format)?;
    let epoch = volume.epoch;
    let max = i64::MAX;
    let build_time =
        u64::try_from(epoch).map_err(|_| ImageError::Epoch { format: options.format, epoch, max })?;
    let erofs_options =
        erofs::Options { codec, level, threads: options.threads(), build_time, uuid: volume.uuid()? };
    with_progress(volume, path, events, |progress| {
        erofs::write(volume.tree, (file, start, path), &erofs_options, progress)
    })
}

/// Runs `work`, which reports how many bytes of the volume's files it has read.
fn with_progress<T>(
    volume: Volume<'_>,
    path: &Path,
    events: &dyn Events,
    work: impl FnOnce(&mut dyn FnMut(u64)) -> T,
) -> T {
    let task = format!("writing {}", path.file_name().unwrap_or_default().to_string_lossy());
    let total = volume.content_len();
    let result = work(&mut |done| events.event(Event::Progress { task: &task, done, total: Some(total) }));
    events.event(Event::Done { task: &task });
    result
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
    Ok((at, hex(&hasher.finish())))
}

/// Files named in an error.
const NAMED: usize = 5;

fn check_xattrs(tree: &Tree, format: Format) -> Result<(), ImageError> {
    let lost = |names: &mut dyn Iterator<Item = &Vec<u8>>| -> Vec<String> {
        names.filter(|name| !stores_xattr(format, name)).map(|name| escape(name)).collect()
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
    let stores_all = |f: &Format| tree.iter().all(|(_, n)| n.meta.xattrs.keys().all(|x| stores_xattr(*f, x)));
    let able: Vec<String> = Format::ALL.into_iter().filter(stores_all).map(|f| f.to_string()).collect();
    Err(ImageError::Xattrs { format, list: list.join(", "), able: able.join(", ") })
}

/// Whether the format's writer can store the extended attribute of this full name.
fn stores_xattr(format: Format, name: &[u8]) -> bool {
    match format {
        Format::Squashfs => squashfs::stores_xattr(name),
        Format::Erofs => erofs::stores_xattr(name),
        _ => true,
    }
}
