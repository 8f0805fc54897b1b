//! Disk images of whole systems: a root partition, and often one of /usr beside it.

use std::fs::File;
use std::io;
use std::path::Path;

use super::{
    ImageContents, ImageKind, ReadCause, ReadError, Section, USR, contents, file_system, gpt, is_disk,
    kind_of, mounted_at,
};
use tree::{Node, ScratchSpace, StaticPath, Tree};

const ETC: StaticPath = StaticPath::new("/etc");

/// Partitions that hold no part of the system's own tree, whatever is in them: the second copy of /usr, and those of Flatcar and
/// of other vendors for firmware, boot loaders and data.
const OTHERS: [&str; 12] = [
    "USR-B",
    "OEM",
    "OEM-CONFIG",
    "EFI-SYSTEM",
    "BIOS-BOOT",
    "boot",
    "xbootldr",
    "esp",
    "home",
    "srv",
    "var",
    "swap",
];

/// Whether a file is an image that [`read`](super::read) or [`read_host`] reads: a file system or a disk, no tar.
///
/// # Errors
/// It can't be read.
pub fn is_image(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let section = Section { path: path.to_owned(), file, offset: 0, len };
    Ok(is_disk(&section) || kind_of(&section).is_some_and(|kind| kind != ImageKind::Tar))
}

/// Reads the root file system of a system's image: a file system, or a disk with a root partition, a partition of what is in
/// /usr, or both.
///
/// # Errors
/// It can't be read, or understood.
pub fn read_host(path: &Path, scratch: &dyn ScratchSpace) -> Result<ImageContents, ReadError> {
    inner(path, scratch).map_err(|cause| ReadError { path: path.to_owned(), cause })
}

fn inner(path: &Path, scratch: &dyn ScratchSpace) -> Result<ImageContents, ReadCause> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let whole = Section { path: path.to_owned(), file, offset: 0, len };
    if !is_disk(&whole) {
        let kind = kind_of(&whole).ok_or(ReadCause::Unknown)?;
        let mut contents = file_system(whole, kind, scratch)?;
        if is_usr(&contents.tree) {
            contents.tree = mounted_at(&USR.path(), &contents.tree, Tree::default())?;
        }
        return Ok(ImageContents { size: len, ..contents });
    }
    let partitions = gpt::read(&whole.file)?;
    let names: Vec<String> = partitions.iter().map(|p| p.name.clone()).collect();
    let (mut root, mut usr): (Option<ImageContents>, Option<ImageContents>) = (None, None);
    for partition in partitions.iter().filter(|p| !OTHERS.iter().any(|o| o.eq_ignore_ascii_case(&p.name))) {
        let file = whole.file.try_clone()?;
        let section = Section { path: path.to_owned(), file, offset: partition.offset, len: partition.size };
        let Some(kind) = kind_of(&section).filter(|k| *k != ImageKind::Tar) else { continue };
        let found = file_system(section, kind, scratch)?;
        if is_usr(&found.tree) {
            usr.get_or_insert(found);
        } else if root.is_none()
            && (has(&found.tree, USR) || has(&found.tree, ETC) || partition.name == "ROOT")
        {
            root = Some(found);
        }
    }
    let nothing = || ReadCause::Disk(names.clone());
    let joined = match (root, usr) {
        (None, None) => return Err(nothing()),
        (Some(root), None) if has(&root.tree, USR) => root,
        (Some(_), None) => return Err(nothing()),
        (root, Some(usr)) => {
            let mut root = root.unwrap_or_else(|| contents(Tree::default(), usr.kind, 0));
            root.tree = mounted_at(&USR.path(), &usr.tree, std::mem::take(&mut root.tree))?;
            root.notes.extend(usr.notes);
            root.guards.extend(usr.guards);
            ImageContents { kind: usr.kind, ..root }
        }
    };
    Ok(ImageContents { size: len, partitions: names, ..joined })
}

fn has(tree: &Tree, path: StaticPath) -> bool {
    tree.get(&path.path()).is_some_and(Node::is_dir) && tree.children(&path.path()).next().is_some()
}

/// What is in /usr, and nothing else: no root has its os-release there without a link.
fn is_usr(tree: &Tree) -> bool {
    const OS_RELEASE: StaticPath = StaticPath::new("/lib/os-release");
    tree.contains(&OS_RELEASE.path()) && !has(tree, USR)
}
