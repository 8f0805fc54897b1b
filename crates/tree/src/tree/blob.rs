//! Files of the host that hold content.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, Mode, OFlags, Stat, flock};

/// A file on the host that holds the content of one or more files of a tree.
#[derive(Debug)]
pub struct Blob {
    path: PathBuf,
    place: Place,
}

/// Brings the bytes of a blob that isn't here as a whole.
pub trait Fill: std::fmt::Debug + Send + Sync {
    /// Writes the bytes from `offset` on to the blob's file, `len` of them, unless they are there. What it doesn't know is left alone.
    ///
    /// # Errors
    /// They can't be had, or aren't what they should be.
    fn fill(&self, file: &File, offset: u64, len: u64) -> io::Result<()>;
}

#[derive(Debug)]
enum Place {
    Open(File),
    Filled {
        file: File,
        fill: Box<dyn Fill>,
    },
    Path,
    Beneath {
        root: Arc<OwnedFd>,
        /// Bytes of the path that lead to the root.
        skip: usize,
        seen: Seen,
    },
}

/// What tells a file from another one in its place, and from itself with other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Bytes.
    pub size: i64,
    /// Last change of the content. Seconds and nanoseconds.
    pub mtime: (i64, u64),
    /// Last change of anything, which nobody can set back. Seconds and nanoseconds.
    pub ctime: (i64, u64),
}

impl Seen {
    // The types of these fields differ among architectures.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    pub(crate) fn new(stat: &Stat) -> Seen {
        Seen {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as i64,
            mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as u64),
            ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        }
    }

    /// Whether it is the same content. A new hard link or another owner, which ctime tells of, are no change of that.
    fn is_same(&self, now: &Seen) -> bool {
        Seen { ctime: now.ctime, ..*self } == *now
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        // Closing isn't enough: a child that another thread is just starting has the descriptor, too, until it runs its program, and the
        // file would stay locked.
        if let Place::Open(file) | Place::Filled { file, .. } = &self.place {
            let _ = flock(file, FlockOperation::Unlock);
        }
    }
}

impl Blob {
    /// A blob that is kept open, so that its bytes stay even if somebody unlinks it. For layers. A lock of flock(2) on the file goes with
    /// the blob.
    pub fn from_file(path: impl Into<PathBuf>, file: File) -> Arc<Self> {
        Arc::new(Blob { path: path.into(), place: Place::Open(file) })
    }

    /// A blob whose file gets its bytes when they are first read.
    pub fn filled(path: impl Into<PathBuf>, file: File, fill: Box<dyn Fill>) -> Arc<Self> {
        Arc::new(Blob { path: path.into(), place: Place::Filled { file, fill } })
    }

    /// A blob that is opened at each use.
    pub fn at_path(path: impl Into<PathBuf>) -> Arc<Self> {
        Arc::new(Blob { path: path.into(), place: Place::Path })
    }

    /// A blob that is opened at each use, beneath an open directory and past no symlink, and has to be the file that was seen
    /// there. For the many files of a directory tree. The last bytes of `path` from `skip` on are its place in `root`.
    pub(crate) fn beneath(root: &Arc<OwnedFd>, path: PathBuf, skip: usize, stat: &Stat) -> Arc<Self> {
        Arc::new(Blob { path, place: Place::Beneath { root: root.clone(), skip, seen: Seen::new(stat) } })
    }

    /// Its place on the host, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file was when its directory was read; none if it was not found that way.
    pub fn seen(&self) -> Option<&Seen> {
        match &self.place {
            Place::Beneath { seen, .. } => Some(seen),
            Place::Open(_) | Place::Filled { .. } | Place::Path => None,
        }
    }

    /// The same blob, kept open.
    pub(super) fn opened(self: &Arc<Self>) -> io::Result<Arc<Blob>> {
        Ok(match self.open()? {
            None => self.clone(),
            Some(file) => Blob::from_file(&self.path, file),
        })
    }

    /// The file, of which `parts` will be read: offsets and lengths.
    pub(super) fn with_file<T>(
        &self,
        parts: impl IntoIterator<Item = (u64, u64)>,
        f: impl FnOnce(&File) -> io::Result<T>,
    ) -> io::Result<T> {
        match (&self.place, self.open()?) {
            (Place::Open(file), _) => f(file),
            (Place::Filled { file, fill }, _) => {
                for (offset, len) in parts {
                    fill.fill(file, offset, len)?;
                }
                f(file)
            }
            (_, Some(file)) => f(&file),
            (_, None) => Err(io::Error::other("blob has no file")),
        }
    }

    /// Its file; none if that is open all the time.
    fn open(&self) -> io::Result<Option<File>> {
        const FLAGS: OFlags =
            OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
        match &self.place {
            Place::Open(_) | Place::Filled { .. } => Ok(None),
            Place::Path => {
                let fd = rustix::fs::open(&self.path, FLAGS | OFlags::NOFOLLOW, Mode::empty())?;
                Ok(Some(File::from(fd)))
            }
            Place::Beneath { root, skip, seen } => {
                let bytes = self.path.as_os_str().as_bytes();
                let relative = OsStr::from_bytes(bytes.get(*skip..).unwrap_or_default());
                let fd = crate::beneath::open_relative(root.as_fd(), relative, FLAGS)?;
                if !seen.is_same(&Seen::new(&rustix::fs::fstat(&fd)?)) {
                    return Err(io::Error::other("file has changed since its directory was read"));
                }
                Ok(Some(File::from(fd)))
            }
        }
    }
}
