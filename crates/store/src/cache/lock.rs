//! flock(2): locks that vanish with their process.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

/// An exclusive lock, on a file that exists for nothing else. It goes when this is dropped, and with its process.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    /// Holds the lock until it is closed.
    _file: File,
}

impl Lock {
    /// Waits for the lock; calls `waiting` first if somebody else has it.
    pub(crate) fn acquire(path: &Path, waiting: impl FnOnce()) -> io::Result<Lock> {
        let mut waiting = Some(waiting);
        loop {
            let file = open(path, true)?;
            if !try_exclusive(&file)? {
                if let Some(waiting) = waiting.take() {
                    waiting();
                }
                retry(|| flock(&file, FlockOperation::LockExclusive))?;
            }
            // Its last owner unlinked it meanwhile: a lock on a name that is gone locks nobody out.
            if same(&file, path) {
                return Ok(Lock { path: path.into(), _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is held, so that whoever waits for it sees that the name is gone.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Opens a file for reading and writing; a symbolic link is an error.
pub(super) fn open(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).mode(0o600);
    options.custom_flags(OFlags::NOFOLLOW.bits() as i32).open(path)
}

/// Makes a file that wasn't there, and locks it before anybody can think that it is abandoned.
pub(super) fn create_locked(path: &Path) -> io::Result<File> {
    loop {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(path)?;
        retry(|| flock(&file, FlockOperation::LockExclusive))?;
        if same(&file, path) {
            return Ok(file);
        }
    }
}

/// Whether the lock could be had at once.
pub(super) fn try_exclusive(file: &File) -> io::Result<bool> {
    match retry(|| flock(file, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(e) => Err(e),
    }
}

/// Waits for the lock.
pub(super) fn exclusive(file: &File) -> io::Result<()> {
    retry(|| flock(file, FlockOperation::LockExclusive))
}

/// Marks a file as in use.
pub(super) fn shared(file: &File) -> io::Result<()> {
    retry(|| flock(file, FlockOperation::LockShared))
}

/// Whether `path` still names the open file.
pub(super) fn same(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

fn retry(mut f: impl FnMut() -> Result<(), Errno>) -> io::Result<()> {
    loop {
        match f() {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}
