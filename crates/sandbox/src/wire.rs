//! Messages between the program and its helper process: JSON, one message a line, over a socket pair.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{End, Exceeded, Mode, RunLimits, Status};

/// From the program to its helper.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// First: make the name spaces.
    Setup(Setup),
    /// newuidmap and newgidmap are through.
    Mapped,
    /// `lower` is written: run the command.
    Go(Box<Go>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Setup {
    pub(super) mode: Mode,
    /// A network name space of its own.
    pub(super) own_network: bool,
    /// Its `lower` is the root file system; `upper`, `work` and `root` are made beside it.
    pub(super) scratch: PathBuf,
    pub(super) overlay: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Go {
    /// Bytes, as all that comes from an image or a command line.
    pub(super) argv: Vec<Vec<u8>>,
    pub(super) env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bound over regular files of the root, read-only. Paths without a leading slash.
    pub(super) files: Vec<(Vec<u8>, Vec<u8>)>,
    /// What of `lower` has to be set from inside the name space.
    pub(super) fixups: Vec<Fixup>,
    /// What is below these paths, and they themselves, is no change.
    pub(super) ignored: Vec<Vec<u8>>,
    /// Files of `lower` that the image lacks.
    pub(super) added: Vec<Vec<u8>>,
    /// What the command may take; its changes may have as many bytes as it may write.
    pub(super) limits: RunLimits,
    /// Report what is looked up instead of what changed. Another command for the same `lower` may follow.
    pub(super) traced: bool,
    /// The network name space is the command's own.
    pub(super) own_network: bool,
    /// Over `lower` there is `lent` with files of the user's.
    pub(super) lent: bool,
    /// Commands that are tried in place of `argv`, one after the other.
    pub(super) probes: Vec<Vec<Vec<u8>>>,
    /// It is one of them: record what it is to make, too.
    pub(super) is_probe: bool,
}

impl Go {
    /// The same for another command over the same root, all of whose files are set by now.
    pub(super) fn with(&self, argv: &[OsString], env: &[(OsString, OsString)]) -> Go {
        let bytes = |s: &OsString| s.clone().into_vec();
        Go {
            argv: argv.iter().map(bytes).collect(),
            env: env.iter().map(|(k, v)| (bytes(k), bytes(v))).collect(),
            files: self.files.clone(),
            fixups: Vec::new(),
            ignored: self.ignored.clone(),
            added: self.added.clone(),
            limits: self.limits,
            traced: self.traced,
            own_network: self.own_network,
            lent: self.lent,
            probes: Vec::new(),
            is_probe: false,
        }
    }
}

/// A path that was looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Access {
    /// Absolute, as the command's own root directory has it. Neither normalized nor resolved.
    pub(super) path: Vec<u8>,
    /// Whether a symlink in the last place was followed.
    pub(super) followed: bool,
    /// Whether it was executed.
    pub(super) executed: bool,
    /// Whether it was to be made if it wasn't there.
    pub(super) made: bool,
}

/// Metadata of a file that only the owner of the name space can set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Fixup {
    /// Without a leading slash; empty for the root.
    pub(super) path: Vec<u8>,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// `None` for a symlink.
    pub(super) mode: Option<u32>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// From the helper to the program; some of it comes from the sandbox's first process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// Run newuidmap and newgidmap on the helper's process id.
    NeedMaps,
    /// The name spaces are there. With the reason, if overlayfs can't be used.
    Ready { no_overlay: Option<String> },
    /// The command couldn't be started.
    NoExec { errno: i32 },
    /// It ended. `unrecorded`: changes of owner were answered, but couldn't be written down.
    Ended { status: Status, unrecorded: bool },
    /// It was killed, since it took too much.
    Stopped(Exceeded),
    /// Some of what was looked up; before `Ended`.
    Looked(Vec<Access>),
    /// What came of the next command that was tried, after all that it looked up.
    Probed { end: End, output: Vec<u8> },
    /// All that was looked up is reported; in place of `Changes` and `Complete`.
    Traced,
    /// The changes are on the layer pipe from now on.
    Changes,
    /// All of the changes are through the pipe.
    Complete,
    /// Something the user should know.
    Warning(String),
    /// A step went wrong; the last message.
    Failed(Step),
}

/// Something that the helper couldn't do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Step {
    /// "new user name space".
    pub(super) step: String,
    /// What the system said.
    pub(super) message: String,
}

/// Names the step that an error belongs to.
pub(super) trait At<T> {
    fn at(self, step: &str) -> Result<T, Step>;
}

impl<T, E: Display> At<T> for Result<T, E> {
    fn at(self, step: &str) -> Result<T, Step> {
        self.map_err(|e| Step { step: step.to_owned(), message: e.to_string() })
    }
}

/// One end of the socket pair.
#[derive(Debug)]
pub(super) struct Channel(BufReader<UnixStream>);

impl Channel {
    pub(super) fn new(stream: UnixStream) -> Self {
        Channel(BufReader::new(stream))
    }

    pub(super) fn send(&self, message: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        // A peer that is gone shows as EPIPE; Rust programs ignore SIGPIPE.
        self.0.get_ref().write_all(&line)
    }

    /// Waits for the next message. `None`: the other end is gone.
    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut line = Vec::new();
        match self.0.read_until(b'\n', &mut line) {
            Ok(_) if line.last() != Some(&b'\n') => Ok(None),
            Ok(_) => Ok(Some(serde_json::from_slice(&line)?)),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(e) => Err(e),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
