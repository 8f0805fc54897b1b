//! What can go wrong in a sandbox.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::limits::Exceeded;
use super::packages::PackageError;
use super::unavailable::Unavailable;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Status {
    /// By itself, with this code.
    Exited(i32),
    /// By a signal.
    Signaled(i32),
}

/// How a command that was tried ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum End {
    /// By itself, or by a signal.
    Ended(Status),
    /// It wasn't started: the errno of execve(2).
    NotStarted(i32),
    /// It was killed, since it took too much.
    Stopped(Exceeded),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Exited(code) => write!(f, "exit status {code}"),
            Status::Signaled(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Why a command made no layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum SandboxError {
    /// The command failed.
    #[error("command {command:?} ended with {status}{}", Tail(tail))]
    Failed {
        /// As it was given.
        command: String,
        status: Status,
        /// The last lines that it printed.
        tail: Vec<String>,
    },
    /// The command took more than it may.
    #[error("command {command:?} was stopped: {exceeded}")]
    Stopped {
        /// As it was given.
        command: String,
        exceeded: Exceeded,
    },
    /// A package manager said no.
    #[error("package {packages} can't be installed: {reason}")]
    Install {
        packages: String,
        /// What it said, in one line.
        reason: String,
    },
    /// Packages come by the network, and nothing of it is to be used.
    #[error("{command}: needs network access, which is off")]
    Offline {
        /// As it was given.
        command: String,
    },
    /// Symlinks make what a command looked up too costly to find.
    #[error("what the command looked up: {0}")]
    Lookups(tree::ResolveError),
    /// No mode works on this machine.
    #[error("no sandbox works here: {}", Tried(.0))]
    Unavailable(Vec<Unavailable>),
    /// The program isn't in the image.
    #[error("command {program:?}: no such program in the image")]
    NotFound {
        /// As it was given.
        program: String,
    },
    /// The program is there, but not the shell or loader that it needs.
    #[error("command {program:?} needs {interpreter:?}, which the image lacks")]
    NoInterpreter {
        /// Path of the program.
        program: String,
        /// Path of the interpreter.
        interpreter: String,
    },
    /// The program is for another machine, and nothing on this host runs it.
    #[error("command {program:?} is for {machine}, and this host can't run that")]
    WrongMachine {
        /// Path of the program.
        program: String,
        /// The architecture's name, or its ELF number.
        machine: String,
    },
    /// execve(2) failed for another reason.
    #[error("command {program:?}: {source}")]
    Exec {
        /// As it was given.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A step on the way into the sandbox, or back, failed.
    #[error("sandbox: {step}: {message}")]
    Step {
        /// What was being done.
        step: String,
        /// What the system said.
        message: String,
    },
    /// The helper process ended without a report.
    #[error("sandbox: the helper process ended early{}", Tail(.0))]
    HelperDied(
        /// What it printed last.
        Vec<String>,
    ),
    /// The helper broke the protocol.
    #[error("sandbox: internal error: the helper process didn't report {expected}")]
    Protocol {
        /// What it had been ordered to report.
        expected: &'static str,
    },
    /// [`crate::init`] wasn't called.
    #[error("sandbox: this program doesn't call sandbox::init() first in main()")]
    NotInitialised,
    #[error("command is empty")]
    Empty,
    /// Nothing is known of how packages are installed in this image.
    #[error("image has no package manager that is known here")]
    NoPackageManager,
    /// A package name that no manager takes.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The path of an input file isn't valid in the root.
    #[error(transparent)]
    Path(#[from] tree::PathError),
    /// A file of the host.
    #[error("{path:?}: {source}")]
    Io {
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The image's tree couldn't be made ready.
    #[error(transparent)]
    Tree(#[from] tree::TreeError),
    /// The root couldn't be written to the disk.
    #[error(transparent)]
    Host(#[from] tree::HostError),
    #[error(transparent)]
    Cache(#[from] store::CacheError),
    /// The changes don't fit the image.
    #[error(transparent)]
    Layer(#[from] oci::LayerError),
}

struct Tail<'a>(&'a [String]);

impl fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() {
            f.write_str("; the last that it printed:")?;
        }
        for line in self.0 {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

struct Tried<'a>(&'a [Unavailable]);

impl fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, one) in self.0.iter().enumerate() {
            write!(f, "{}{one}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
