//! The program's side of a run: starts the helper, writes the root, passes on what is printed, takes the changes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use tree::{Event, Events, Tree, WriteOptions};

use super::output::Lines;
use super::program::Program;
use super::unavailable::{Cause, Unavailable};
use super::wire::{Access, Channel, Go, Order, Report, Setup, Step};
use super::{End, Exceeded, Mode, Network, Run, SandboxError, Status, helper, subid};

/// Lines of output that an error shows.
const TAIL: usize = 20;

/// The root file system that commands run in.
pub(super) enum Root<'a> {
    /// To be written.
    Tree(&'a Tree),
    /// Written, and not to be changed; the files are put over it.
    Kept(&'a Path, Option<&'a Tree>),
}

/// How a command that was tried ended, what it printed, and what it looked for.
pub(super) type RawProbe = (End, Vec<u8>, Vec<Access>);

/// How a run that was started went.
pub(super) enum Outcome<T> {
    /// The changes were taken.
    Changes(T),
    /// What the command looked up, in no order.
    Traced(Vec<Access>),
    /// How each of the commands that were tried ended, what it printed, and what it looked up.
    Probed(Vec<RawProbe>),
    /// The command ended otherwise than with status 0.
    Ended(Status),
    /// It was killed, since it took too much.
    Stopped(Exceeded),
    /// It couldn't be started; the errno.
    NoExec(i32),
}

/// A helper whose name spaces are there.
pub(super) struct Helper {
    child: Child,
    control: Channel,
    layer: File,
    output: OwnedFd,
    /// Which mode it is in.
    pub(super) mode: Mode,
    /// Whether commands leave the written root as it is.
    pub(super) overlay: bool,
    scratch: std::path::PathBuf,
}

impl Helper {
    /// The first of `modes` that works here.
    pub(super) fn start(
        modes: &[Mode],
        run: &Run,
        scratch: &Path,
        events: &dyn Events,
    ) -> Result<Helper, SandboxError> {
        let program = Program::copy().map_err(|e| SandboxError::Step {
            step: "copying the program to memory".into(),
            message: e.to_string(),
        })?;
        let mut tried = Vec::new();
        for &mode in modes {
            match Helper::try_mode(mode, &program, run, scratch, events)? {
                Ok(helper) => return Ok(helper),
                Err(step) => tried.push(Unavailable {
                    mode,
                    cause: (mode != Mode::Root).then(|| Cause::find(Path::new("/proc/sys"))).flatten(),
                    step: step.step,
                    message: step.message,
                }),
            }
        }
        Err(SandboxError::Unavailable(tried))
    }

    fn try_mode(
        mode: Mode,
        program: &Program,
        run: &Run,
        scratch: &Path,
        events: &dyn Events,
    ) -> Result<Result<Helper, Step>, SandboxError> {
        let maps = match mode {
            Mode::Subuid => match subid::Maps::find() {
                Ok(maps) => Some(maps),
                Err(step) => return Ok(Err(step)),
            },
            _ => None,
        };
        let io = |source| SandboxError::Io { path: "/proc/self/exe".into(), source };
        let (ours, theirs) = UnixStream::pair().map_err(io)?;
        let (layer, layer_theirs) = pipe().map_err(io)?;
        let (output, output_theirs) = pipe().map_err(io)?;
        let child = Command::new(program.path())
            .arg0(helper::NAME)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(layer_theirs))
            .stderr(Stdio::from(output_theirs))
            .spawn()
            .map_err(io)?;
        let control = Channel::new(ours);
        let (layer, scratch_dir) = (File::from(layer), scratch.to_owned());
        let mut helper = Helper { child, control, layer, output, mode, overlay: false, scratch: scratch_dir };
        let setup = Setup {
            mode,
            own_network: run.network == Network::None,
            scratch: scratch.to_owned(),
            overlay: !run.no_overlay,
        };
        let _ = helper.control.send(&Order::Setup(setup));
        loop {
            match helper.control.receive::<Report>().map_err(io)? {
                Some(Report::NeedMaps) => {
                    match maps.as_ref().map_or(Ok(()), |m| m.apply(helper.child.id())) {
                        Ok(()) => _ = helper.control.send(&Order::Mapped),
                        Err(step) => {
                            helper.kill();
                            return Ok(Err(step));
                        }
                    }
                }
                Some(Report::Ready { no_overlay }) => {
                    helper.overlay = no_overlay.is_none();
                    if let Some(why) = no_overlay.filter(|_| !run.no_overlay) {
                        let text =
                            format!("overlayfs can't be used in {scratch:?}, working in a copy: {why}");
                        events.event(Event::Note(text.into()));
                    }
                    return Ok(Ok(helper));
                }
                Some(Report::Failed(step)) => {
                    helper.kill();
                    return Ok(Err(step));
                }
                _ => {
                    let mut said = String::new();
                    helper.control = Channel::new(UnixStream::pair().map_err(io)?.0);
                    let _ = File::from(helper.output).take(1 << 16).read_to_string(&mut said);
                    let _ = helper.child.wait();
                    return Err(SandboxError::HelperDied(said.lines().map(str::to_owned).collect()));
                }
            }
        }
    }

    /// Ends it before it has done anything. The scratch directory stays: another mode may be tried in it.
    fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Lets it go, and waits for it. It cleans up when its socket closes.
    fn end(self) {
        let Helper { mut child, control, .. } = self;
        drop(control);
        let _ = child.wait();
    }

    /// Writes the root if it isn't, runs the commands and gives the tar of their changes to `take`. Only traced ones may be
    /// several, and only over a root that they leave as it is. The outcomes end with the first that isn't a trace. Also gives
    /// the last lines of what the commands printed.
    pub(super) fn run<T: Send>(
        self,
        root: &Root<'_>,
        commands: Vec<Go>,
        events: &dyn Events,
        take: impl FnOnce(&mut (dyn Read + Send)) -> Result<T, SandboxError>,
    ) -> Result<(Vec<Outcome<T>>, Vec<String>), SandboxError> {
        if let Err(e) = self.place_root(root) {
            self.end();
            return Err(e);
        }
        let Helper { mut child, mut control, mut layer, output, .. } = self;
        let tail = Mutex::new(VecDeque::with_capacity(TAIL));
        let result = std::thread::scope(|scope| {
            scope.spawn(|| pass_on(File::from(output), &tail, events));
            let result = follow_all(commands, &mut control, &mut layer, events, take);
            // Whatever went wrong, the helper sees it by these, cleans up and ends; with its end the output does, too.
            drop((control, layer));
            let _ = child.wait();
            result
        });
        let tail: Vec<String> = tail.into_inner().unwrap_or_else(PoisonError::into_inner).into();
        match result {
            Ok(Some(outcomes)) => Ok((outcomes, tail)),
            Ok(None) => Err(SandboxError::HelperDied(tail)),
            Err(e) => Err(e),
        }
    }

    fn place_root(&self, root: &Root<'_>) -> Result<(), SandboxError> {
        let lower = self.scratch.join("lower");
        let make = |dir: &Path| {
            std::fs::create_dir(dir).map_err(|source| SandboxError::Io { path: dir.to_owned(), source })
        };
        match root {
            Root::Tree(tree) => {
                make(&lower)?;
                write(tree, &lower, self.mode)
            }
            Root::Kept(path, lent) => {
                std::os::unix::fs::symlink(path, &lower)
                    .map_err(|source| SandboxError::Io { path: lower.clone(), source })?;
                let Some(tree) = lent else { return Ok(()) };
                let dir = self.scratch.join("lent");
                make(&dir)?;
                write(tree, &dir, self.mode)
            }
        }
    }
}

