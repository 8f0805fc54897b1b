//! Trees to tar streams.

use std::collections::HashMap;
use std::io::{self, Write};

use tar::{EntryType, Header};

use crate::{
    Content, Extent, Ino, Kind, Meta, Node, Tree, TreePath,
    tree::{ContentError, escape},
};

/// Why a tar could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum TarError {
    /// A file's content can't be read.
    #[error("{path}: {source}")]
    Content { path: TreePath, source: ContentError },
    /// The stream can't be written.
    #[error("tar stream: {0}")]
    Write(#[from] io::Error),
    /// A PAX record's key ends at the first `=`.
    #[error("{path}: extended attribute {name:?} has a '=' in its name, which a tar can't hold")]
    XattrName { path: TreePath, name: String },
    /// Tar has no such thing.
    #[error("{0}: is a socket, which a tar can't hold")]
    Socket(TreePath),
}

impl Tree {
    /// Writes a tar stream: ustar headers, with PAX records for what doesn't fit in them. The same tree makes the same
    /// bytes. The root is the first entry, `./`.
    ///
    /// # Errors
    /// Content can't be read, or the stream not written; a socket.
    pub fn write_tar(&self, out: impl Write) -> Result<(), TarError> {
        self.write(out, false)
    }

    /// As [`Tree::write_tar`], but the holes of sparse files stay holes: in GNU's format 1.0 within PAX, which not everybody reads.
    ///
    /// # Errors
    /// As [`Tree::write_tar`].
    pub fn write_sparse_tar(&self, out: impl Write) -> Result<(), TarError> {
        self.write(out, true)
    }

    fn write(&self, out: impl Write, sparse: bool) -> Result<(), TarError> {
        let mut writer = TarWriter { out, sparse, first: HashMap::new(), buffer: vec![0; COPY_SIZE] };
        for (path, ino, node) in self.iter_inodes() {
            writer.entry(path, node, (self.nlink(ino) > 1 && !node.is_dir()).then_some(ino))?;
        }
        // Two blocks of zeros end a tar. tar(5).
        writer.out.write_all(&[0; 1024])?;
        writer.out.flush()?;
        Ok(())
    }
}

/// Bytes read and written at once.
const COPY_SIZE: usize = 1 << 16;

struct TarWriter<'a, W> {
    out: W,
    /// Whether holes are left out.
    sparse: bool,
    /// The first name of each inode that has several.
    first: HashMap<Ino, &'a TreePath>,
    buffer: Vec<u8>,
}

impl<'a, W: Write> TarWriter<'a, W> {
    fn entry(&mut self, path: &'a TreePath, node: &Node, linked: Option<Ino>) -> Result<(), TarError> {
        let mut name = if path.is_root() { b".".to_vec() } else { path.as_relative().to_vec() };
        if node.is_dir() {
            name.push(b'/');
        }
        if let Some(odd) = node.meta.xattrs.keys().find(|k| k.contains(&b'=')) {
            return Err(TarError::XattrName { path: path.clone(), name: escape(odd) });
        }
        let mut header = Header::new_ustar();
        let mut records = Records::default();
        metadata(&mut header, &mut records, &node.meta);
        let mut content = None;
        if let Some(target) = linked.and_then(|ino| self.first.get(&ino)) {
            header.set_entry_type(EntryType::Link);
            link_name(&mut header, &mut records, target.as_relative());
            // A hard link has no attributes of its own.
            records.0.retain(|(key, _)| !key.starts_with(b"SCHILY.xattr."));
        } else {
            match &node.kind {
                Kind::Dir => header.set_entry_type(EntryType::Directory),
                Kind::File(c) => {
                    header.set_entry_type(EntryType::Regular);
                    let body = Body::of(c, self.sparse);
                    number(&mut records, "size", body.stored(c), 0o777_7777_7777, |n| header.set_size(n));
                    if matches!(body, Body::Sparse { .. }) {
                        records.add("GNU.sparse.major", "1");
                        records.add("GNU.sparse.minor", "0");
                        records.add("GNU.sparse.name", name.as_slice());
                        records.add("GNU.sparse.realsize", c.len().to_string());
                    }
                    content = Some((c, body));
                }
                Kind::Symlink(target) => {
                    header.set_entry_type(EntryType::Symlink);
                    link_name(&mut header, &mut records, target);
                }
                Kind::CharDevice { major, minor } => {
                    header.set_entry_type(EntryType::Char);
                    device(&mut header, *major, *minor)?;
                }
                Kind::BlockDevice { major, minor } => {
                    header.set_entry_type(EntryType::Block);
                    device(&mut header, *major, *minor)?;
                }
                Kind::Fifo => header.set_entry_type(EntryType::Fifo),
                Kind::Socket => return Err(TarError::Socket(path.clone())),
            }
            if let Some(ino) = linked {
                self.first.insert(ino, path);
            }
        }
        // The crate's own set_path goes through `Path`, which changes names; ours are normal already.
        put_name(&mut header, &mut records, &name);
        self.records(&records)?;
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        match content {
            Some((content, body)) => self.content(path, content, &body),
            None => Ok(()),
        }
    }

