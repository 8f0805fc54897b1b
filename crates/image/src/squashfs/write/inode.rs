//! The inode table, and with it the directory table: each names places in the other.

use std::collections::HashMap;
use std::io;

use super::data::Stored;
use super::directory::{self, Entry};
use super::metadata::{MetadataWriter, Place};
use super::plan::Layout;
use super::xattr::{self, XattrTable};
use super::{Output, WriteError};
use crate::codec::Encoder;
use tree::{Ino, Kind, Meta, Node, Tree, TreePath};

/// What the rest of the image needs to know.
pub(super) struct Tables<'t> {
    pub(super) inodes: u32,
    pub(super) root_inode: u64,
    pub(super) directory_table_start: u64,
    /// Inode references by number less one: the export table.
    pub(super) references: Vec<u64>,
    pub(super) ids: Vec<u32>,
    pub(super) xattrs: XattrTable<'t>,
}

// SQUASHFS_DIR_TYPE and the others; an extended inode's is 7 more.
const DIR: u16 = 1;
const FILE: u16 = 2;
const SYMLINK: u16 = 3;
const BLOCK_DEVICE: u16 = 4;
const CHAR_DEVICE: u16 = 5;
const FIFO: u16 = 6;
const SOCKET: u16 = 7;
const EXTENDED: u16 = 7;

/// No inode has this number; none written yet.
const UNNUMBERED: u32 = 0;
const UNWRITTEN: u64 = u64::MAX;

/// The fragment of a file that has none. SQUASHFS_INVALID_FRAG.
const NO_FRAGMENT: u32 = u32::MAX;

struct Writer<'a, 'o, 'f> {
    inodes: MetadataWriter<&'o mut Output<'f>>,
    /// Finds out where each listing goes: they follow the inodes, and may be too large to be kept.
    listings: MetadataWriter<io::Sink>,
    names: Names<'a>,
    layout: &'a Layout<'a>,
    stored: &'a Stored,
    xattrs: XattrTable<'a>,
    ids: Vec<u32>,
    id_numbers: HashMap<u32, u16>,
}

/// What a listing is made of.
struct Names<'a> {
    tree: &'a Tree,
    /// By inode index.
    numbers: Vec<u32>,
    /// Where inodes are, by their number less one.
    references: Vec<u64>,
}

/// Writes the inodes, then the listings.
pub(super) fn write<'a>(
    tree: &'a Tree,
    layout: &'a Layout<'a>,
    stored: &'a Stored,
    out: &mut Output<'_>,
    encoder: &dyn Fn() -> io::Result<Encoder>,
) -> Result<Tables<'a>, WriteError> {
    let (numbers, inodes) = number(tree);
    let references = vec![UNWRITTEN; inodes as usize];
    let mut w = Writer {
        inodes: MetadataWriter::new(&mut *out, encoder()?),
        listings: MetadataWriter::new(io::sink(), encoder()?),
        names: Names { tree, numbers, references },
        layout,
        stored,
        xattrs: XattrTable::default(),
        ids: Vec::new(),
        id_numbers: HashMap::new(),
    };
    // Backwards, a directory comes after all that is below it.
    let dirs: Vec<&TreePath> = tree.iter().filter(|(_, n)| n.is_dir()).map(|(p, _)| p).collect();
    for dir in dirs.iter().rev() {
        w.directory(dir)?;
    }
    let Writer { inodes: table, names, ids, xattrs, .. } = w;
    table.finish()?;
    let directory_table_start = out.position;
    let mut listings = MetadataWriter::new(&mut *out, encoder()?);
    for dir in dirs.iter().rev() {
        directory::write(&mut listings, names.of(dir))?;
    }
    listings.finish()?;
    let root_inode = tree.ino(&TreePath::root()).map_or(0, |i| names.reference(i));
    Ok(Tables { inodes, root_inode, directory_table_start, references: names.references, ids, xattrs })
}

impl<'a> Names<'a> {
    fn reference(&self, ino: Ino) -> u64 {
        // All were numbered.
        self.references[self.numbers[ino.index()] as usize - 1]
    }

    fn set_reference(&mut self, ino: Ino, place: Place) {
        self.references[self.numbers[ino.index()] as usize - 1] = place.reference();
    }

