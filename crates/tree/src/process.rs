//! Child processes that never outlive this program.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::output::{Cleanup, on_interrupt};
use crate::sys::ends_with_parent;

/// A child process that ends when this is dropped, and when the program ends, be it by kill -9.
#[derive(Debug)]
pub struct ChildGuard {
    child: Child,
    _cleanup: Cleanup,
}

impl ChildGuard {
    /// Starts a child. It also ends with the thread that calls this, which should wait for it therefore.
    ///
    /// # Errors
    /// The program can't be started.
    pub fn spawn(command: &mut Command) -> io::Result<ChildGuard> {
        // Not killed, here and below: an emulator has a terminal to put in order.
        ends_with_parent(command, Signal::TERM);
        let child = command.spawn()?;
        // Not by its number, which another process may have by then.
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        let cleanup = on_interrupt(move || {
            if let Ok(handle) = handle {
                let _ = pidfd_send_signal(handle, Signal::TERM);
            }
        });
        Ok(ChildGuard { child, _cleanup: cleanup })
    }

    /// Takes the child's standard output, if that is piped.
    pub fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits for the child's end.
    ///
    /// # Errors
    /// As wait(2).
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        // Too late for both is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes. More isn't kept of what a program prints: it may print a file of somebody's image.
const OUTPUT_MAX: u64 = 16 << 20;

/// Runs a program to its end and collects what it prints.
///
/// # Errors
/// It can't be started, or prints more than 16 MiB.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let mut child = ChildGuard::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let stderr = child.child.stderr.take();
    let errors = std::thread::spawn(move || stderr.map_or(Ok(Vec::new()), read));
    let stdout = child.stdout().map_or(Ok(Vec::new()), read)?;
    let stderr = errors.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    Ok(Output { status: child.wait()?, stdout, stderr })
}

/// Directories of administrators' programs, which aren't in everybody's PATH, and those of everybody.
const SYSTEM_DIRS: [&str; 6] =
    ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"];

/// Absolute path of a program of the host, in PATH or else where administrators' programs are.
pub fn find_program(name: &str) -> Option<PathBuf> {
    search(name, &search_path(), &SYSTEM_DIRS).into_iter().find(|path| path.is_absolute())
}

/// Whether `Command::new(name)` will find the program: whether it is in PATH.
pub fn is_in_path(name: &str) -> bool {
    !search(name, &search_path(), &[]).is_empty()
}

/// PATH of this process. Read here by the library itself: it says which programs the host has,
/// and starting a program reads it, too. Whatever else a variable decides is passed in.
fn search_path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

fn search(name: &str, path: &OsStr, system: &[&str]) -> Vec<PathBuf> {
    let dirs = std::env::split_paths(path).chain(system.iter().map(PathBuf::from));
    dirs.map(|dir| dir.join(name)).filter(|path| path.is_file()).collect()
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
    fn programs_are_found_in_path_before_the_systems_directories() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("sh"), "").unwrap();
        std::fs::create_dir(dir.path().join("env")).unwrap();
        let path = std::env::join_paths(["/does/not/exist".as_ref(), dir.path()]).unwrap();
        let first = |name| search(name, &path, &SYSTEM_DIRS).into_iter().next();
        assert_eq!(first("sh"), Some(dir.path().join("sh")));
        // A directory is no program.
        assert_eq!(first("env"), Some("/usr/bin/env".into()));
        assert_eq!(first("no-such-program"), None);
        assert_eq!(search("env", &path, &[]), Vec::<PathBuf>::new());
    }

    /// The thread stands for the program here: the kernel asks for no more.
    #[test]
    fn a_child_ends_with_whoever_started_it() {
        let start = || ChildGuard::spawn(Command::new("sleep").arg("1000").stdout(Stdio::piped())).unwrap();
        let mut child = std::thread::spawn(start).join().unwrap();
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
    }

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
