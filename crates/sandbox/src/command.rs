//! The command's own process, from fork to exec.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use rustix::fs::Mode as Bits;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::seccomp::{self, Chown};
use super::wire::Go;
use super::{Mode, sys};

/// What docker gives its containers, but for NET_RAW and NET_BIND_SERVICE: the network may be the host's.
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// More descriptors than this make old package managers close them one by one for minutes.
const DESCRIPTORS: u64 = 1024;

/// Becomes the command. Comes back only if that didn't work, after its errno was written to `errors`.
pub(super) fn start(go: &Go, mode: Mode, errors: &File, listener: &UnixStream) {
    let error = try_start(go, mode, listener);
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    let _ = (&*errors).write_all(&errno.to_ne_bytes());
}

fn try_start(go: &Go, mode: Mode, listener: &UnixStream) -> io::Error {
    match confine(mode, go, listener) {
        Ok(()) => {}
        Err(e) => return e,
    }
    let os = |bytes: &Vec<u8>| OsString::from_vec(bytes.clone());
    let argv: Vec<OsString> = go.argv.iter().map(os).collect();
    let mut env: Vec<(OsString, OsString)> = go.env.iter().map(|(k, v)| (os(k), os(v))).collect();
    if mode == Mode::Single && !env.iter().any(|(k, _)| k == "APT_CONFIG") {
        env.push(("APT_CONFIG".into(), super::root::APT_CONF.0.into()));
    }
    let path = env.iter().find(|(k, _)| k == "PATH").map(|(_, v)| v.clone()).unwrap_or_default();
    match argv.first().and_then(|name| find(name, &path)) {
        Some(program) => sys::execve(&program, &argv, &env),
        None => io::Error::from_raw_os_error(libc::ENOENT),
    }
}

/// Everything that can't be undone. The order matters: what needs a capability stands before its loss.
fn confine(mode: Mode, go: &Go, listener: &UnixStream) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    rustix::process::umask(Bits::from_raw_mode(0o022));
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, DESCRIPTORS)?;
    if mode == Mode::Root {
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(
            rustix::fs::Gid::ROOT,
            rustix::fs::Gid::ROOT,
            rustix::fs::Gid::ROOT,
        )?;
    } else {
        rustix::thread::set_no_new_privs(true)?;
    }
    sys::reset_signals();
    filter(mode, go, listener)?;
    drop_capabilities()?;
    sys::close_on_exec_from_3()
}

fn limit(resource: Resource, soft: u64) -> io::Result<()> {
    let hard = rustix::process::getrlimit(resource).maximum;
    let current = Some(hard.map_or(soft, |hard| hard.min(soft)));
    Ok(rustix::process::setrlimit(resource, Rlimit { current, maximum: hard })?)
}

fn filter(mode: Mode, go: &Go, listener: &UnixStream) -> io::Result<()> {
    let (chown, without) = match mode {
        Mode::Single => (Chown::Recorded, Chown::Ignored),
        _ => (Chown::Real, Chown::Real),
    };
    let program = |chown, traced| seccomp::program(chown, traced, go.own_network);
    if mode != Mode::Single && !go.traced {
        let program = program(chown, false);
        if !program.is_empty() {
            sys::install_filter(&program, false)?;
        }
        return Ok(());
    }
    if !seccomp::SUPPORTED {
        return Err(io::Error::from_raw_os_error(libc::ENOSYS));
    }
    match sys::install_filter(&program(chown, go.traced), true) {
        Ok(Some(fd)) => send_listener(listener, &fd),
        // Before Linux 5.0, or below a supervisor of the same kind (a container engine's): there can be only one. The first
        // process decides whether that will do.
        Ok(None) | Err(_) => sys::install_filter(&program(without, false), false).map(|_| ()),
    }
}

fn drop_capabilities() -> io::Result<()> {
    for bit in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        if !CAPABILITIES.contains(one) {
            match rustix::thread::remove_capability_from_bounding_set(one) {
                // The kernel knows no more of them.
                Err(rustix::io::Errno::INVAL) => break,
                other => other?,
            }
        }
    }
    // Linux 4.3; harmless where it is missing.
    let _ = rustix::thread::clear_ambient_capability_set();
    let now = rustix::thread::capabilities(None)?;
    let sets = CapabilitySets {
        effective: now.effective & CAPABILITIES,
        permitted: now.permitted & CAPABILITIES,
        inheritable: CapabilitySet::empty(),
    };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// As a shell looks a program up.
fn find(name: &OsStr, path: &OsStr) -> Option<OsString> {
    if name.as_bytes().contains(&b'/') {
        return Some(name.to_owned());
    }
    path.as_bytes().split(|&b| b == b':').filter(|dir| !dir.is_empty()).find_map(|dir| {
        let candidate = OsString::from_vec([dir, b"/", name.as_bytes()].concat());
        let meta = std::fs::metadata(&candidate).ok()?;
        (meta.is_file() && meta.permissions().mode() & 0o111 != 0).then_some(candidate)
    })
}

fn send_listener(socket: &UnixStream, fd: &OwnedFd) -> io::Result<()> {
    let fds = [fd.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(socket, &[IoSlice::new(b"L")], &mut control, SendFlags::empty())?;
    Ok(())
}

/// The listener that [`start`] made in the other process. `None`: there is none.
pub(super) fn receive_listener(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8; 1];
    loop {
        match recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    }))
}
