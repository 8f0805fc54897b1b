//! Owners in a name space that has only one uid.
//!
//! A change of owner is written on the file itself, as an extended attribute, by the sandbox's first process; the
//! caller gets success. So the record is renamed, linked and deleted with the file. What reads files back
//! ([`super::changes`]) takes the owners from there, and the layer has the owners it would have had under real root.
//! Only regular files and directories can have such an attribute; other files stay root's.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, XattrFlags, openat2};
use rustix::io::Errno;

use super::beneath;
use super::seccomp::{self, Call};
use super::sys::{self, Notification};
use super::tracer::Tracer;
use super::wire::Access;

/// `UID:GID` in decimal.
pub(super) const XATTR: &str = "user.flix.owner";

/// Bytes, the final NUL included. linux/limits.h.
const PATH_MAX: usize = 4096;
/// (uid_t)-1: leave it as it is. chown(2).
const KEEP: u32 = u32::MAX;

/// The value of the attribute.
pub(super) fn encode(uid: u32, gid: u32) -> Vec<u8> {
    format!("{uid}:{gid}").into_bytes()
}

/// uid and gid out of the attribute's value, which a hostile command may have written itself.
pub(super) fn decode(value: &[u8]) -> Option<(u32, u32)> {
    let (uid, gid) = std::str::from_utf8(value).ok()?.split_once(':')?;
    let number =
        |s: &str| s.parse().ok().filter(|&n: &u32| n != KEEP && s.bytes().all(|b| b.is_ascii_digit()));
    Some((number(uid)?, number(gid)?))
}

/// Writes an owner down. `false`: the file system takes no such attribute.
pub(super) fn record(fd: &OwnedFd, uid: u32, gid: u32) -> Result<bool, Errno> {
    match rustix::fs::setxattr(beneath::path_of(fd), XATTR, &encode(uid, gid), XattrFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSPC | Errno::PERM) => Ok(false),
        Err(e) => Err(e),
    }
}

/// What is written down about a file's owner.
pub(super) fn recorded(fd: &OwnedFd) -> Option<(u32, u32)> {
    let mut value = [0u8; 64];
    let n = rustix::fs::getxattr(beneath::path_of(fd), XATTR, &mut value[..]).ok()?;
    decode(&value[..n])
}

/// A thread that answers the system calls that the kernel hands to the supervisor: changes of owner, and what a trace looks at.
///
/// It does nothing but wait for the next call: each system call of its own makes each lookup of a traced command slower.
#[derive(Debug)]
pub(super) struct Supervisor {
    records: Arc<Mutex<Records>>,
    ended: OwnedFd,
}

/// What the calls led to.
#[derive(Debug, Default)]
pub(super) struct Records {
    tracer: Option<Tracer>,
    /// Some change of owner couldn't be written down.
    pub(super) unrecorded: bool,
    error: Option<io::Error>,
}

/// What hangs up when the thread has ended: no process is left whose calls it could answer, or it has failed.
impl AsFd for Supervisor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

impl Supervisor {
    pub(super) fn start(listener: OwnedFd, tracer: Option<Tracer>) -> io::Result<Self> {
        if tracer.is_some() {
            sys::take_turns(listener.as_fd());
        }
        let (ended, ends) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let records = Arc::new(Mutex::new(Records { tracer, ..Records::default() }));
        let theirs = Arc::clone(&records);
        std::thread::Builder::new().spawn(move || {
            // Dropped last.
            let _ends = ends;
            let answered = answer_all(listener.as_fd(), &theirs);
            if let (Err(e), Ok(mut records)) = (answered, theirs.lock()) {
                records.error = Some(e);
            }
            // From here on, calls that still wait fail with ENOSYS.
            drop(listener);
        })?;
        Ok(Supervisor { records, ended })
    }

