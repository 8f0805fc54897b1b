//! Directories to trees.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, FileType, OFlags, RawDir, Stat, StatFs, fstatfs, openat, statat};
use rustix::io::Errno;

use super::{DIRECTORY, HostError, Skipped, io_error, open_beneath, proc_path};
use crate::archive::{ATTRIBUTE_MEMORY, ENTRY_MEMORY, Limits};
use crate::{Blob, Content, Extent, Kind, Meta, Node, Tree, TreeError, TreePath};

/// Which mounts below the directory are entered. What is not entered is an empty directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mounts {
    /// All.
    #[default]
    All,
    /// All but those that the kernel fills itself: /proc, /sys and their like.
    Stored,
    /// Those that hold files: not /proc, /sys, /dev, /run and their like, nor file systems of other machines.
    Local,
    /// None: only the file system that the directory itself is on.
    None,
}

/// What of a directory is read, and what if it can't be.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// Which mounts are entered.
    pub mounts: Mounts,
    /// Directories that are not entered.
    pub exclude: Vec<TreePath>,
    /// If not empty: only these are read, with all below them, and the directories on the way to them, across mounts.
    pub only: Vec<TreePath>,
    /// Besides `only`: these are read, too, but of directories nothing that is below them.
    pub single: Vec<TreePath>,
    /// A directory that may not be read, or a file that vanishes meanwhile, is skipped and not an error. Files that may
    /// not be read are no matter here: they are opened when their content is used.
    pub lenient: bool,
    /// Reads `security.selinux`, too. A label belongs to the policy of the host where the file lies rather than to the
    /// file, so it doesn't come along by default.
    pub selinux: bool,
    /// How much may be read. Entries and metadata count, the latter as memory: with what a tree takes for each entry and attribute.
    pub limits: Limits,
}

impl ReadOptions {
    /// For the running system's own root, read by anybody: the directories that hold programs, libraries and their
    /// configuration, those in `wanted` besides, and those in `single` without what is in them.
    pub fn live_root(wanted: impl IntoIterator<Item = TreePath>, single: Vec<TreePath>) -> Self {
        const SYSTEM: [&str; 12] =
            ["bin", "etc", "gnu", "lib", "lib32", "lib64", "libo32", "libx32", "nix", "opt", "sbin", "usr"];
        let only = SYSTEM.iter().filter_map(|p| TreePath::new(p).ok()).chain(wanted).collect();
        ReadOptions { mounts: Mounts::Local, only, single, lenient: true, ..ReadOptions::default() }
    }

    /// Whether `path` is a directory on the way to one of `single`.
    fn leads_to_single(&self, path: &TreePath) -> bool {
        self.single.iter().any(|single| single != path && single.starts_with(path))
    }

    /// Whether `path` is read, and whether what is in it is.
    fn takes(&self, path: &TreePath) -> (bool, bool) {
        let within = |dir: &TreePath| path.starts_with(dir);
        let wanted = self.only.is_empty() || self.only.iter().any(within);
        let leads_on = wanted || self.only.iter().any(|o| o.starts_with(path)) || self.leads_to_single(path);
        (leads_on || self.single.contains(path), leads_on && !self.exclude.contains(path))
    }
}

impl Tree {
    /// Reads a directory of the host. Content stays where it is and is opened when it is used; a file that is another one by
    /// then, or has other content, can't be read.
    ///
    /// # Errors
    /// Something can't be read; a lenient reader skips that.
    pub fn from_dir(dir: &Path, options: &ReadOptions) -> Result<Tree, HostError> {
        Tree::from_dir_skipping(dir, options).map(|(tree, _)| tree)
    }

