//! The helper process: this program, executed again.
//!
//! It has a single thread, so it may fork, and it belongs to a session of its own, so that Ctrl-C reaches the program
//! alone. It makes the name spaces, starts their first process ([`super::pid1`]), brings the changes back and removes the
//! scratch directory. When the socket to the program closes early (Ctrl-C, kill -9), it kills everything and removes
//! the scratch directory, too.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::UnshareFlags;

use super::limits::{DISK_INTERVAL, Disk};
use super::sys::{self, Fork};
use super::wire::{At, Channel, Go, Order, Report, Setup, Step};
use super::{Mode, Status, changes, lower, pid1, root};
use store::cache::remove_tree;

/// What the helper is called, its `argv[0]`.
pub(super) const NAME: &str = "flix-sandbox";

/// The program is gone: nobody to talk to, only to clean up.
struct Orphaned;

enum End {
    Failed(Step),
    Orphaned,
}

impl From<Step> for End {
    fn from(step: Step) -> Self {
        End::Failed(step)
    }
}

impl From<Orphaned> for End {
    fn from(_: Orphaned) -> Self {
        End::Orphaned
    }
}

/// All of the helper's life. Gives the exit code.
pub(super) fn main() -> i32 {
    let Ok((mut control, layer)) = take_descriptors() else { return 1 };
    let Ok(Some(Order::Setup(setup))) = control.receive() else { return 1 };
    if let Err(step) = begin(&mut control, &setup) {
        // Nothing to clean up; the program may try another mode in the same directory.
        let _ = control.send(&Report::Failed(step));
        return 1;
    }
    let end = live(&mut control, layer, &setup);
    // Not as the current directory, which can't be removed below some file systems.
    let _ = std::env::set_current_dir("/");
    // As the name space's root: the program may not remove files of the ids that are mapped into it.
    let _ = remove_tree(&setup.scratch);
    match end {
        Ok(()) => 0,
        Err(End::Failed(step)) => {
            let _ = control.send(&Report::Failed(step));
            1
        }
        Err(End::Orphaned) => 1,
    }
}

/// Standard input is the socket to the program, standard output the pipe for the layer, standard error the pipe for what
/// the command prints. The first two go elsewhere, so that the command can't get them.
fn take_descriptors() -> std::io::Result<(Channel, File)> {
    let control = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let layer = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok((Channel::new(UnixStream::from(control)), File::from(layer)))
}

fn begin(control: &mut Channel, setup: &Setup) -> Result<(), Step> {
    rustix::process::setsid().at("new session")?;
    rustix::process::umask(rustix::fs::Mode::empty());
    std::env::set_current_dir(&setup.scratch).at("scratch directory")?;
    enter(control, setup)
}

fn live(control: &mut Channel, layer: File, setup: &Setup) -> Result<(), End> {
    let userxattr = !has_all_ids();
    let no_overlay = if setup.overlay {
        root::probe_overlay(userxattr).err().map(|e| e.to_string())
    } else {
        Some("not wanted".to_owned())
    };
    let overlay = no_overlay.is_none();
    let _ = control.send(&Report::Ready { no_overlay });
    let Ok(Some(Order::Go(go))) = control.receive() else { return Err(End::Orphaned) };
    let (mut next, mut layer) = (Some(go), Some(layer));
    while let Some(go) = next.take() {
        if !go.probes.is_empty() {
            return probe_all(control, &go, setup.mode);
        }
        let is_traced = one(control, &mut layer, setup, &go, overlay.then_some(userxattr))?;
        if !is_traced || !overlay {
            return Ok(());
        }
        // What the command did isn't there for the next.
        for dir in ["upper", "work", "root"] {
            remove_tree(Path::new(dir)).at(dir)?;
        }
        next = match control.receive() {
            Ok(Some(Order::Go(go))) => Some(go),
            _ => None,
        };
    }
    Ok(())
}

