//! The system calls that rustix has no safe form of. All of this crate's `unsafe` is here.
#![allow(unsafe_code)]

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

/// Which side of [`fork`] this is.
pub(super) enum Fork {
    Parent(Pid),
    Child,
}

/// fork(2). Only for a process with a single thread: that of the helper, which was just executed.
pub(super) fn fork() -> io::Result<Fork> {
    // SAFETY: no other thread exists whose locks the child could inherit (init() runs before main has made any).
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => {
            Pid::from_raw(pid).map(Fork::Parent).ok_or_else(|| io::Error::other("fork gave no process id"))
        }
    }
}

/// As [`fork`], the child being the first process of a new pid name space. Unlike unshare(2) that leaves this process
/// able to start threads.
pub(super) fn fork_into_pid_space() -> io::Result<Fork> {
    let flags = libc::c_long::from(libc::CLONE_NEWPID | libc::SIGCHLD);
    // clone(2), "C library/kernel differences": on this machine the stack comes first.
    let (first, second) = if cfg!(target_arch = "s390x") { (0, flags) } else { (flags, 0) };
    // SAFETY: without a stack and without CLONE_VM this is a fork, and the same holds: no other thread exists. What the C
    // library does besides at a fork is for threads, too.
    match unsafe { libc::syscall(libc::SYS_clone, first, second, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .map(Fork::Parent)
            .ok_or_else(|| io::Error::other("clone gave no process id")),
    }
}

/// unshare(2), for name spaces only.
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    // SAFETY: what the function warns of is unsharing the file descriptor table between threads; that flag isn't used.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}

/// Marks all descriptors from 3 on close-on-exec, so that none of the host's leaks into the command.
pub(super) fn close_on_exec_from_3() -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: close_range with this flag closes nothing; it takes plain numbers.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes all descriptors from 3 on but one. Only for a child that was just forked and never returns to the frames that
/// own the others.
pub(super) fn close_all_from_3_but(keep: BorrowedFd<'_>) -> io::Result<()> {
    let keep = keep.as_raw_fd();
    for (first, last) in
        [(3, i64::from(keep) - 1), (i64::from(keep).max(2) + 1, i64::from(libc::c_uint::MAX))]
    {
        if first > last {
            continue;
        }
        // SAFETY: the caller promises that the owners of these descriptors are never used or dropped.
        if unsafe { libc::syscall(libc::SYS_close_range, first as libc::c_uint, last as libc::c_uint, 0) }
            != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// execve(2) with exactly this environment. Comes back only with an error. Unlike `execvp` it never gives a file of a
/// format that the kernel refuses to /bin/sh, so a program for another machine shows as ENOEXEC.
pub(super) fn execve(program: &OsStr, argv: &[OsString], env: &[(OsString, OsString)]) -> io::Error {
    let program = match CString::new(program.as_bytes()) {
        Ok(p) => p,
        Err(e) => return e.into(),
    };
    let argv: Result<Vec<CString>, _> = argv.iter().map(|a| CString::new(a.as_bytes())).collect();
    let env: Result<Vec<CString>, _> =
        env.iter().map(|(k, v)| CString::new([k.as_bytes(), b"=", v.as_bytes()].concat())).collect();
    let (argv, env) = match (argv, env) {
        (Ok(a), Ok(e)) => (a, e),
        (Err(e), _) | (_, Err(e)) => return e.into(),
    };
    let null_ended =
        |v: &[CString]| v.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let (argv_pointers, env_pointers) = (null_ended(&argv), null_ended(&env));
    // SAFETY: both arrays end with a null pointer, and the strings they point to live until the call is over.
    unsafe { libc::execve(program.as_ptr(), argv_pointers.as_ptr(), env_pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// Resets all signals to their defaults and unblocks them, as a fresh program expects. (Rust's runtime ignores SIGPIPE.)
pub(super) fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is a valid disposition for each signal; for KILL, STOP and numbers libc keeps the call fails.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset fills the set before sigprocmask reads it.
    unsafe {
        libc::sigemptyset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
    }
}

/// Sets the interface `lo` of this network name space up.
pub(super) fn loopback_up() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: ifreq is plain data; all zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, which outlives the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// One instruction of a classic BPF program: code, jump if true, jump if false, operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) jt: u8,
    pub(super) jf: u8,
    pub(super) k: u32,
}

/// Installs a seccomp filter for this thread and all it starts. With `listener`, the calls that the filter answers
/// with USER_NOTIF are reported on the returned descriptor. seccomp(2).
pub(super) fn install_filter(program: &[Instruction], listener: bool) -> io::Result<Option<OwnedFd>> {
    let mut filter: Vec<libc::sock_filter> =
        program.iter().map(|i| libc::sock_filter { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect();
    let len = u16::try_from(filter.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    let flags = if listener { libc::SECCOMP_FILTER_FLAG_NEW_LISTENER } else { 0 };
    // SAFETY: `program` points to `len` instructions that live until the call is over; the kernel copies them.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &program as *const libc::sock_fprog,
        )
    };
    match (fd, listener) {
        (-1, _) => Err(io::Error::last_os_error()),
        // SAFETY: with NEW_LISTENER the result is a new descriptor (close-on-exec) that nobody else owns.
        (fd, true) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) })),
        (_, false) => Ok(None),
    }
}

/// A system call that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Notification {
    pub(super) id: u64,
    /// The caller, as this process's pid name space numbers it.
    pub(super) pid: u32,
    pub(super) arch: u32,
    pub(super) number: i32,
    pub(super) args: [u64; 6],
}

