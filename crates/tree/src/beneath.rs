//! Opening files of a directory whose content is untrusted.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens `path` below `root` without following a symlink anywhere. The path is relative, normal and not empty.
pub(crate) fn open_relative(root: BorrowedFd<'_>, path: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, path, flags, Mode::empty(), resolve) {
        // Before Linux 5.6, or a seccomp filter that doesn't know the call.
        Err(Errno::NOSYS | Errno::PERM) => open_by_steps(root, path, flags),
        result => result,
    }
}

pub(crate) fn open_by_steps(root: BorrowedFd<'_>, path: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut dir: Option<OwnedFd> = None;
    let mut components = path.as_bytes().split(|&b| b == b'/').peekable();
    while let Some(name) = components.next() {
        let at = dir.as_ref().map_or(root, AsFd::as_fd);
        let flags = if components.peek().is_some() { DIRECTORY } else { flags };
        let next = openat(at, OsStr::from_bytes(name), flags, Mode::empty())?;
        dir = Some(next);
    }
    dir.ok_or(Errno::NOENT)
}