    /// As [`Tree::from_dir`], and says what was skipped.
    ///
    /// # Errors
    /// As [`Tree::from_dir`].
    pub fn from_dir_skipping(dir: &Path, options: &ReadOptions) -> Result<(Tree, Vec<Skipped>), HostError> {
        // Only the directory that the user named may be a symlink.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let at_root = |e: Errno| HostError::Io { path: dir.to_owned(), source: e.into() };
        let root = rustix::fs::open(dir, flags, rustix::fs::Mode::empty()).map_err(at_root)?;
        let stat = rustix::fs::fstat(&root).map_err(at_root)?;
        let walk = Walk {
            dir,
            root: Arc::new(root),
            options,
            device: stat.st_dev,
            state: Mutex::default(),
            ready: Condvar::new(),
        };
        let mut meta = walk.meta(&stat);
        meta.xattrs = walk.xattrs(walk.root.as_fd(), b".").map_err(at_root)?;
        let mut state = walk.lock();
        state.tree = Tree::new(meta);
        state.todo.push(Dir { path: TreePath::root(), device: stat.st_dev });
        drop(state);
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| walk.work());
            }
            walk.work();
        });
        let state = walk.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = state.error {
            return Err(error);
        }
        let tree = state.tree;
        let mut skipped = state.skipped;
        skipped.sort_by(|a, b| a.path.cmp(&b.path));
        Ok((tree, skipped))
    }
}

struct Found {
    path: TreePath,
    node: Node,
    /// Device and inode of a file that has other names.
    link: Option<(u64, u64)>,
}

struct Dir {
    path: TreePath,
    device: u64,
}

#[derive(Default)]
struct State {
    todo: Vec<Dir>,
    busy: usize,
    tree: Tree,
    /// A name of each file that has several, by device and inode.
    links: HashMap<(u64, u64), TreePath>,
    skipped: Vec<Skipped>,
    /// What has been read, as [`ReadOptions::limits`] counts it.
    entries: u64,
    metadata: u64,
    error: Option<HostError>,
}

impl State {
    /// Whether one more is within the limits.
    fn count(&mut self, found: &Found, limits: &Limits) -> bool {
        let target = match &found.node.kind {
            Kind::Symlink(target) => target.len(),
            _ => 0,
        };
        let attributes = found.node.meta.xattrs.iter().map(|(n, v)| ATTRIBUTE_MEMORY + n.len() + v.len());
        let memory = ENTRY_MEMORY + found.path.as_relative().len() + target + attributes.sum::<usize>();
        self.entries += 1;
        self.metadata += memory as u64;
        self.entries <= limits.entries && self.metadata <= limits.metadata
    }

    fn keep(&mut self, found: Found) -> Result<(), TreeError> {
        match found.link {
            None => self.tree.insert(found.path, found.node),
            Some(link) => match self.links.get(&link) {
                Some(target) => self.tree.link(found.path, target),
                None => {
                    self.links.insert(link, found.path.clone());
                    self.tree.insert(found.path, found.node)
                }
            },
        }
    }
}

struct Walk<'a> {
    dir: &'a Path,
    root: Arc<OwnedFd>,
    options: &'a ReadOptions,
    device: u64,
    state: Mutex<State>,
    ready: Condvar,
}

/// What one directory gave.
#[derive(Default)]
struct Batch {
    found: Vec<Found>,
    dirs: Vec<Dir>,
    skipped: Vec<Skipped>,
}

