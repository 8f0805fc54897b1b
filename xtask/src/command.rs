//! Running programs, with errors that say which.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A cargo command at the repository's root. The toolchain is the one that runs this task.
pub(crate) fn cargo<I: AsRef<OsStr>>(args: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::root()).args(args);
    command
}

/// The same command with SIGINT and SIGQUIT as they are by default. env(1), coreutils 8.31.
pub(crate) fn interruptible(command: &Command) -> Command {
    let mut env = Command::new("env");
    env.arg("--default-signal=INT,QUIT").arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        env.current_dir(dir);
    }
    env
}

/// The command as one would type it.
pub(crate) fn show(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program()).file_name().unwrap_or_default();
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| {
            let word = word.to_string_lossy();
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
            if !word.is_empty() && word.chars().all(plain) {
                word.into_owned()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs it with this task's own stdout and stderr.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.stdin(Stdio::null()).status().with_context(|| format!("{}: not started", show(command)))
}

/// Runs it; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("{}: {status}", show(command));
    }
    Ok(())
}

/// Runs it and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let out = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{}: not started", show(command)))?;
    if !out.status.success() {
        bail!("{}: {}", show(command), out.status);
    }
    String::from_utf8(out.stdout).with_context(|| format!("{}: output is not UTF-8", show(command)))
}

/// Runs it, passing its stdout on to `out` line by line, and showing each line to `look`. What has not ended within `limit` is
/// killed with all that it started, which is an error: a test that hangs must not take the machine's time and the report with it.
pub(crate) fn tee(
    command: &mut Command,
    limit: Duration,
    out: &mut dyn Write,
    mut look: impl FnMut(&str),
) -> Result<ExitStatus> {
    let name = show(command);
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{name}: not started"))?;
    let pipe = child.stdout.take().with_context(|| format!("{name}: has no output"))?;
    let (send, lines) = mpsc::sync_channel(64);
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let last = line.is_err();
            if send.send(line).is_err() || last {
                break;
            }
        }
    });
    loop {
        match lines.recv_timeout(limit.saturating_sub(start.elapsed())) {
            Ok(line) => {
                let mut line = line.with_context(|| format!("{name}: output can't be read"))?;
                look(&String::from_utf8_lossy(&line));
                line.push(b'\n');
                out.write_all(&line)?;
                out.flush()?;
            }
            Err(RecvTimeoutError::Timeout) => {
                eprintln!("error: killed: {name}: did not end within {} s", limit.as_secs());
                kill_all(Pid::from_child(&child))?;
                break;
            }
            Err(RecvTimeoutError::Disconnected) => {
                // Nobody holds the pipe any more. A panic in the thread would be a bug, and is told as one.
                if reader.join().is_err() {
                    bail!("{name}: the reader of its output died");
                }
                break;
            }
        }
    }
    child.wait().with_context(|| format!("{name}: not waited for"))
}

/// Kills a process and its descendants. Each is stopped before its children are looked for, so that none is started meanwhile.
fn kill_all(root: Pid) -> Result<()> {
    let mut found = vec![root];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        // One that has ended since it was seen is no error.
        let _ = kill_process(parent, Signal::STOP);
        found.extend(children(parent)?);
        at += 1;
    }
    for id in found {
        let _ = kill_process(id, Signal::KILL);
    }
    Ok(())
}

/// Processes whose parent this is. proc_pid_stat(5).
fn children(parent: Pid) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("/proc")? {
        let path = entry?.path();
        let id =
            path.file_name().and_then(OsStr::to_str).and_then(|n| n.parse().ok()).and_then(Pid::from_raw);
        // The name, the second field, is in parentheses and may hold any byte; what follows is state and parent.
        let (Some(id), Ok(stat)) = (id, std::fs::read(path.join("stat"))) else { continue };
        let stat = String::from_utf8_lossy(&stat);
        let of = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        if of.and_then(Pid::from_raw) == Some(parent) {
            found.push(id);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn what_hangs_is_killed_with_all_that_it_started() -> Result<()> {
        let mut shell = Command::new("sh");
        // The innermost ones hold the pipe.
        shell.args(["-c", "echo $$; sh -c 'sleep 1000 & echo $!; wait' & wait"]);
        let mut started = Vec::new();
        let status = tee(&mut shell, Duration::from_secs(2), &mut std::io::sink(), |line| {
            let id = line.parse().ok().and_then(Pid::from_raw);
            started.push(id.map(|id| pidfd_open(id, PidfdFlags::empty())));
        })?;
        assert!(!status.success(), "{status}");
        assert_eq!(started.len(), 2, "{started:?}");
        for process in started {
            let process = process.context("no number")??;
            // Readable when it has ended. pidfd_open(2)
            let minute = Timespec { tv_sec: 60, tv_nsec: 0 };
            assert_eq!(poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&minute))?, 1);
        }
        Ok(())
    }
}