/// Runs one command. Gives whether it was traced, so that another may follow.
fn one(
    control: &mut Channel,
    layer: &mut Option<File>,
    setup: &Setup,
    go: &Go,
    overlay: Option<bool>,
) -> Result<bool, End> {
    let lower = lower::prepare(go, setup.mode, overlay.is_some())?;
    let (mut first, end) = {
        let (ours, theirs) = UnixStream::pair().at("socket pair")?;
        (Channel::new(ours), theirs)
    };
    let pid = match sys::fork_into_pid_space().at("new pid name space")? {
        Fork::Parent(pid) => {
            drop(end);
            pid
        }
        Fork::Child => {
            drop(first);
            let code = pid1::main(go, setup.mode, overlay, Channel::new(end));
            std::process::exit(code);
        }
    };
    let written = if overlay.is_some() { "upper" } else { "lower" };
    let mut disk = Disk::new(go.limits.disk, written).at("disk")?;
    let ended = watch(control, &mut first, &mut disk, pid, None)?;
    let Report::Ended { status, unrecorded } = ended else {
        let _ = control.send(&ended);
        return Ok(false);
    };
    let _ = control.send(&Report::Ended { status, unrecorded });
    if status != Status::Exited(0) {
        return Ok(false);
    }
    if go.traced {
        let _ = control.send(&Report::Traced);
        return Ok(true);
    }
    let tree = changes::collect(go, &lower, setup.mode, unrecorded, &mut |warning| {
        let _ = control.send(&Report::Warning(warning));
    })?;
    let _ = control.send(&Report::Changes);
    if let Some(layer) = layer.take() {
        let mut out = std::io::BufWriter::with_capacity(1 << 18, layer);
        tree.write_sparse_tar(&mut out).at("writing the changes")?;
        out.flush().at("writing the changes")?;
    }
    let _ = control.send(&Report::Complete);
    Ok(false)
}

/// Tries commands, all in `lower` itself: nothing of what they do is kept.
fn probe_all(control: &mut Channel, go: &Go, mode: Mode) -> Result<(), End> {
    lower::prepare(go, mode, true)?;
    for argv in &go.probes {
        let one = Go { argv: argv.clone(), is_probe: true, ..go.with(&[], &[]) };
        let one = Go { env: go.env.clone(), ..one };
        let report = probe(control, &one, mode)?;
        let _ = control.send(&report);
    }
    let _ = control.send(&Report::Traced);
    Ok(())
}

/// Runs a command with a first process, a root and an output of its own.
fn probe(control: &mut Channel, go: &Go, mode: Mode) -> Result<Report, End> {
    let (ours, theirs) = UnixStream::pair().at("socket pair")?;
    let (output, output_theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at("pipe")?;
    let pid = match sys::fork_into_pid_space().at("new pid name space")? {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            drop((ours, output));
            let code = match rustix::stdio::dup2_stderr(&output_theirs) {
                Ok(()) => pid1::main(go, mode, None, Channel::new(theirs)),
                Err(_) => 1,
            };
            std::process::exit(code);
        }
    };
    drop((theirs, output_theirs));
    let mut printed = Printed { from: File::from(output), text: Vec::new() };
    let mut disk = Disk::new(go.limits.disk, "lower").at("disk")?;
    let report = watch(control, &mut Channel::new(ours), &mut disk, pid, Some(&mut printed))?;
    // Nobody is left who could write more.
    while printed.read() {}
    let end = match report {
        Report::Ended { status, .. } => super::End::Ended(status),
        Report::NoExec { errno } => super::End::NotStarted(errno),
        Report::Stopped(exceeded) => super::End::Stopped(exceeded),
        _ => {
            let message = "unexpected report".to_owned();
            return Err(Step { step: "the sandbox's first process".into(), message }.into());
        }
    };
    Ok(Report::Probed { end, output: printed.text })
}

/// Bytes of a command's output that are kept.
const OUTPUT_MAX: usize = 16 << 10;

/// The beginning of what a command prints.
struct Printed {
    from: File,
    text: Vec<u8>,
}

impl Printed {
    /// Takes what is there, or waits for it. `false`: there is no more.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        match self.from.read(&mut buffer) {
            Ok(0) => false,
            Ok(n) => {
                let room = OUTPUT_MAX - self.text.len().min(OUTPUT_MAX);
                self.text.extend_from_slice(&buffer[..n.min(room)]);
                true
            }
            Err(e) => e.kind() == std::io::ErrorKind::Interrupted,
        }
    }
}

