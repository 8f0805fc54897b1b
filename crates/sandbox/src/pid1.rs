//! The first process of the sandbox's pid name space: it makes the root, starts the command, reaps what is left without a
//! parent, answers for changes of owner, and records what a traced command looks up. With its end the kernel kills whatever the
//! command left running.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus};
use rustix::thread::UnshareFlags;

use super::limits::Processes;
use super::owners::Supervisor;
use super::sys::{self, Fork};
use super::tracer::Tracer;
use super::wire::{At, Channel, Go, Report, Step};
use super::{Exceeded, Mode, Status, command, root};

/// Lookups in one message.
const LOOKED: usize = 1000;

/// All of its life. Gives the exit code.
pub(super) fn main(go: &Go, mode: Mode, overlay: Option<bool>, helper: Channel) -> i32 {
    let report = live(go, mode, overlay, &helper).unwrap_or_else(Report::Failed);
    i32::from(helper.send(&report).is_err())
}

fn live(go: &Go, mode: Mode, overlay: Option<bool>, helper: &Channel) -> Result<Report, Step> {
    // Among them the helper's socket and directories of the host's, which the command might reach through /proc/1/fd.
    sys::close_all_from_3_but(helper.as_fd()).at("closing the helper's descriptors")?;
    // kill -9 of the helper has to end this process, too; its socket shows whether that was before this call.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).at("death signal")?;
    // Mounts of its own: pivot_root moves every process of the name space, and the helper has to stay where it is.
    sys::unshare(UnshareFlags::NEWNS).at("new mount name space")?;
    // A name that resolves, and the same for everybody.
    rustix::system::sethostname(b"localhost").at("host name")?;
    root::enter(go, mode, overlay)?;

    let processes = Processes::new(go.limits).at("/proc")?;
    let (errors, errors_theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at("pipe")?;
    let (listener, listener_theirs) = UnixStream::pair().at("socket pair")?;
    let pid = match sys::fork().at("fork")? {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            drop((errors, listener));
            command::start(go, mode, &File::from(errors_theirs), &listener_theirs);
            std::process::exit(127);
        }
    };
    drop((errors_theirs, listener_theirs));
    let mut unrecorded = false;
    let mut supervisor = None;
    if mode == Mode::Single || go.traced {
        match command::receive_listener(&listener).at("seccomp listener")? {
            Some(listener) => {
                let tracer =
                    go.traced.then(|| if go.is_probe { Tracer::for_probe() } else { Tracer::default() });
                supervisor = Some(Supervisor::start(listener, tracer).at("thread for system calls")?);
            }
            None if go.traced => {
                let message =
                    "no seccomp listener: the kernel lacks it, or another supervisor holds the only one";
                let message = message.to_owned();
                return Err(Step { step: "tracing the command".into(), message });
            }
            None => unrecorded = true,
        }
    }
    drop(listener);
    if let Some(errno) = wait_for_exec(File::from(errors)).at("pipe")? {
        if let Some(supervisor) = &supervisor {
            supervisor.check().at("answering system calls")?;
        }
        return Ok(Report::NoExec { errno });
    }
    let status = wait_for(pid, supervisor.as_ref(), &processes, helper).at("waiting for the command")?;
    if let Some(supervisor) = supervisor {
        let records = supervisor.take().at("answering system calls")?;
        unrecorded |= records.unrecorded;
        for some in records.looked().chunks(LOOKED) {
            helper.send(&Report::Looked(some.to_vec())).at("socket")?;
        }
    }
    // With the end of this process the kernel kills all the others.
    Ok(status.map_or_else(Report::Stopped, |status| Report::Ended { status, unrecorded }))
}

/// Waits until the command's program is executed, which closes the pipe; or gives the errno that it failed with.
fn wait_for_exec(mut errors: File) -> io::Result<Option<i32>> {
    let mut errno = Vec::new();
    errors.read_to_end(&mut errno)?;
    Ok(<[u8; 4]>::try_from(errno.as_slice()).ok().map(i32::from_ne_bytes))
}

fn wait_for(
    pid: Pid,
    supervisor: Option<&Supervisor>,
    processes: &Processes,
    helper: &Channel,
) -> io::Result<Result<Status, Exceeded>> {
    let command: OwnedFd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    // Orphans that end wake nobody: they are reaped when something else happens, or within this time.
    let interval = processes.interval();
    let interval = Timespec { tv_sec: interval.as_secs() as i64, tv_nsec: interval.subsec_nanos().into() };
    let mut supervisor = supervisor;
    loop {
        let mut fds = vec![
            PollFd::from_borrowed_fd(command.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(helper.as_fd(), PollFlags::IN),
        ];
        fds.extend(supervisor.map(|s| PollFd::new(s, PollFlags::IN)));
        match poll(&mut fds, Some(&interval)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        let happened: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if happened[1] {
            return Err(io::Error::other("the helper is gone"));
        }
        if happened.get(2) == Some(&true)
            && let Some(supervisor) = supervisor.take()
        {
            supervisor.check()?;
        }
        if let Some(status) = reap(pid)? {
            return Ok(Ok(status));
        }
        if let Some(exceeded) = processes.exceeded()? {
            return Ok(Err(exceeded));
        }
    }
}

/// Takes all that ended; the command's status if it is among them.
fn reap(command: Pid) -> io::Result<Option<Status>> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == command => return Ok(status_of(status)),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(None),
            Err(e) => return Err(e.into()),
        }
    }
}

fn status_of(status: WaitStatus) -> Option<Status> {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Some(Status::Exited(code)),
        (None, Some(signal)) => Some(Status::Signaled(signal)),
        (None, None) => None,
    }
}