    /// The listing of a directory.
    fn of(&self, dir: &TreePath) -> impl Iterator<Item = Entry<'a>> {
        self.tree.children_inodes(dir).map(|(path, ino, node)| Entry {
            // The root has no name; all else has.
            name: path.file_name().unwrap_or_default(),
            inode: Place::from_reference(self.reference(ino)),
            number: self.numbers[ino.index()],
            kind: kind_of(&node.kind),
        })
    }
}

fn kind_of(kind: &Kind) -> u16 {
    match kind {
        Kind::Dir => DIR,
        Kind::File(_) => FILE,
        Kind::Symlink(_) => SYMLINK,
        Kind::BlockDevice { .. } => BLOCK_DEVICE,
        Kind::CharDevice { .. } => CHAR_DEVICE,
        Kind::Fifo => FIFO,
        Kind::Socket => SOCKET,
    }
}

/// Numbers from 1; the children of a directory one after the other, so that a listing needs few headers.
fn number(tree: &Tree) -> (Vec<u32>, u32) {
    let mut numbers = vec![UNNUMBERED; tree.inode_slots()];
    let mut next = 1;
    let mut give = |index: usize| {
        if numbers[index] == UNNUMBERED {
            numbers[index] = next;
            next += 1;
        }
    };
    if let Some(root) = tree.ino(&TreePath::root()) {
        give(root.index());
    }
    for (dir, _) in tree.iter().filter(|(_, n)| n.is_dir()) {
        for (_, ino, _) in tree.children_inodes(dir) {
            give(ino.index());
        }
    }
    (numbers, next - 1)
}

impl<'a> Writer<'a, '_, '_> {
    /// All inodes in the directory that are not written yet, its listing, and its own inode.
    fn directory(&mut self, dir: &'a TreePath) -> Result<(), WriteError> {
        let tree = self.names.tree;
        let mut subdirectories = 0u32;
        for (path, ino, node) in tree.children_inodes(dir) {
            if node.is_dir() {
                subdirectories += 1;
            } else if self.names.reference(ino) == UNWRITTEN {
                self.leaf(path, ino, node)?;
            }
        }
        let too_large = |what| WriteError::TooLarge { path: dir.clone(), what };
        let listing = directory::write(&mut self.listings, self.names.of(dir))?;
        // "." and ".." count as three bytes. squashfs_readdir, fs/squashfs/dir.c
        let size = u32::try_from(listing.len + 3).map_err(|_| too_large("directory"))?;
        let start = u32::try_from(listing.place.block).map_err(|_| too_large("directory table"))?;
        let index_count = u16::try_from(listing.index_count).map_err(|_| too_large("directory index"))?;

        let ino = tree.ino(dir).ok_or_else(|| too_large("tree"))?;
        let meta = &tree.node(ino).meta;
        // The root's parent has a number that no inode has.
        let parent = match dir.parent().and_then(|p| tree.ino(&p)) {
            Some(parent) => self.names.numbers[parent.index()],
            None => self.names.references.len() as u32 + 1,
        };
        let xattr = self.xattrs.number(dir, meta)?;
        let nlink = subdirectories + 2;
        let mut body = Vec::with_capacity(24 + listing.index.len());
        let extended = xattr != xattr::NONE || listing.index_count > 0 || size > u32::from(u16::MAX);
        if extended {
            body.extend_from_slice(&nlink.to_le_bytes());
            body.extend_from_slice(&size.to_le_bytes());
            body.extend_from_slice(&start.to_le_bytes());
            body.extend_from_slice(&parent.to_le_bytes());
            body.extend_from_slice(&index_count.to_le_bytes());
            body.extend_from_slice(&listing.place.offset.to_le_bytes());
            body.extend_from_slice(&xattr.to_le_bytes());
            body.extend_from_slice(&listing.index);
        } else {
            body.extend_from_slice(&start.to_le_bytes());
            body.extend_from_slice(&nlink.to_le_bytes());
            body.extend_from_slice(&(size as u16).to_le_bytes());
            body.extend_from_slice(&listing.place.offset.to_le_bytes());
            body.extend_from_slice(&parent.to_le_bytes());
        }
        let kind = if extended { DIR + EXTENDED } else { DIR };
        self.inode(dir, ino, kind, meta, &body)
    }