/// Makes the name spaces, all but that of the processes, which comes with the first of them.
fn enter(control: &mut Channel, setup: &Setup) -> Result<(), Step> {
    match setup.mode {
        Mode::Root => {}
        Mode::Subuid => {
            sys::unshare(UnshareFlags::NEWUSER).at("new user name space")?;
            control.send(&Report::NeedMaps).at("socket")?;
            let Ok(Some(Order::Mapped)) = control.receive() else {
                return Err(Step { step: "user name space".into(), message: "the program is gone".into() });
            };
            // What was the user is root from here on; supplementary groups of the host's go.
            rustix::thread::set_thread_groups(&[]).at("dropping the host's groups")?;
        }
        Mode::Single => {
            let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            sys::unshare(UnshareFlags::NEWUSER).at("new user name space")?;
            std::fs::write("/proc/self/setgroups", "deny").at("/proc/self/setgroups")?;
            std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).at("/proc/self/uid_map")?;
            std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).at("/proc/self/gid_map")?;
        }
    }
    let mut spaces = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    spaces.set(UnshareFlags::NEWNET, setup.own_network);
    sys::unshare(spaces).at("new mount, ipc and uts name spaces")?;
    // Also the test whether this user may mount at all: a security module may give user name spaces and no more.
    root::make_private().at("private mounts")?;
    if setup.own_network {
        sys::loopback_up().at("interface lo")?;
        // A server's ports are as good as any others where nobody else is; it has no capability for them. ip-sysctl.
        let _ = std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    }
    Ok(())
}

/// Whether all ids of the kernel have a name here, as in the first user name space. There overlayfs keeps its marks in
/// `trusted.overlay.*`, elsewhere it has to use `user.overlay.*`.
fn has_all_ids() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// [`DISK_INTERVAL`].
const INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: DISK_INTERVAL.as_nanos() as i64 };

/// Waits for the first process's last word, for a full disk, or for the program's end. Earlier reports are forwarded.
fn watch(
    control: &mut Channel,
    first: &mut Channel,
    disk: &mut Disk,
    pid: Pid,
    mut printed: Option<&mut Printed>,
) -> Result<Report, End> {
    loop {
        let (gone, said, printed_some) = {
            // The program has nothing more to say: all that can happen on its socket is its end.
            let mut fds = vec![
                PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(first.as_fd(), PollFlags::IN),
            ];
            fds.extend(printed.as_ref().map(|p| PollFd::from_borrowed_fd(p.from.as_fd(), PollFlags::IN)));
            match poll(&mut fds, Some(&INTERVAL)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(Step { step: "poll".into(), message: e.to_string() }.into()),
            }
            let happened = |i: usize| fds.get(i).is_some_and(|fd| !fd.revents().is_empty());
            (happened(0), happened(1), happened(2))
        };
        if gone {
            kill(pid);
            return Err(Orphaned.into());
        }
        if printed_some && printed.as_mut().is_some_and(|p| !p.read()) {
            printed = None;
        }
        if !said {
            if let Some(exceeded) = disk.exceeded().at("disk")? {
                kill(pid);
                return Ok(Report::Stopped(exceeded));
            }
            continue;
        }
        let mut report = first.receive::<Report>();
        // All of them come at once, so there is no waiting for the next.
        while let Ok(Some(looked @ Report::Looked(_))) = report {
            let _ = control.send(&looked);
            report = first.receive();
        }
        // It ends by itself now, and the kernel kills what is left in its pid name space before it can be waited for.
        kill(pid);
        return match report.at("the sandbox's first process")? {
            Some(Report::Failed(step)) => Err(step.into()),
            Some(report) => Ok(report),
            None => {
                Err(Step { step: "the sandbox's first process".into(), message: "it was killed".into() }
                    .into())
            }
        };
    }
}

fn kill(pid: Pid) {
    let _ = rustix::process::kill_process(pid, Signal::KILL);
    while let Err(rustix::io::Errno::INTR) = rustix::process::waitpid(Some(pid), WaitOptions::empty()) {}
}

/// Whether this process was started as a helper.
pub(super) fn is_wanted() -> bool {
    std::env::args_os().next().is_some_and(|name| name == Path::new(NAME).as_os_str())
}