/// Takes the next waiting call. `None`: its caller is gone.
pub(super) fn receive(listener: BorrowedFd<'_>) -> io::Result<Option<Notification>> {
    // SAFETY: seccomp_notif is plain data; the kernel wants it zeroed.
    let mut request: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the ioctl fills a seccomp_notif. The kernel's struct may grow only at its end, and since 5.0 has not.
    if unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, &mut request) } == -1 {
        let e = io::Error::last_os_error();
        return match e.raw_os_error() {
            Some(libc::ENOENT | libc::EINTR) => Ok(None),
            _ => Err(e),
        };
    }
    Ok(Some(Notification {
        id: request.id,
        pid: request.pid,
        arch: request.data.arch,
        number: request.data.nr,
        args: request.data.args,
    }))
}

/// Whether no process is left that could make such a call, but for zombies.
pub(super) fn hung_up(listener: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(listener, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut fds, Some(&now)) {
        Ok(_) => Ok(fds[0].revents().contains(PollFlags::HUP) && !fds[0].revents().contains(PollFlags::IN)),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Makes callers and this process take turns on one processor, which is faster than to wake each other on two. Linux 6.6;
/// elsewhere nothing changes.
pub(super) fn take_turns(listener: BorrowedFd<'_>) {
    /// SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, linux/seccomp.h.
    const SYNC_WAKE_UP: libc::c_ulong = 1;
    // SAFETY: the ioctl takes its argument by value.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS as _, SYNC_WAKE_UP) };
}

/// Reads another process's memory. Gives the number of bytes read, which may be fewer than asked for.
/// process_vm_readv(2).
pub(super) fn read_memory(pid: u32, address: u64, into: &mut [u8]) -> io::Result<usize> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let address = usize::try_from(address).map_err(io::Error::other)?;
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: into.len() };
    // SAFETY: the kernel writes at most `iov_len` bytes to `into`, and checks the other process's addresses itself.
    let n = unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Whether the caller still waits, so that its process id hasn't been given to another.
pub(super) fn still_waits(listener: BorrowedFd<'_>, id: u64) -> bool {
    // SAFETY: the ioctl reads the 64 bits of the id.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID as _, &id) == 0 }
}

/// Answers a waiting call: 0, or an errno. A caller that is gone is no error.
pub(super) fn answer(listener: BorrowedFd<'_>, id: u64, errno: i32) -> io::Result<()> {
    respond(listener, libc::seccomp_notif_resp { id, val: 0, error: -errno, flags: 0 })
}

/// Lets a waiting call continue unchanged. Linux 5.5. A caller that is gone is no error.
pub(super) fn let_go(listener: BorrowedFd<'_>, id: u64) -> io::Result<()> {
    let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    respond(listener, libc::seccomp_notif_resp { id, val: 0, error: 0, flags })
}

fn respond(listener: BorrowedFd<'_>, response: libc::seccomp_notif_resp) -> io::Result<()> {
    // SAFETY: the ioctl reads a seccomp_notif_resp, which outlives the call.
    if unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &response) } == -1 {
        let e = io::Error::last_os_error();
        if e.raw_os_error() != Some(libc::ENOENT) {
            return Err(e);
        }
    }
    Ok(())
}
