//! What must not outlive this program: other programs, and large directories.

use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use oci::{Cache, CacheError, Scratch};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use sysext::output::Cleanup;

/// A process that ends with its owner: when this is dropped, and when a signal ends the program.
#[derive(Debug)]
pub(crate) struct Owned {
    child: Child,
    _cleanup: Cleanup,
}

impl Owned {
    /// Starts it.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Owned> {
        let child = command.spawn()?;
        // Not by its number, which another process may have by then.
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        let cleanup = sysext::output::on_interrupt(move || {
            if let Ok(handle) = handle {
                // Not killed: an emulator has a terminal to put in order.
                let _ = pidfd_send_signal(handle, Signal::TERM);
            }
        });
        Ok(Owned { child, _cleanup: cleanup })
    }

    /// What it prints, if that is piped. Once.
    pub(crate) fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // Too late for both is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory of the cache's that goes with its owner, and when a signal ends the program: gigabytes shouldn't wait for the
/// next sweep.
#[derive(Debug)]
pub(crate) struct Doomed {
    scratch: Scratch,
    _cleanup: Cleanup,
}

impl Doomed {
    /// A new one.
    pub(crate) fn new(cache: &Cache, what: &str) -> Result<Doomed, CacheError> {
        let scratch = cache.scratch(what)?;
        let path = scratch.path().to_owned();
        let cleanup = sysext::output::on_interrupt(move || {
            let _ = std::fs::remove_dir_all(&path);
        });
        Ok(Doomed { scratch, _cleanup: cleanup })
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        self.scratch.path()
    }
}

/// Bytes. More isn't kept of what a program prints: it may print a file of somebody's image.
const OUTPUT_MAX: u64 = 16 << 20;

/// Runs a program to its end, for what it prints.
///
/// # Errors
/// It can't be started, or prints more than 16 MiB.
pub(crate) fn output(command: &mut Command) -> io::Result<Output> {
    let mut owned = Owned::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let stderr = owned.child.stderr.take();
    let errors = std::thread::spawn(move || stderr.map_or(Ok(Vec::new()), read));
    let stdout = owned.stdout().map_or(Ok(Vec::new()), read)?;
    let stderr = errors.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    Ok(Output { status: owned.wait()?, stdout, stderr })
}

fn read(pipe: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match pipe.take(OUTPUT_MAX + 1).read_to_end(&mut bytes)? as u64 {
        ..=OUTPUT_MAX => Ok(bytes),
        _ => Err(io::Error::other("prints more than 16 MiB")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_prints_is_bounded() {
        let run = |script: &str| output(Command::new("sh").args(["-c", script]));
        let out = run("echo out; echo err >&2; exit 3").unwrap();
        assert_eq!((out.stdout, out.stderr, out.status.code()), (b"out\n".into(), b"err\n".into(), Some(3)));
        // It would never end by itself.
        for script in ["cat /dev/zero", "cat /dev/zero >&2"] {
            assert_eq!(run(script).map(drop).unwrap_err().to_string(), "prints more than 16 MiB", "{script}");
        }
    }
}