    /// What is recorded up to now; all of a process's calls are once it has ended.
    ///
    /// # Errors
    /// Some call couldn't be answered.
    pub(super) fn take(&self) -> io::Result<Records> {
        let mut records = self.records.lock().map_err(|_| poisoned())?;
        let taken = std::mem::take(&mut *records);
        taken.error.map_or(Ok(Records { error: None, ..taken }), Err)
    }

    /// # Errors
    /// Some call couldn't be answered.
    pub(super) fn check(&self) -> io::Result<()> {
        let mut records = self.records.lock().map_err(|_| poisoned())?;
        records.error.take().map_or(Ok(()), Err)
    }
}

fn poisoned() -> io::Error {
    io::Error::other("the thread that answers system calls panicked")
}

/// Until no process is left whose calls could be answered.
fn answer_all(listener: BorrowedFd<'_>, records: &Mutex<Records>) -> io::Result<()> {
    loop {
        match sys::receive(listener)? {
            // Locked before the answer: who waits for the caller's end finds its call in the records.
            Some(call) => records.lock().map_err(|_| poisoned())?.serve(listener, &call)?,
            // Its caller is gone, or (Linux 6.11) all of them.
            None if sys::hung_up(listener)? => return Ok(()),
            None => {}
        }
    }
}

impl Records {
    /// What was looked up, if the run is traced.
    pub(super) fn looked(self) -> Vec<Access> {
        self.tracer.map(Tracer::into_seen).unwrap_or_default()
    }

    /// Answers a call.
    fn serve(&mut self, listener: BorrowedFd<'_>, call: &Notification) -> io::Result<()> {
        if let (Some(tracer), Some(lookup)) = (&mut self.tracer, seccomp::lookup(call.arch, call.number)) {
            return tracer.note(call, lookup, || sys::let_go(listener, call.id));
        }
        let errno = match self.chown(listener, call) {
            Ok(()) => 0,
            Err(errno) => errno.raw_os_error(),
        };
        sys::answer(listener, call.id, errno)
    }

    fn chown(&mut self, listener: BorrowedFd<'_>, call: &Notification) -> Result<(), Errno> {
        let (kind, short) = seccomp::call(call.arch, call.number).ok_or(Errno::NOSYS)?;
        let width = if seccomp::is_32_bit(call.arch) { u64::from(u32::MAX) } else { u64::MAX };
        let arg = |i: usize| call.args[i] & width;
        let id = |i: usize| match call.args[i] as u32 {
            n if short && n & 0xffff == 0xffff => KEEP,
            n if short => n & 0xffff,
            n => n,
        };
        let caller = Caller { pid: call.pid };
        let (file, uid, gid) = match kind {
            Call::Chown => (caller.open(libc::AT_FDCWD, &caller.string(arg(0))?, true)?, id(1), id(2)),
            Call::Lchown => (caller.open(libc::AT_FDCWD, &caller.string(arg(0))?, false)?, id(1), id(2)),
            Call::Fchown => (caller.descriptor(call.args[0] as i32)?, id(1), id(2)),
            Call::Fchownat => {
                let flags = call.args[4] as i32;
                if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
                    return Err(Errno::INVAL);
                }
                let path = match arg(1) {
                    // A null pointer for the empty path is legal since Linux 6.11.
                    0 if flags & libc::AT_EMPTY_PATH != 0 => CString::default(),
                    address => caller.string(address)?,
                };
                let dir = call.args[0] as i32;
                let file = match (path.is_empty(), flags & libc::AT_EMPTY_PATH != 0) {
                    (true, false) => return Err(Errno::NOENT),
                    (true, true) => caller.descriptor(dir)?,
                    (false, _) => caller.open(dir, &path, flags & libc::AT_SYMLINK_NOFOLLOW == 0)?,
                };
                (file, id(2), id(3))
            }
        };
        // All was read through the caller's process id; had it died meanwhile, that could be another process by now.
        if !sys::still_waits(listener, call.id) {
            return Err(Errno::SRCH);
        }
        self.write_down(&file, uid, gid)
    }

    fn write_down(&mut self, file: &OwnedFd, uid: u32, gid: u32) -> Result<(), Errno> {
        let stat = rustix::fs::fstat(file)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if !matches!(kind, FileType::RegularFile | FileType::Directory) {
            return Ok(());
        }
        let (old_uid, old_gid) = recorded(file).unwrap_or((0, 0));
        let pick = |new: u32, old: u32| if new == KEEP { old } else { new };
        let new = (pick(uid, old_uid), pick(gid, old_gid));
        if kind == FileType::RegularFile {
            drop_privileges(file, stat.st_mode)?;
        }
        if new == (old_uid, old_gid) {
            return Ok(());
        }
        if !record(file, new.0, new.1)? {
            self.unrecorded = true;
        }
        Ok(())
    }
}