/// Writes a tree for a sandbox of this mode.
pub(super) fn write(tree: &Tree, dir: &Path, mode: Mode) -> Result<(), SandboxError> {
    let root = mode == Mode::Root;
    let options = WriteOptions { ownership: root, devices: root, lenient: true, ..WriteOptions::all() };
    // Left out are devices, which are of no use in there, and attributes that this file system doesn't know.
    let _report = tree.write_dir(dir, &options)?;
    Ok(())
}

fn pipe() -> std::io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// Orders one command after another, up to the first that isn't traced to its end. `None`: the helper went without a word.
fn follow_all<T>(
    commands: Vec<Go>,
    control: &mut Channel,
    layer: &mut File,
    events: &dyn Events,
    take: impl FnOnce(&mut (dyn Read + Send)) -> Result<T, SandboxError>,
) -> Result<Option<Vec<Outcome<T>>>, SandboxError> {
    let mut take = Some(take);
    let mut out = Vec::new();
    for go in commands {
        let _ = control.send(&Order::Go(Box::new(go)));
        let Some(outcome) = follow(control, layer, events, &mut take)? else { return Ok(None) };
        let is_traced = matches!(outcome, Outcome::Traced(_));
        out.push(outcome);
        if !is_traced {
            break;
        }
    }
    Ok(Some(out))
}

/// Reads the helper's reports on a command up to the last. `None`: it went without one.
fn follow<T>(
    control: &mut Channel,
    layer: &mut File,
    events: &dyn Events,
    take: &mut Option<impl FnOnce(&mut (dyn Read + Send)) -> Result<T, SandboxError>>,
) -> Result<Option<Outcome<T>>, SandboxError> {
    let socket = |e: std::io::Error| SandboxError::Step { step: "socket".into(), message: e.to_string() };
    let mut taken = None;
    let mut looked = Vec::new();
    let mut probed = Vec::new();
    loop {
        let report = control.receive::<Report>().map_err(socket)?;
        match report {
            Some(Report::Ended { status: Status::Exited(0), .. }) => {}
            Some(Report::Ended { status, .. }) => return Ok(Some(Outcome::Ended(status))),
            Some(Report::Stopped(exceeded)) => return Ok(Some(Outcome::Stopped(exceeded))),
            Some(Report::NoExec { errno }) => return Ok(Some(Outcome::NoExec(errno))),
            Some(Report::Warning(text)) => events.event(Event::Warning(text.into())),
            Some(Report::Looked(some)) => looked.extend(some),
            Some(Report::Probed { end, output }) => probed.push((end, output, std::mem::take(&mut looked))),
            Some(Report::Traced) if !probed.is_empty() => return Ok(Some(Outcome::Probed(probed))),
            Some(Report::Traced) => return Ok(Some(Outcome::Traced(looked))),
            Some(Report::Changes) => {
                if let Some(take) = take.take() {
                    // After an error nobody reads on; the helper sees that when this end of the pipe closes.
                    taken = Some(take(layer)?);
                }
            }
            Some(Report::Complete) => return Ok(taken.map(Outcome::Changes)),
            Some(Report::Failed(Step { step, message })) => return Err(SandboxError::Step { step, message }),
            Some(Report::NeedMaps | Report::Ready { .. }) => {}
            None => return Ok(None),
        }
    }
}

fn pass_on(mut output: File, tail: &Mutex<VecDeque<String>>, events: &dyn Events) {
    let mut lines = Lines::default();
    let mut buffer = vec![0; 1 << 14];
    let mut line = |text: String| {
        events.event(Event::Output(&text));
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(text);
    };
    loop {
        match output.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => lines.take(&buffer[..n], &mut line),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    lines.finish(&mut line);
}