impl Walk<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(dir) = state.todo.pop() {
                state.busy += 1;
                drop(state);
                let mut batch = Batch::default();
                let result = self.read(&dir, &mut batch);
                state = self.lock();
                state.busy -= 1;
                // A directory is found before it is read, so parents are in the tree already.
                let kept = batch.found.drain(..).try_for_each(|found| {
                    if !state.count(&found, &self.options.limits) {
                        return Err(self.too_many());
                    }
                    let dir = || self.dir.to_owned();
                    state.keep(found).map_err(|source| HostError::Tree { dir: dir(), source })
                });
                state.todo.append(&mut batch.dirs);
                state.skipped.append(&mut batch.skipped);
                if let Err(error) = result.and(kept) {
                    state.error.get_or_insert(error);
                }
                if state.error.is_some() {
                    state.todo.clear();
                }
                self.ready.notify_all();
            } else if state.busy == 0 {
                return;
            } else {
                state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn too_many(&self) -> HostError {
        HostError::TooMany { dir: self.dir.to_owned() }
    }

    /// Reads one directory. Errors of a lenient reader end here.
    fn read(&self, dir: &Dir, batch: &mut Batch) -> Result<(), HostError> {
        let forgive = |batch: &mut Batch, path: &TreePath, what: &str, e: Errno| {
            let passing = matches!(e, Errno::ACCESS | Errno::PERM | Errno::NOENT | Errno::STALE | Errno::IO);
            if !(self.options.lenient && passing) {
                return Err(io_error(self.dir, path, e));
            }
            batch.skipped.push(Skipped { path: path.clone(), what: what.to_owned(), source: Some(e.into()) });
            Ok(())
        };
        let fd = match open_beneath(&self.root, &dir.path, DIRECTORY) {
            Ok(fd) => fd,
            Err(e) => return forgive(batch, &dir.path, "children", e),
        };
        if dir.device != self.device && !self.enters(&dir.path, &fd) {
            batch.skipped.push(Skipped { path: dir.path.clone(), what: "mount".to_owned(), source: None });
            return Ok(());
        }
        let mut buffer = [MaybeUninit::uninit(); 1 << 15];
        let mut entries = RawDir::new(&fd, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => return forgive(batch, &dir.path, "children", e),
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let path = dir.path.join(name.to_bytes()).map_err(|source| HostError::Path {
                dir: self.dir.join(dir.path.as_host_relative()),
                source,
            })?;
            let (takes, enters) = self.options.takes(&path);
            if !takes {
                continue;
            }
            match self.entry(fd.as_fd(), name, path.clone()) {
                Ok((found, device)) => {
                    if found.node.is_dir() && enters {
                        batch.dirs.push(Dir { path, device });
                    }
                    batch.found.push(found);
                    if batch.found.len() as u64 > self.options.limits.entries {
                        return Err(self.too_many());
                    }
                }
                Err(e) => forgive(batch, &path, "file", e)?,
            }
        }
        Ok(())
    }

    /// Whether a directory on another device than the root is entered.
    fn enters(&self, path: &TreePath, dir: &OwnedFd) -> bool {
        // Who asks for a place in /tmp gets it, whatever /tmp is.
        if self.options.only.iter().any(|o| o.starts_with(path)) || self.options.leads_to_single(path) {
            return true;
        }
        match self.options.mounts {
            Mounts::All => true,
            Mounts::None => false,
            Mounts::Stored => fstatfs(dir).is_ok_and(|s| !is_kernels(&s)),
            Mounts::Local => fstatfs(dir).is_ok_and(|s| holds_files(&s)),
        }
    }

    fn entry(&self, dir: BorrowedFd<'_>, name: &CStr, path: TreePath) -> Result<(Found, u64), Errno> {
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT)?;
        let mut meta = self.meta(&stat);
        meta.xattrs = self.xattrs(dir, name.to_bytes())?;
        let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Dir,
            FileType::RegularFile => Kind::File(self.content(dir, name, &path, &stat)),
            FileType::Symlink => {
                Kind::Symlink(rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes().into_boxed_slice())
            }
            FileType::CharacterDevice => Kind::CharDevice { major, minor },
            FileType::BlockDevice => Kind::BlockDevice { major, minor },
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            FileType::Unknown => return Err(Errno::NOTSUP),
        };
        let linked = stat.st_nlink > 1 && !matches!(kind, Kind::Dir);
        let link = linked.then_some((stat.st_dev, stat.st_ino));
        Ok((Found { path, node: Node { meta, kind }, link }, stat.st_dev))
    }

    fn meta(&self, stat: &Stat) -> Meta {
        Meta {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: stat.st_mtime,
            xattrs: BTreeMap::new(),
        }
    }

    fn xattrs(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Errno> {
        let mut out = BTreeMap::new();
        let path = proc_path(dir, name);
        let mut names = Vec::with_capacity(512);
        // Attributes may come and go between the two calls; the limit is the kernel's. XATTR_LIST_MAX, limits.h.
        match rustix::fs::llistxattr(&path, rustix::buffer::spare_capacity(&mut names)) {
            Ok(_) => {}
            Err(Errno::RANGE) => {
                names = Vec::with_capacity(1 << 16);
                rustix::fs::llistxattr(&path, rustix::buffer::spare_capacity(&mut names))?;
            }
            Err(Errno::OPNOTSUPP) => return Ok(out),
            // A symlink in /proc that leads nowhere, or a file that may not be asked.
            Err(Errno::ACCESS | Errno::PERM) if self.options.lenient => return Ok(out),
            Err(e) => return Err(e),
        }
        for attribute in names.split(|&b| b == 0).filter(|n| !n.is_empty()) {
            if attribute == b"security.selinux" && !self.options.selinux {
                continue;
            }
            let mut value = Vec::with_capacity(256);
            let attribute_name = OsStr::from_bytes(attribute);
            match rustix::fs::lgetxattr(&path, attribute_name, rustix::buffer::spare_capacity(&mut value)) {
                Ok(_) => {}
                Err(Errno::RANGE) => {
                    value = Vec::with_capacity(1 << 16);
                    rustix::fs::lgetxattr(&path, attribute_name, rustix::buffer::spare_capacity(&mut value))?;
                }
                Err(Errno::NODATA) => continue,
                Err(Errno::ACCESS | Errno::PERM) if self.options.lenient => continue,
                Err(e) => return Err(e),
            }
            out.insert(attribute.to_vec(), value);
        }
        Ok(out)
    }

    fn content(&self, dir: BorrowedFd<'_>, name: &CStr, path: &TreePath, stat: &Stat) -> Content {
        let place: PathBuf = self.dir.join(path.as_host_relative());
        let len = u64::try_from(stat.st_size).unwrap_or(0);
        let skip = place.as_os_str().len().saturating_sub(path.as_relative().len());
        let blob = Blob::beneath(&self.root, place, skip, stat);
        // Blocks of 512 bytes, whatever the file system's own size. stat(2).
        let stored = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
        if len >= SPARSE_MIN && stored < len / 2 {
            let sparse = extents(dir, name, len).and_then(|e| Content::sparse(blob.clone(), len, e).ok());
            if let Some(sparse) = sparse {
                return sparse;
            }
        }
        Content::in_blob(blob, 0, len)
    }
}