/// The kernel takes setuid, setgid and file capabilities from a file that changes hands, whoever does it. chown(2).
fn drop_privileges(file: &OwnedFd, mode: u32) -> Result<(), Errno> {
    let mut gone = 0;
    if mode & 0o4000 != 0 {
        gone |= 0o4000;
    }
    // Without group execution the bit means mandatory locking, and stays.
    if mode & 0o2010 == 0o2010 {
        gone |= 0o2000;
    }
    if gone != 0 {
        rustix::fs::chmod(beneath::path_of(file), Mode::from_raw_mode(mode & 0o7777 & !gone))?;
    }
    match rustix::fs::removexattr(beneath::path_of(file), "security.capability") {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(e) => Err(e),
    }
}

/// The process that made a call and waits for the answer.
struct Caller {
    pid: u32,
}

impl Caller {
    fn proc(&self, rest: &str) -> String {
        format!("/proc/{}/{rest}", self.pid)
    }

    /// A string in its memory.
    fn string(&self, address: u64) -> Result<CString, Errno> {
        let memory = File::open(self.proc("mem")).map_err(errno)?;
        let mut out = Vec::new();
        while out.len() < PATH_MAX {
            // Never over the end of a page: the next may not be there.
            let at = address.checked_add(out.len() as u64).ok_or(Errno::FAULT)?;
            let mut page = [0u8; 4096];
            let len = 4096 - (at % 4096) as usize;
            let n = memory.read_at(&mut page[..len], at).map_err(|_| Errno::FAULT)?;
            if n == 0 {
                return Err(Errno::FAULT);
            }
            if let Some(end) = page[..n].iter().position(|&b| b == 0) {
                out.extend_from_slice(&page[..end]);
                return CString::new(out).map_err(|_| Errno::FAULT);
            }
            out.extend_from_slice(&page[..n]);
        }
        Err(Errno::NAMETOOLONG)
    }

    /// The file behind one of its descriptors.
    fn descriptor(&self, fd: i32) -> Result<OwnedFd, Errno> {
        let path = match fd {
            libc::AT_FDCWD => self.proc("cwd"),
            fd => self.proc(&format!("fd/{fd}")),
        };
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(|e| match e {
            Errno::NOENT => Errno::BADF,
            e => e,
        })
    }