    /// The inode of anything but a directory.
    fn leaf(&mut self, path: &'a TreePath, ino: Ino, node: &'a Node) -> Result<(), WriteError> {
        let nlink = self.names.tree.nlink(ino);
        let xattr = self.xattrs.number(path, &node.meta)?;
        let has_xattr = xattr != xattr::NONE;
        let mut body = Vec::with_capacity(64);
        let extended = match &node.kind {
            Kind::Dir => return Ok(()),
            Kind::File(content) => self.file_body(&mut body, ino.index(), content.len(), nlink, xattr),
            Kind::Symlink(target) => {
                body.extend_from_slice(&nlink.to_le_bytes());
                let len = u32::try_from(target.len()).map_err(|_| WriteError::TooLarge {
                    path: path.clone(),
                    what: "target of the symlink",
                })?;
                body.extend_from_slice(&len.to_le_bytes());
                body.extend_from_slice(target);
                has_xattr
            }
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                body.extend_from_slice(&nlink.to_le_bytes());
                body.extend_from_slice(&encode_device(*major, *minor).to_le_bytes());
                has_xattr
            }
            Kind::Fifo | Kind::Socket => {
                body.extend_from_slice(&nlink.to_le_bytes());
                has_xattr
            }
        };
        if has_xattr && !node.is_file() {
            body.extend_from_slice(&xattr.to_le_bytes());
        }
        let kind = kind_of(&node.kind) + if extended { EXTENDED } else { 0 };
        self.inode(path, ino, kind, &node.meta, &body)
    }

    /// Says whether it is an extended inode's.
    fn file_body(&self, body: &mut Vec<u8>, index: usize, len: u64, nlink: u32, xattr: u32) -> bool {
        let number = self.layout.number(index);
        let stored = self.stored.file(number);
        let (fragment, offset) = self.layout.fragment(number).unwrap_or((NO_FRAGMENT, 0));
        let basic = xattr == xattr::NONE
            && nlink == 1
            && stored.holes == 0
            && u32::try_from(len).is_ok()
            && u32::try_from(stored.start).is_ok();
        if basic {
            body.extend_from_slice(&(stored.start as u32).to_le_bytes());
            body.extend_from_slice(&fragment.to_le_bytes());
            body.extend_from_slice(&offset.to_le_bytes());
            body.extend_from_slice(&(len as u32).to_le_bytes());
        } else {
            body.extend_from_slice(&stored.start.to_le_bytes());
            body.extend_from_slice(&len.to_le_bytes());
            body.extend_from_slice(&stored.holes.to_le_bytes());
            body.extend_from_slice(&nlink.to_le_bytes());
            body.extend_from_slice(&fragment.to_le_bytes());
            body.extend_from_slice(&offset.to_le_bytes());
            body.extend_from_slice(&xattr.to_le_bytes());
        }
        for size in stored.sizes {
            body.extend_from_slice(&size.to_le_bytes());
        }
        !basic
    }

    /// `struct squashfs_base_inode` and what follows.
    fn inode(
        &mut self,
        path: &TreePath,
        ino: Ino,
        kind: u16,
        meta: &Meta,
        body: &[u8],
    ) -> Result<(), WriteError> {
        let mtime = u32::try_from(meta.mtime)
            .map_err(|_| WriteError::Time { path: path.clone(), mtime: meta.mtime })?;
        let (uid, gid) = (self.id(meta.uid)?, self.id(meta.gid)?);
        let place = self.inodes.place();
        if u32::try_from(place.block).is_err() {
            return Err(WriteError::TooLarge { path: path.clone(), what: "inode table" });
        }
        let mut header = Vec::with_capacity(16 + body.len());
        for n in [kind, (meta.mode & 0o7777) as u16, uid, gid] {
            header.extend_from_slice(&n.to_le_bytes());
        }
        header.extend_from_slice(&mtime.to_le_bytes());
        header.extend_from_slice(&self.names.numbers[ino.index()].to_le_bytes());
        header.extend_from_slice(body);
        self.inodes.write(&header)?;
        self.names.set_reference(ino, place);
        Ok(())
    }

    fn id(&mut self, id: u32) -> Result<u16, WriteError> {
        if let Some(&n) = self.id_numbers.get(&id) {
            return Ok(n);
        }
        // The count has 16 bits, too.
        if self.ids.len() >= usize::from(u16::MAX) {
            return Err(WriteError::TooManyIds);
        }
        let n = self.ids.len() as u16;
        self.ids.push(id);
        self.id_numbers.insert(id, n);
        Ok(n)
    }
}

/// new_encode_dev(), include/linux/kdev_t.h.
fn encode_device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}