/// Bytes. Smaller files are not worth asking where their holes are.
const SPARSE_MIN: u64 = 1 << 16;

/// More runs than this are not worth keeping; reading holes gives zeros all the same.
const MAX_EXTENTS: usize = 1 << 12;

/// The stored runs of a file. lseek(2), SEEK_DATA and SEEK_HOLE.
fn extents(dir: BorrowedFd<'_>, name: &CStr, len: u64) -> Option<Vec<Extent>> {
    use rustix::fs::{SeekFrom, seek};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(openat(dir, name, flags, rustix::fs::Mode::empty()).ok()?);
    let mut out = Vec::new();
    let mut at = 0;
    while at < len {
        let start = match seek(&file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(_) => return None,
        };
        let end = seek(&file, SeekFrom::Hole(start)).ok()?.min(len);
        if start >= end {
            break;
        }
        if out.len() == MAX_EXTENTS {
            return None;
        }
        out.push(Extent { at: start, offset: start, len: end - start });
        at = end;
    }
    Some(out)
}

/// File systems whose files the kernel makes up. linux/magic.h.
const KERNELS: [u32; 17] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x1cd1,      // devpts
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0xf97c_ff8c, // selinuxfs
    0x4341_5d53, // smackfs
    0x1980_0202, // mqueue
    0xde5e_81e4, // efivarfs
    0xcafe_4a11, // bpf
    0x6265_6570, // configfs
    0x6573_5543, // fusectl
    0x4249_4e4d, // binfmt_misc
    0x6e73_6673, // nsfs
];

/// Whether the kernel makes up the files of a file system.
fn is_kernels(stat: &StatFs) -> bool {
    // The type's width differs among architectures; the magic numbers have 32 bits.
    KERNELS.contains(&(stat.f_type as u32))
}

/// Whether a file system holds files of this machine's own: an image of a system might lie there. linux/magic.h.
fn holds_files(stat: &StatFs) -> bool {
    const NOT: [u32; 12] = [
        0x0102_1994, // tmpfs, devtmpfs
        0x9584_58f6, // hugetlbfs
        0x6165_676c, // pstore
        0x0187,      // autofs
        0x6759_6969, // rpc_pipefs
        0x6969,      // nfs
        0xff53_4d42, // cifs
        0xfe53_4d42, // smb2
        0x0102_1997, // 9p
        0x00c3_6400, // ceph
        0x5346_414f, // afs
        0x6573_5546, // fuse: sshfs, user's mounts
    ];
    !is_kernels(stat) && !NOT.contains(&(stat.f_type as u32))
}
