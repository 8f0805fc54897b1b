//! Which paths a command looks up.
//!
//! Before the kernel carries out a call that looks a path up ([`super::lookups`]), it notifies the sandbox's first process,
//! which records the path and lets the call continue. What the paths lead to is found afterwards, in the image
//! ([`super::traced`]). A command can deceive this by changing the path's memory at the right moment; it would leave out
//! files that it needs itself.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags};

use super::lookups::{self, Lookup, Then};
use super::seccomp;
use super::sys::{self, Notification};
use super::wire::Access;

/// Bytes of all paths together, and of what holds them. 200,000 paths take less than a tenth of it.
const LIMIT: usize = 256 << 20;

/// Bytes, the final NUL included. linux/limits.h.
const PATH_MAX: usize = 4096;
/// Bytes. Memory is there, or isn't, by the page; machines with larger pages have boundaries here, too.
const PAGE: usize = 4096;

/// Paths looked up so far.
#[derive(Debug)]
pub(super) struct Tracer {
    seen: HashSet<Access>,
    /// Bytes, of [`LIMIT`].
    left: usize,
    /// Some command has made another directory its root.
    chroots: bool,
    /// Some command has made a symlink.
    links: bool,
    /// Record what is to be made, too.
    makes: bool,
    buffer: Vec<u8>,
}

impl Default for Tracer {
    fn default() -> Self {
        Tracer {
            seen: HashSet::new(),
            left: LIMIT,
            chroots: false,
            links: false,
            makes: false,
            buffer: Vec::new(),
        }
    }
}

impl Tracer {
    /// One that also records what is to be made.
    pub(super) fn for_probe() -> Tracer {
        Tracer { makes: true, ..Tracer::default() }
    }

    /// Reads the call's path, lets the call continue with `reply`, and records the path meanwhile.
    ///
    /// # Errors
    /// There are too many, or the reply failed.
    pub(super) fn note(
        &mut self,
        call: &Notification,
        lookup: Lookup,
        reply: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        // A file that is made, or made anew, is the command's own.
        if !self.makes && (lookup.then == Then::Make || opens_anew(call, lookup)) {
            return reply();
        }
        if lookup.then == Then::Link {
            self.links = true;
            return reply();
        }
        self.chroots |= lookup.then == Then::Chroot;
        // A caller that is gone, and a path that isn't there: the kernel returns the error to the caller.
        let Some(access) = self.access(call, lookup) else { return reply() };
        // A link that the command has made itself leads to a file of the image as well, as long as it is there.
        let looks = self.links && access.followed && !access.path.starts_with(b"/proc/");
        let real = (looks && !self.seen.contains(&access)).then(|| real_path(&access.path)).flatten();
        reply()?;
        if let Some(path) = real.filter(|real| *real != access.path) {
            self.add(Access { path, ..access })?;
        }
        self.add(access)
    }

    /// All that was looked up.
    pub(super) fn into_seen(self) -> Vec<Access> {
        self.seen.into_iter().collect()
    }

    fn add(&mut self, access: Access) -> io::Result<()> {
        let len = access.path.len() + size_of::<Access>();
        if self.seen.insert(access) {
            let exceeded = || io::Error::other(format!("more than {LIMIT} bytes of paths looked up"));
            self.left = self.left.checked_sub(len).ok_or_else(exceeded)?;
        }
        Ok(())
    }

    fn access(&mut self, call: &Notification, lookup: Lookup) -> Option<Access> {
        let width = if seccomp::is_32_bit(call.arch) { u64::from(u32::MAX) } else { u64::MAX };
        let flags = lookup.flags.map_or(0, |i| call.args[i] as u32);
        let address = call.args[lookup.path] & width;
        self.buffer.clear();
        if address != 0 {
            read_string(call.pid, address, &mut self.buffer)?;
        }
        if self.buffer.is_empty() && flags & lookups::EMPTY_PATH == 0 {
            return None;
        }
        let link = |rest: &str| {
            Some(std::fs::read_link(format!("/proc/{}/{rest}", call.pid)).ok()?.into_os_string().into_vec())
        };
        let mut path = match self.buffer.first() {
            Some(b'/') => self.buffer.clone(),
            _ => {
                let mut path = match lookup.dir.map(|i| call.args[i] as i32) {
                    None | Some(libc::AT_FDCWD) => link("cwd")?,
                    Some(fd) => link(&format!("fd/{fd}"))?,
                };
                // A pipe's "pipe:[1]", or what isn't in this root.
                if path.first() != Some(&b'/') {
                    return None;
                }
                if !self.buffer.is_empty() {
                    path.push(b'/');
                    path.extend_from_slice(&self.buffer);
                }
                path
            }
        };
        // The kernel names descriptors and current directories from the root of who asks.
        if self.chroots && self.buffer.first() == Some(&b'/') {
            let root = link("root")?;
            if root != b"/" {
                path = [root, path].concat();
            }
        }
        let followed = lookup.follows && flags & lookups::NO_FOLLOW == 0;
        let created = lookup.open.is_some_and(|i| call.args[i] as u32 & lookups::CREATE != 0);
        let made = created || lookup.then == Then::Make;
        Some(Access { path, followed, executed: lookup.then == Then::Exec, made })
    }
}

fn opens_anew(call: &Notification, lookup: Lookup) -> bool {
    let flags = lookup.open.map_or(0, |i| call.args[i] as u32);
    flags & lookups::CREATE != 0 && flags & lookups::ANEW != 0
}

/// Where a path leads at this moment.
fn real_path(path: &[u8]) -> Option<Vec<u8>> {
    let file =
        rustix::fs::open(OsStr::from_bytes(path), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let place = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    Some(place.into_os_string().into_vec()).filter(|p| p.first() == Some(&b'/'))
}

/// A string in the caller's memory, without its NUL.
fn read_string(pid: u32, address: u64, out: &mut Vec<u8>) -> Option<()> {
    while out.len() < PATH_MAX {
        let at = address.checked_add(out.len() as u64)?;
        // Never over the end of a page: the next may not be there. Few paths are long.
        let len = (PAGE - (at % PAGE as u64) as usize).min(256);
        let mut piece = [0u8; 256];
        let n = match sys::read_memory(pid, at, &mut piece[..len]) {
            Ok(n) => n,
            // Forbidden, as in some containers.
            Err(_) => File::open(format!("/proc/{pid}/mem")).ok()?.read_at(&mut piece[..len], at).ok()?,
        };
        if n == 0 {
            return None;
        }
        if let Some(end) = piece[..n].iter().position(|&b| b == 0) {
            out.extend_from_slice(&piece[..end]);
            return Some(());
        }
        out.extend_from_slice(&piece[..n]);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_paths_count_with_what_holds_them() {
        let mut tracer = Tracer { left: 100, ..Tracer::default() };
        let mut add =
            |path: u8| tracer.add(Access { path: vec![path], followed: true, executed: false, made: false });
        // The same again costs nothing.
        for path in [1, 2, 1, 2, 1, 2] {
            add(path).unwrap();
        }
        let error = (3..20).find_map(|path| add(path).err()).unwrap();
        assert_eq!(error.to_string(), "more than 268435456 bytes of paths looked up");
    }
}
