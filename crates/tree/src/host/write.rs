//! Trees to directories.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::{DIRECTORY, HostError, Skipped, io_error, open_beneath, proc_path};
use crate::{Content, Ino, Kind, Meta, Tree, TreePath, is_zero, tree::escape};

/// What of a tree is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// Sets owners and groups; otherwise everything is the caller's.
    pub ownership: bool,
    /// Makes character and block devices; otherwise they are skipped.
    pub devices: bool,
    /// Makes pipes and sockets; otherwise they are skipped.
    pub special: bool,
    /// Sets extended attributes; otherwise they are skipped.
    pub xattrs: bool,
    /// Skips extended attributes that can't be set, but for file capabilities: programs miss those.
    pub lenient_xattrs: bool,
    /// Skips what the caller may not do (a device, an attribute, an owner) where it would be an error.
    pub lenient: bool,
}

impl WriteOptions {
    /// Everything; takes root.
    pub fn all() -> Self {
        WriteOptions {
            ownership: true,
            devices: true,
            special: true,
            xattrs: true,
            lenient_xattrs: false,
            lenient: false,
        }
    }

    /// As much as the caller may: all as root; no owners and no devices otherwise. Of extended attributes, what the file
    /// system takes; file capabilities have to be among them.
    pub fn for_caller() -> Self {
        let root = rustix::process::geteuid().is_root();
        WriteOptions { ownership: root, devices: root, lenient_xattrs: true, ..WriteOptions::all() }
    }
}

/// What was left out.
#[derive(Debug, Default)]
#[must_use]
pub struct WriteReport {
    /// Each file, and what of it. Owners are not listed if `ownership` is off.
    pub skipped: Vec<Skipped>,
}

impl Tree {
    /// Fills the directory `dir`, which has to be there and to be empty.
    ///
    /// # Errors
    /// The system refuses something, or content can't be read. What was written by then stays.
    pub fn write_dir(&self, dir: &Path, options: &WriteOptions) -> Result<WriteReport, HostError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, dir, flags, Mode::empty())
            .map_err(|e| io_error(dir, &TreePath::root(), e))?;
        let mut writer = Writer {
            tree: self,
            dir,
            root,
            options,
            parent: None,
            first: HashMap::new(),
            buffer: vec![0; COPY_SIZE],
            report: WriteReport::default(),
        };
        for (path, ino, _) in self.iter_inodes().filter(|(p, ..)| !p.is_root()) {
            writer.make(path, ino)?;
        }
        // A directory's time changes with its children and its mode may keep us out, so all at the end, deepest first.
        let dirs: Vec<(&TreePath, &Meta)> =
            self.iter().filter(|(_, n)| n.is_dir()).map(|(p, n)| (p, &n.meta)).collect();
        for (path, meta) in dirs.into_iter().rev() {
            let fd = open_beneath(&writer.root, path, DIRECTORY).map_err(|e| io_error(dir, path, e))?;
            writer.finish(path, meta, &fd)?;
        }
        Ok(writer.report)
    }
}

/// Bytes read and written at once.
const COPY_SIZE: usize = 1 << 17;

/// Bytes. A run of zeros of this size, aligned, is left a hole.
const HOLE: usize = 1 << 12;

struct Writer<'a> {
    tree: &'a Tree,
    dir: &'a Path,
    root: OwnedFd,
    options: &'a WriteOptions,
    /// The directory that is being filled.
    parent: Option<(TreePath, OwnedFd)>,
    /// The first name of each inode that has several.
    first: HashMap<Ino, &'a TreePath>,
    buffer: Vec<u8>,
    report: WriteReport,
}