    /// What its kernel would find at a path.
    fn open(&self, dir: i32, path: &CString, follow: bool) -> Result<OwnedFd, Errno> {
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        flags.set(OFlags::NOFOLLOW, !follow);
        let bytes = path.as_bytes();
        if let Some(rest) = bytes.strip_prefix(b"/proc/self/fd/").or_else(|| bytes.strip_prefix(b"/dev/fd/"))
        {
            // "self" would be this process. musl's fchown comes by here for descriptors that were opened with O_PATH.
            let number = std::str::from_utf8(rest).ok().and_then(|s| s.parse().ok());
            return match number {
                Some(number) if follow => self.descriptor(number),
                _ => Err(Errno::OPNOTSUPP),
            };
        }
        let root = rustix::fs::open(self.proc("root"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        if bytes.first() == Some(&b'/') {
            return resolve(&root, path, flags, ResolveFlags::IN_ROOT);
        }
        let start = self.descriptor(dir)?;
        match resolve(&start, path, flags, ResolveFlags::BENEATH) {
            // It leaves the directory by ".." or an absolute link.
            Err(Errno::XDEV) => {}
            other => return other,
        }
        // Paths start at the root, by the names that the kernel gives to both places.
        let place =
            |fd: &OwnedFd| std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(errno);
        let (root_place, start_place) = (place(&root)?, place(&start)?);
        let inner = start_place.strip_prefix(&root_place).map_err(|_| Errno::NOENT)?;
        use std::os::unix::ffi::OsStrExt;
        let joined = [inner.as_os_str().as_bytes(), b"/", bytes].concat();
        let joined = CString::new(joined).map_err(|_| Errno::INVAL)?;
        resolve(&root, &joined, flags, ResolveFlags::IN_ROOT)
    }
}

/// Opens a path that the caller chose. Links of /proc that lead to what a process has open are never followed: this process
/// would do so with rights that the caller lacks, and /proc/self would be its own.
fn resolve(dir: &OwnedFd, path: &CString, flags: OFlags, scope: ResolveFlags) -> Result<OwnedFd, Errno> {
    let scope = scope | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..100 {
        match openat2(dir, path, flags, Mode::empty(), scope) {
            // Something was renamed somewhere while a ".." was on the way. openat2(2).
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

fn errno(e: std::io::Error) -> Errno {
    Errno::from_io_error(&e).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (uid, gid) in [(0, 0), (33, 42), (u32::MAX - 1, 0)] {
            assert_eq!(decode(&encode(uid, gid)), Some((uid, gid)));
        }
        for bad in [
            "",
            ":",
            "1",
            "1:",
            ":1",
            "-1:0",
            "+1:0",
            "4294967295:0",
            "4294967296:0",
            "1:2:3",
            "1 :2",
            "1:2\n",
            "\u{fffd}:1",
        ] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(decode(b"\xff:1"), None);
    }

    /// A relative path may go up and over links, but neither to what a process has open nor out of the caller's root.
    #[test]
    fn relative_paths() {
        let outer = tempfile::tempdir().unwrap();
        let top = outer.path().join("top");
        std::fs::create_dir_all(top.join("dir")).unwrap();
        std::fs::write(top.join("dir/file"), "x").unwrap();
        std::os::unix::fs::symlink(top.join("dir/file"), top.join("absolute")).unwrap();
        let (root, dir) = (File::open("/").unwrap(), File::open(&top).unwrap());
        let pid = std::process::id();
        let held = dir.as_raw_fd();
        let rows = [
            (&dir, "dir/file".to_owned(), Ok(())),
            (&dir, "dir/../dir/file".to_owned(), Ok(())),
            (&dir, "../top/dir/file".to_owned(), Ok(())),
            (&dir, "absolute".to_owned(), Ok(())),
            (&dir, "../top/none".to_owned(), Err(Errno::NOENT)),
            (&root, format!("proc/{pid}/fd/{held}/dir/file"), Err(Errno::LOOP)),
            (&root, format!("proc/{pid}/fd/{held}/../top/dir/file"), Err(Errno::LOOP)),
            (&root, format!("proc/self/fd/{held}"), Err(Errno::LOOP)),
            (&root, "proc/self/cwd/src".to_owned(), Err(Errno::LOOP)),
            (&root, format!("proc/{pid}/root/etc"), Err(Errno::LOOP)),
            (&dir, format!("../../../../../../proc/{pid}/root/etc"), Err(Errno::LOOP)),
        ];
        for (start, path, expected) in rows {
            let caller = Caller { pid };
            let got = caller.open(start.as_raw_fd(), &CString::new(path.as_str()).unwrap(), true).map(drop);
            assert_eq!(got, expected, "{path}");
        }
    }
}
