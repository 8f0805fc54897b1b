//! What runs that were killed have left.
//!
//! Whatever isn't complete yet is locked by whoever makes it (flock(2)), and a lock goes with its process. So what has the name of
//! something incomplete and isn't locked is rubbish, and the next run that writes beside it removes it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};

use super::{RANDOM, SUFFIX};

/// Marks an open file or directory as being made, unless somebody has swept it away before this could be done.
pub(super) fn hold(file: &File, path: &Path) -> io::Result<bool> {
    lock(file);
    let (ours, there) = (file.metadata()?, path.symlink_metadata());
    Ok(there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())))
}

/// Marks an open file as being made. A file system without locks keeps what is left for ever.
pub(super) fn lock(file: &File) {
    let _ = rustix::io::retry_on_intr(|| flock(file, FlockOperation::LockExclusive));
}

/// Whether `name` is `prefix`, random characters and the suffix of what isn't complete.
pub(super) fn is_named(name: &OsStr, prefix: &OsStr) -> bool {
    let rest = name.as_encoded_bytes().strip_prefix(prefix.as_encoded_bytes());
    let random = rest.and_then(|rest| rest.strip_suffix(SUFFIX.as_bytes()));
    random.is_some_and(|random| random.len() == RANDOM && random.iter().all(u8::is_ascii_alphanumeric))
}

/// Removes what is so named in a directory and which no process is making. What can't be removed stays.
pub(super) fn sweep(dir: &Path, prefix: &OsStr) {
    let Ok(entries) = dir.read_dir() else { return };
    for entry in entries.flatten().filter(|entry| is_named(&entry.file_name(), prefix)) {
        let _ = remove(&entry.path());
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    let meta = file.metadata()?;
    // Somebody else's in a directory for all.
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    match meta.is_dir() {
        true => remove_dir(path, meta.dev()),
        false => std::fs::remove_file(path),
    }
}

/// Removes a directory unless a file system is mounted in it.
fn remove_dir(path: &Path, device: u64) -> io::Result<()> {
    for entry in path.read_dir()? {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.dev() != device {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        match meta.is_dir() {
            true => remove_dir(&entry.path(), device)?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    std::fs::remove_dir(path)
}