    fn records(&mut self, records: &Records) -> Result<(), TarError> {
        if records.0.is_empty() {
            return Ok(());
        }
        let body = records.bytes();
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o644);
        header.set_size(body.len() as u64);
        field(&mut header.as_old_mut().name, b"PaxHeaders/x");
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(&body)?;
        self.pad(body.len() as u64)
    }

    fn content(&mut self, path: &TreePath, content: &Content, body: &Body<'_>) -> Result<(), TarError> {
        match body {
            Body::Whole => self.run(path, content, 0, content.len())?,
            Body::Sparse { map, extents } => {
                self.out.write_all(map)?;
                for extent in *extents {
                    self.run(path, content, extent.at, extent.at + extent.len)?;
                }
            }
        }
        self.pad(body.stored(content))
    }

    /// Bytes of a file from `at` to `end`.
    fn run(&mut self, path: &TreePath, content: &Content, mut at: u64, end: u64) -> Result<(), TarError> {
        let failed = |source| TarError::Content { path: path.clone(), source };
        while at < end {
            let want = (end - at).min(COPY_SIZE as u64) as usize;
            let n = content.read_at(&mut self.buffer[..want], at).map_err(failed)?;
            if n == 0 {
                return Err(failed(ContentError::BadExtents));
            }
            self.out.write_all(&self.buffer[..n])?;
            at += n as u64;
        }
        Ok(())
    }

    fn pad(&mut self, len: u64) -> Result<(), TarError> {
        let rest = (len % 512) as usize;
        if rest != 0 {
            self.out.write_all(&[0; 512][rest..])?;
        }
        Ok(())
    }
}

/// How a file's content is stored.
enum Body<'c> {
    Whole,
    Sparse {
        /// Where the extents go: decimal numbers, their count first, padded to a block. GNU tar manual, "Storing Sparse Files".
        map: Vec<u8>,
        extents: &'c [Extent],
    },
}

impl<'c> Body<'c> {
    fn of(content: &'c Content, sparse: bool) -> Self {
        let Some(extents) = content.extents().filter(|_| sparse) else { return Body::Whole };
        let mut map = format!("{}\n", extents.len()).into_bytes();
        for Extent { at, len, .. } in extents {
            map.extend(format!("{at}\n{len}\n").bytes());
        }
        map.resize(map.len().next_multiple_of(512), 0);
        Body::Sparse { map, extents }
    }

    /// Bytes in the tar, without what pads them.
    fn stored(&self, content: &Content) -> u64 {
        match self {
            Body::Whole => content.len(),
            Body::Sparse { map, extents } => map.len() as u64 + extents.iter().map(|e| e.len).sum::<u64>(),
        }
    }
}

/// PAX records in the order in which they are written. pax(1), "pax Extended Header".
#[derive(Default)]
struct Records(Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    fn add(&mut self, key: &str, value: impl Into<Vec<u8>>) {
        self.0.push((key.as_bytes().to_vec(), value.into()));
    }

    /// `LENGTH KEY=VALUE\n`; the length counts its own digits.
    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, value) in &self.0 {
            let rest = key.len() + value.len() + 3;
            let mut len = rest + 1;
            while rest + len.to_string().len() != len {
                len = rest + len.to_string().len();
            }
            out.extend_from_slice(len.to_string().as_bytes());
            out.push(b' ');
            out.extend_from_slice(key);
            out.push(b'=');
            out.extend_from_slice(value);
            out.push(b'\n');
        }
        out
    }
}

fn metadata(header: &mut Header, records: &mut Records, meta: &Meta) {
    header.set_mode(meta.mode & 0o7777);
    number(records, "uid", u64::from(meta.uid), 0o777_7777, |n| header.set_uid(n));
    number(records, "gid", u64::from(meta.gid), 0o777_7777, |n| header.set_gid(n));
    match u64::try_from(meta.mtime) {
        Ok(t) if t <= 0o777_7777_7777 => header.set_mtime(t),
        _ => {
            header.set_mtime(0);
            records.add("mtime", meta.mtime.to_string());
        }
    }
    header.set_size(0);
    for (name, value) in &meta.xattrs {
        let mut key = b"SCHILY.xattr.".to_vec();
        key.extend_from_slice(name);
        records.0.push((key, value.clone()));
    }
}

/// A number in its field of octal digits, or in a record with the field zero.
fn number(records: &mut Records, key: &str, value: u64, max: u64, set: impl FnOnce(u64)) {
    if value <= max {
        set(value);
    } else {
        set(0);
        records.add(key, value.to_string());
    }
}

fn device(header: &mut Header, major: u32, minor: u32) -> io::Result<()> {
    header.set_device_major(major)?;
    header.set_device_minor(minor)
}

fn field(slot: &mut [u8], bytes: &[u8]) {
    slot.fill(0);
    let n = bytes.len().min(slot.len());
    slot[..n].copy_from_slice(&bytes[..n]);
}

fn put_name(header: &mut Header, records: &mut Records, name: &[u8]) {
    if name.len() > header.as_old().name.len() {
        records.add("path", name);
    }
    field(&mut header.as_old_mut().name, name);
}

fn link_name(header: &mut Header, records: &mut Records, target: &[u8]) {
    if target.len() > header.as_old().linkname.len() {
        records.add("linkpath", target);
    }
    field(&mut header.as_old_mut().linkname, target);
}

#[cfg(test)]
mod tests;