impl<'a> Writer<'a> {
    fn make(&mut self, path: &'a TreePath, ino: Ino) -> Result<(), HostError> {
        let node = self.tree.node(ino);
        let fail = |e| io_error(self.dir, path, e);
        let above = path.parent().unwrap_or_else(TreePath::root);
        let parent = match self.parent.take() {
            Some((open, fd)) if open == above => fd,
            _ => open_beneath(&self.root, &above, DIRECTORY).map_err(|e| io_error(self.dir, &above, e))?,
        };
        let name = OsStr::from_bytes(path.file_name().unwrap_or_default());
        let linked = self.tree.nlink(ino) > 1 && !node.is_dir();
        if let Some(target) = self.first.get(&ino).filter(|_| linked) {
            let from = target.parent().unwrap_or_else(TreePath::root);
            let from = open_beneath(&self.root, &from, DIRECTORY).map_err(fail)?;
            let old = OsStr::from_bytes(target.file_name().unwrap_or_default());
            rustix::fs::linkat(&from, old, &parent, name, AtFlags::empty()).map_err(fail)?;
            self.parent = Some((above, parent));
            return Ok(());
        }
        let made = match &node.kind {
            Kind::Dir => {
                rustix::fs::mkdirat(&parent, name, Mode::RWXU).map_err(fail)?;
                false
            }
            Kind::File(content) => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(&parent, name, flags, Mode::RUSR | Mode::WUSR).map_err(fail)?;
                let file = File::from(file);
                self.copy(path, content, &file)?;
                self.finish(path, &node.meta, &file)?;
                self.first.insert(ino, path);
                false
            }
            Kind::Symlink(target) => {
                rustix::fs::symlinkat(OsStr::from_bytes(target), &parent, name).map_err(fail)?;
                true
            }
            Kind::CharDevice { major, minor } => {
                self.node(path, &parent, FileType::CharacterDevice, (*major, *minor))?
            }
            Kind::BlockDevice { major, minor } => {
                self.node(path, &parent, FileType::BlockDevice, (*major, *minor))?
            }
            Kind::Fifo => self.node(path, &parent, FileType::Fifo, (0, 0))?,
            Kind::Socket => self.node(path, &parent, FileType::Socket, (0, 0))?,
        };
        if made {
            self.finish_unopened(path, &node.meta, parent.as_fd(), matches!(node.kind, Kind::Symlink(_)))?;
            self.first.insert(ino, path);
        }
        self.parent = Some((above, parent));
        Ok(())
    }

    /// Makes a device, pipe or socket; says whether it did.
    fn node(
        &mut self,
        path: &TreePath,
        parent: &OwnedFd,
        kind: FileType,
        (major, minor): (u32, u32),
    ) -> Result<bool, HostError> {
        let device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
        let what = if device { "device" } else { "special file" };
        let wanted = if device { self.options.devices } else { self.options.special };
        if !wanted {
            self.report.skipped.push(Skipped { path: path.clone(), what: what.to_owned(), source: None });
            return Ok(false);
        }
        let name = OsStr::from_bytes(path.file_name().unwrap_or_default());
        let number = rustix::fs::makedev(major, minor);
        match rustix::fs::mknodat(parent, name, kind, Mode::RUSR | Mode::WUSR, number) {
            Ok(()) => Ok(true),
            Err(e) => self.forgive(path, what.to_owned(), e).map(|()| false),
        }
    }

    fn copy(&mut self, path: &TreePath, content: &Content, file: &File) -> Result<(), HostError> {
        let io = |source| HostError::Io { path: self.dir.join(path.as_host_relative()), source };
        let read = |source| HostError::Content { path: path.clone(), source };
        // Holes of a sparse file are not even read.
        let mut at = content.next_data(0);
        while at < content.len() {
            // Up to the next multiple of the buffer's size, so that runs of zeros are aligned.
            let stop = (at / COPY_SIZE as u64 + 1).saturating_mul(COPY_SIZE as u64).min(content.len());
            let buffer = &mut self.buffer[..(stop - at) as usize];
            let n = content.read_at(buffer, at).map_err(read)?;
            write_sparse(file, &buffer[..n], at).map_err(io)?;
            at = content.next_data(stop);
        }
        file.set_len(content.len()).map_err(io)
    }

    /// Owner, attributes, mode and time of an open file or directory, in the order in which none undoes another.
    fn finish(&mut self, path: &TreePath, meta: &Meta, fd: impl AsFd) -> Result<(), HostError> {
        if self.options.ownership
            && let Err(e) = owner(meta).and_then(|(uid, gid)| rustix::fs::fchown(&fd, uid, gid))
        {
            self.forgive(path, "owner".to_owned(), e)?;
        }
        self.xattrs(path, meta, |name, value| rustix::fs::fsetxattr(&fd, name, value, XattrFlags::empty()))?;
        let fail = |e| io_error(self.dir, path, e);
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(meta.mode)).map_err(fail)?;
        rustix::fs::futimens(&fd, &times(meta)).map_err(fail)
    }

    /// As `finish`, for what can't be opened.
    fn finish_unopened(
        &mut self,
        path: &TreePath,
        meta: &Meta,
        parent: BorrowedFd<'_>,
        symlink: bool,
    ) -> Result<(), HostError> {
        let bytes = path.file_name().unwrap_or_default();
        let name = OsStr::from_bytes(bytes);
        if self.options.ownership {
            let result = owner(meta).and_then(|(uid, gid)| {
                rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            });
            if let Err(e) = result {
                self.forgive(path, "owner".to_owned(), e)?;
            }
        }
        let place = proc_path(parent, bytes);
        self.xattrs(path, meta, |name, value| {
            rustix::fs::lsetxattr(&place, name, value, XattrFlags::empty())
        })?;
        let fail = |e| io_error(self.dir, path, e);
        if !symlink {
            // The name is ours, made a moment ago by mknod, which fails where something is.
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(meta.mode), AtFlags::empty())
                .map_err(fail)?;
        }
        rustix::fs::utimensat(parent, name, &times(meta), AtFlags::SYMLINK_NOFOLLOW).map_err(fail)
    }

    fn xattrs(
        &mut self,
        path: &TreePath,
        meta: &Meta,
        set: impl Fn(&OsStr, &[u8]) -> Result<(), Errno>,
    ) -> Result<(), HostError> {
        for (name, value) in &meta.xattrs {
            let what = || format!("extended attribute {}", escape(name));
            if !self.options.xattrs {
                self.report.skipped.push(Skipped { path: path.clone(), what: what(), source: None });
            } else if let Err(e) = set(OsStr::from_bytes(name), value) {
                let optional = self.options.lenient_xattrs && name != b"security.capability";
                if !((optional || self.options.lenient) && is_privilege(e)) {
                    let path = self.dir.join(path.as_host_relative());
                    return Err(HostError::Xattr { path, name: escape(name), source: e.into() });
                }
                self.report.skipped.push(Skipped {
                    path: path.clone(),
                    what: what(),
                    source: Some(e.into()),
                });
            }
        }
        Ok(())
    }

    fn forgive(&mut self, path: &TreePath, what: String, e: Errno) -> Result<(), HostError> {
        if !(self.options.lenient && is_privilege(e)) {
            return Err(io_error(self.dir, path, e));
        }
        self.report.skipped.push(Skipped { path: path.clone(), what, source: Some(e.into()) });
        Ok(())
    }
}

/// What a caller may not do, or a file system can't. EINVAL: an owner that the user namespace doesn't map.
/// user_namespaces(7).
fn is_privilege(e: Errno) -> bool {
    matches!(e, Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::INVAL)
}

/// An ID of all ones means "unchanged" to the kernel, so no file can have it. chown(2).
fn owner(meta: &Meta) -> Result<(Option<Uid>, Option<Gid>), Errno> {
    if meta.uid == u32::MAX || meta.gid == u32::MAX {
        return Err(Errno::INVAL);
    }
    Ok((Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid))))
}

fn times(meta: &Meta) -> Timestamps {
    let time = Timespec { tv_sec: meta.mtime, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

/// Writes what isn't zero.
fn write_sparse(file: &File, bytes: &[u8], at: u64) -> std::io::Result<()> {
    let mut pending = 0..0;
    for (i, chunk) in bytes.chunks(HOLE).enumerate() {
        let start = i * HOLE;
        if !is_zero(chunk) {
            if pending.end != start {
                file.write_all_at(&bytes[pending.clone()], at + pending.start as u64)?;
                pending.start = start;
            }
            pending.end = start + chunk.len();
        }
    }
    file.write_all_at(&bytes[pending.clone()], at + pending.start as u64)
}
