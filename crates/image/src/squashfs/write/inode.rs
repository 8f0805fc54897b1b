//! The inode table, and with it the directory table: each names places in the other.

use std::collections::HashMap;
use std::io;

use super::WriteError;
use super::data::Stored;
use super::directory::{self, Name};
use super::metadata::MetadataWriter;
use super::output::Output;
use super::plan::Plan;
use super::xattr::XattrTable;
use crate::codec::Encoder;
use crate::device::encode_device;
use crate::squashfs::layout::inode_type::{
    BLOCK_DEVICE, CHAR_DEVICE, DIR, EXTENDED, FIFO, FILE, SOCKET, SYMLINK,
};
use crate::squashfs::layout::{
    DIR_DOTS, Device, Dir, ExtendedDir, ExtendedFile, File, InodeHeader, Ipc, MetadataPlace, NO_FRAGMENT,
    NO_XATTRS, Record as _, Symlink,
};
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

/// No inode has this number; none written yet.
const UNNUMBERED: u32 = 0;
const UNWRITTEN: u64 = u64::MAX;

struct Writer<'a, 'o, 'f> {
    inodes: MetadataWriter<&'o mut Output<'f>>,
    /// Finds out where each listing goes: they follow the inodes, and may be too large to be kept.
    listings: MetadataWriter<io::Sink>,
    names: Names<'a>,
    plan: &'a Plan<'a>,
    stored: &'a Stored,
    xattrs: XattrTable<'a>,
    ids: Vec<u32>,
    id_numbers: HashMap<u32, u16>,
}

/// What a listing is made of.
struct Names<'a> {
    tree: &'a Tree,
    numbers: Vec<u32>,
    /// Where inodes are, by their number less one.
    references: Vec<u64>,
}

/// Writes the inodes, then the listings.
pub(super) fn write<'a>(
    tree: &'a Tree,
    plan: &'a Plan<'a>,
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
        plan,
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
    let root_inode = names.reference(tree.root());
    Ok(Tables { inodes, root_inode, directory_table_start, references: names.references, ids, xattrs })
}

impl<'a> Names<'a> {
    fn reference(&self, ino: Ino) -> u64 {
        // All were numbered.
        self.references[self.numbers[ino.index()] as usize - 1]
    }

    fn set_reference(&mut self, ino: Ino, place: MetadataPlace) {
        self.references[self.numbers[ino.index()] as usize - 1] = place.reference();
    }

    /// The listing of a directory.
    fn of(&self, dir: &TreePath) -> impl Iterator<Item = Name<'a>> {
        self.tree.children_inodes(dir).filter_map(|(path, ino, node)| {
            Some(Name {
                // Only the root has none, and it is nobody's child.
                name: path.file_name()?,
                inode: MetadataPlace::from_reference(self.reference(ino)),
                number: self.numbers[ino.index()],
                kind: kind_of(&node.kind),
            })
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
    give(tree.root().index());
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
        let size = u32::try_from(listing.len + u64::from(DIR_DOTS)).map_err(|_| too_large("directory"))?;
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
        let extended = xattr != NO_XATTRS || listing.index_count > 0 || size > u32::from(u16::MAX);
        let offset = listing.place.offset;
        if extended {
            ExtendedDir { nlink, size, start_block: start, parent, index_count, offset, xattr }
                .put(&mut body);
            body.extend_from_slice(&listing.index);
        } else {
            Dir { start_block: start, nlink, size: size as u16, offset, parent }.put(&mut body);
        }
        let kind = if extended { DIR + EXTENDED } else { DIR };
        self.inode(dir, ino, kind, meta, &body)
    }

    /// The inode of anything but a directory.
    fn leaf(&mut self, path: &'a TreePath, ino: Ino, node: &'a Node) -> Result<(), WriteError> {
        let nlink = self.names.tree.nlink(ino);
        let xattr = self.xattrs.number(path, &node.meta)?;
        let has_xattr = xattr != NO_XATTRS;
        let mut body = Vec::with_capacity(64);
        let extended = match &node.kind {
            Kind::Dir => return Ok(()),
            Kind::File(content) => self.file_body(&mut body, ino.index(), content.len(), nlink, xattr),
            Kind::Symlink(target) => {
                let size = u32::try_from(target.len()).map_err(|_| WriteError::TooLarge {
                    path: path.clone(),
                    what: "target of the symlink",
                })?;
                Symlink { nlink, size }.put(&mut body);
                body.extend_from_slice(target);
                has_xattr
            }
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                Device { nlink, rdev: encode_device(*major, *minor) }.put(&mut body);
                has_xattr
            }
            Kind::Fifo | Kind::Socket => {
                Ipc { nlink }.put(&mut body);
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
        let number = self.plan.number(index);
        let stored = self.stored.file(number);
        let (fragment, offset) = self.plan.fragment(number).unwrap_or((NO_FRAGMENT, 0));
        let basic = xattr == NO_XATTRS
            && nlink == 1
            && stored.holes == 0
            && u32::try_from(len).is_ok()
            && u32::try_from(stored.start).is_ok();
        if basic {
            let (start_block, size) = (stored.start as u32, len as u32);
            File { start_block, fragment, offset, size }.put(body);
        } else {
            let (start_block, sparse) = (stored.start, stored.holes);
            ExtendedFile { start_block, size: len, sparse, nlink, fragment, offset, xattr }.put(body);
        }
        for size in stored.sizes {
            body.extend_from_slice(&size.to_le_bytes());
        }
        !basic
    }

    /// The header and what follows.
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
        let mut bytes = Vec::with_capacity(InodeHeader::SIZE + body.len());
        let (mode, number) = ((meta.mode & 0o7777) as u16, self.names.numbers[ino.index()]);
        InodeHeader { kind, mode, uid, gid, mtime, number }.put(&mut bytes);
        bytes.extend_from_slice(body);
        self.inodes.write(&bytes)?;
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
