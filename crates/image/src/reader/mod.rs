//! Images of any kind as trees: those of this program, and those that others built.
//!
//! squashfs is read by this crate. erofs, ext4 and btrfs are mounted where that is allowed, as the host itself would do it, or else
//! taken apart by their own tools.

mod foreign;
pub use foreign::ForeignError;

mod host;
pub use host::{is_image, read_host};

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::section::Section;
use crate::{gpt, squashfs};
use tree::archive::{ArchiveError, Limits};
use tree::{
    Blob, HostError, Meta, PathError, ReadOptions, ScratchSpace, StaticPath, Tree, TreeError, TreePath,
};

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
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

impl fmt::Display for ImageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ImageKind::Directory => "directory",
            ImageKind::Squashfs => "squashfs",
            ImageKind::Erofs => "erofs",
            ImageKind::Ext => "ext4",
            ImageKind::Btrfs => "btrfs",
            ImageKind::Tar => "tar",
        })
    }
}

/// An image that has been read.
#[derive(Debug)]
pub struct ImageContents {
    /// What is in it.
    pub tree: Tree,
    /// Its file system.
    pub kind: ImageKind,
    /// The names of its partitions, if it is a disk image.
    pub partitions: Vec<String>,
    /// Bytes of the image; 0 for a directory.
    pub size: u64,
    /// What the tree can't say, because of the way in which it was read.
    pub notes: Vec<String>,
    /// Keep the files there.
    guards: Vec<foreign::Guard>,
}

/// An image that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("{path:?}: {cause}")]
pub struct ReadError {
    /// The image.
    pub path: PathBuf,
    /// Why.
    pub cause: ReadCause,
}

/// Why an image can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ReadCause {
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
    #[error(transparent)]
    Gpt(#[from] gpt::GptError),
    #[error("squashfs {0}")]
    Squashfs(#[from] squashfs::ReadError),
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    #[error(transparent)]
    Tar(#[from] ArchiveError),
    #[error(transparent)]
    Host(#[from] HostError),
    /// A usr partition that holds paths which are too long below /usr.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A usr partition that holds what can't be moved below /usr.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// What is there, by its magic number.
fn kind_of(section: &Section) -> Option<ImageKind> {
    let at = |offset: u64, magic: &[u8]| {
        let mut buf = vec![0; magic.len()];
        section.read_exact_at(&mut buf, offset).is_ok_and(|()| buf == magic)
    };
    let mut head = [0; 4];
    if section.read_exact_at(&mut head, 0).is_ok() && squashfs::is_magic(&head) {
        return Some(ImageKind::Squashfs);
    }
    // EROFS_SUPER_MAGIC_V1, EXT4_SUPER_MAGIC and BTRFS_MAGIC at their places; ustar at its own.
    let known: [(u64, &[u8], ImageKind); 4] = [
        (1024, &[0xe2, 0xe1, 0xf5, 0xe0], ImageKind::Erofs),
        (1024 + 56, &[0x53, 0xef], ImageKind::Ext),
        (0x10040, b"_BHRfS_M", ImageKind::Btrfs),
        (257, b"ustar", ImageKind::Tar),
    ];
    known.into_iter().find(|(offset, magic, _)| at(*offset, magic)).map(|(_, _, kind)| kind)
}

fn is_disk(section: &Section) -> bool {
    let mut magic = [0; 8];
    section.read_exact_at(&mut magic, gpt::SECTOR).is_ok() && magic == *gpt::SIGNATURE
}

/// Reads an image, or a directory.
///
/// # Errors
/// It can't be read, or understood.
pub fn read(path: &Path, scratch: &dyn ScratchSpace) -> Result<ImageContents, ReadError> {
    inner(path, scratch).map_err(|cause| ReadError { path: path.to_owned(), cause })
}

fn inner(path: &Path, scratch: &dyn ScratchSpace) -> Result<ImageContents, ReadCause> {
    let meta = path.metadata()?;
    if meta.is_dir() {
        let tree = Tree::from_dir(path, &ReadOptions::default())?;
        return Ok(contents(tree, ImageKind::Directory, 0));
    }
    let len = meta.len();
    let whole = Section { path: path.to_owned(), file: File::open(path)?, offset: 0, len };
    if !is_disk(&whole) {
        let kind = kind_of(&whole).ok_or(ReadCause::Unknown)?;
        return Ok(ImageContents { size: len, ..file_system(whole, kind, scratch)? });
    }
    let partitions = gpt::read(&whole.file)?;
    let names: Vec<String> = partitions.iter().map(|p| p.name.clone()).collect();
    for partition in &partitions {
        let file = whole.file.try_clone()?;
        // What hashes and signatures are stored in has no file system.
        let section = Section { path: path.to_owned(), file, offset: partition.offset, len: partition.size };
        if let Some(kind) = kind_of(&section).filter(|k| *k != ImageKind::Tar) {
            let mut contents = file_system(section, kind, scratch)?;
            contents.tree = below_usr(contents.tree)?;
            return Ok(ImageContents { size: len, partitions: names, ..contents });
        }
    }
    Err(ReadCause::Disk(names))
}

fn contents(tree: Tree, kind: ImageKind, size: u64) -> ImageContents {
    ImageContents { tree, kind, partitions: Vec::new(), size, notes: Vec::new(), guards: Vec::new() }
}

fn file_system(
    section: Section,
    kind: ImageKind,
    scratch: &dyn ScratchSpace,
) -> Result<ImageContents, ReadCause> {
    match kind {
        ImageKind::Squashfs => {
            let scratch = scratch.scratch_dir("squashfs")?;
            let place = scratch.path().join("files");
            let spool = File::options().read(true).write(true).create_new(true).open(&place)?;
            // The name is gone with the scratch directory, the file with its last reader.
            let blob = Blob::from_file(&section.path, spool.try_clone()?);
            Ok(contents(squashfs::read(&section, &spool, &blob, &Limits::image())?, kind, 0))
        }
        ImageKind::Tar => {
            let blob = Blob::from_file(&section.path, section.file);
            Ok(contents(Tree::from_tar(&blob, section.offset, section.len, &Limits::image())?, kind, 0))
        }
        ImageKind::Erofs | ImageKind::Ext | ImageKind::Btrfs | ImageKind::Directory => {
            let (tree, note, guard) = foreign::read(&section, kind, scratch)?;
            Ok(ImageContents {
                notes: note.into_iter().collect(),
                guards: vec![guard],
                ..contents(tree, kind, 0)
            })
        }
    }
}

/// A partition of the usr type holds what is in /usr.
fn below_usr(tree: Tree) -> Result<Tree, ReadCause> {
    let has = |path: &str| TreePath::new(path).is_ok_and(|p| tree.contains(&p));
    if has("/usr") || !has("/lib/extension-release.d") {
        return Ok(tree);
    }
    mounted_at(&USR.path(), &tree, Tree::default())
}

const USR: StaticPath = StaticPath::new("/usr");

/// `below` with a tree at `place`, in the stead of what is there.
fn mounted_at(place: &TreePath, tree: &Tree, mut below: Tree) -> Result<Tree, ReadCause> {
    below.remove(place);
    for (path, node) in tree.iter() {
        let target = TreePath::new([place.as_relative(), b"/", path.as_relative()].concat())?;
        below.insert_all(target, node.clone(), &Meta::dir())?;
    }
    Ok(below)
}

#[cfg(test)]
mod tests;
