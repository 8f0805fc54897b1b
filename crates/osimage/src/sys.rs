//! The system call that rustix has no safe form of.
#![allow(unsafe_code)]

use std::io;

use rustix::thread::UnshareFlags;

/// A mount name space for the calling thread alone. What is mounted in it is gone when the thread is.
pub(super) fn private_mounts() -> io::Result<()> {
    // SAFETY: the flag that the function warns of, unsharing the file descriptor table, isn't used.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }.map_err(io::Error::from)
}
