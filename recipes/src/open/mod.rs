//! Extension images of any kind as trees: those of this program, and those that others built.
//!
//! squashfs is read here. erofs, ext4 and btrfs are mounted where that is allowed, as the host itself would do it, or else
//! taken apart by their own tools.

mod foreign;
mod squashfs;

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use store::{Cache, CacheError};
use tree::{
    Blob, HostError, Meta, ReadOptions, Tree, TreeError, TreePath,
    archive::{ArchiveError, Limits},
};

pub use foreign::ForeignError;
use osimage::gpt;
pub use squashfs::SquashfsError;

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// squashfs.
    Squashfs,
    /// erofs.
    Erofs,
    /// ext2, ext3 or ext4.
    Ext,
    /// btrfs.
    Btrfs,
    /// A tar. systemd doesn't merge those.
    Tar,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Directory => "directory",
            Kind::Squashfs => "squashfs",
            Kind::Erofs => "erofs",
            Kind::Ext => "ext4",
            Kind::Btrfs => "btrfs",
            Kind::Tar => "tar",
        })
    }
}

/// An image that has been read.
#[derive(Debug)]
pub struct Opened {
    /// What is in it.
    pub tree: Tree,
    /// Its file system.
    pub kind: Kind,
    /// The names of its partitions, if it is a disk image.
    pub partitions: Vec<String>,
    /// Bytes of the image; 0 for a directory.
    pub size: u64,
    /// What the tree can't say, because of the way in which it was read.
    pub notes: Vec<String>,
    /// Keeps the files there.
    _guard: foreign::Guard,
}

/// An image that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("{path:?}: {cause}")]
pub struct OpenError {
    /// The image.
    pub path: PathBuf,
    /// Why.
    pub cause: OpenCause,
}

/// Why an image can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenCause {
    /// The system said no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not an image, or of a kind that nobody knows.
    #[error(
        "is no image of an extension: got neither squashfs, erofs, ext4 nor btrfs, and no disk image or tar of one"
    )]
    Unknown,
    /// A disk image without a file system of those.
    #[error("is a disk image without a readable root or usr partition, got {}", .0.join(", "))]
    Disk(Vec<String>),
    /// The partition table.
    #[error(transparent)]
    Gpt(#[from] gpt::GptError),
    /// The squashfs.
    #[error("squashfs {0}")]
    Squashfs(#[from] SquashfsError),
    /// Another file system.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    /// The tar.
    #[error(transparent)]
    Tar(#[from] ArchiveError),
    /// The directory.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A usr partition that holds what can't be moved below /usr.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// A part of a file.
#[derive(Debug)]
pub(crate) struct Range {
    path: PathBuf,
    file: File,
    offset: u64,
    len: u64,
}

impl Range {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        match at.checked_add(buf.len() as u64) {
            Some(end) if end <= self.len => self.file.read_exact_at(buf, self.offset + at),
            _ => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// What is there, by its magic number.
    fn kind(&self) -> Option<Kind> {
        let at = |offset: u64, magic: &[u8]| {
            let mut buf = vec![0; magic.len()];
            self.read_exact_at(&mut buf, offset).is_ok_and(|()| buf == magic)
        };
        let mut head = [0; 4];
        if self.read_exact_at(&mut head, 0).is_ok() && squashfs::is_magic(&head) {
            return Some(Kind::Squashfs);
        }
        // EROFS_SUPER_MAGIC_V1, EXT4_SUPER_MAGIC and BTRFS_MAGIC at their places; ustar at its own.
        let known: [(u64, &[u8], Kind); 4] = [
            (1024, &[0xe2, 0xe1, 0xf5, 0xe0], Kind::Erofs),
            (1024 + 56, &[0x53, 0xef], Kind::Ext),
            (0x10040, b"_BHRfS_M", Kind::Btrfs),
            (257, b"ustar", Kind::Tar),
        ];
        known.into_iter().find(|(offset, magic, _)| at(*offset, magic)).map(|(_, _, kind)| kind)
    }

    fn is_disk(&self) -> bool {
        let mut magic = [0; 8];
        self.read_exact_at(&mut magic, gpt::SECTOR).is_ok() && magic == *b"EFI PART"
    }
}

/// Reads an image, or a directory.
///
/// # Errors
/// It can't be read, or understood.
pub fn open(path: &Path, cache: &Cache) -> Result<Opened, OpenError> {
    inner(path, cache).map_err(|cause| OpenError { path: path.to_owned(), cause })
}

fn inner(path: &Path, cache: &Cache) -> Result<Opened, OpenCause> {
    let meta = path.metadata()?;
    if meta.is_dir() {
        let tree = Tree::from_dir(path, &ReadOptions::default())?;
        return Ok(opened(tree, Kind::Directory, 0));
    }
    let len = meta.len();
    let whole = Range { path: path.to_owned(), file: File::open(path)?, offset: 0, len };
    if !whole.is_disk() {
        let kind = whole.kind().ok_or(OpenCause::Unknown)?;
        return Ok(Opened { size: len, ..file_system(whole, kind, cache)? });
    }
    let partitions = gpt::read(&whole.file)?;
    let names: Vec<String> = partitions.iter().map(|p| p.name.clone()).collect();
    for partition in &partitions {
        let file = whole.file.try_clone()?;
        // What hashes and signatures are stored in has no file system.
        let range = Range { path: path.to_owned(), file, offset: partition.offset, len: partition.size };
        if let Some(kind) = range.kind().filter(|k| *k != Kind::Tar) {
            let mut opened = file_system(range, kind, cache)?;
            opened.tree = below_usr(opened.tree)?;
            return Ok(Opened { size: len, partitions: names, ..opened });
        }
    }
    Err(OpenCause::Disk(names))
}

fn opened(tree: Tree, kind: Kind, size: u64) -> Opened {
    Opened { tree, kind, partitions: Vec::new(), size, notes: Vec::new(), _guard: foreign::Guard::default() }
}

fn file_system(range: Range, kind: Kind, cache: &Cache) -> Result<Opened, OpenCause> {
    match kind {
        Kind::Squashfs => {
            let scratch = cache.scratch("squashfs")?;
            let place = scratch.path().join("files");
            let spool = File::options().read(true).write(true).create_new(true).open(&place)?;
            // The name is gone with the scratch directory, the file with its last reader.
            let blob = Blob::from_file(&range.path, spool.try_clone()?);
            Ok(opened(squashfs::read(&range, &spool, &blob)?, kind, 0))
        }
        Kind::Tar => {
            let blob = Blob::from_file(&range.path, range.file);
            Ok(opened(Tree::from_tar(&blob, range.offset, range.len, &Limits::default())?, kind, 0))
        }
        Kind::Erofs | Kind::Ext | Kind::Btrfs | Kind::Directory => {
            let (tree, note, guard) = foreign::read(&range, kind, cache)?;
            Ok(Opened { notes: note.into_iter().collect(), _guard: guard, ..opened(tree, kind, 0) })
        }
    }
}

/// A partition of the usr type holds what is in /usr.
fn below_usr(tree: Tree) -> Result<Tree, OpenCause> {
    let has = |path: &str| TreePath::new(path).is_ok_and(|p| tree.contains(&p));
    if has("/usr") || !has("/lib/extension-release.d") {
        return Ok(tree);
    }
    let mut out = Tree::default();
    for (path, node) in tree.iter() {
        let below = [b"/usr/", path.as_relative()].concat();
        // Only one that has the greatest length already gets too long.
        let Ok(place) = TreePath::new(below) else { continue };
        out.insert_all(place, node.clone(), &Meta::dir())?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
