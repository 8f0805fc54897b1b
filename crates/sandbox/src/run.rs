//! What is to be run, as data.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use super::RunLimits;

/// A command for the sandbox.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Program and arguments. A program without a slash is looked up in the image's PATH.
    pub argv: Vec<OsString>,
    /// Set for the command, over the image's own environment.
    pub env: Vec<(OsString, OsString)>,
    /// What of the network it sees.
    pub network: Network,
    /// The packages that a package manager is to install, which takes a network.
    pub installs: Option<Vec<String>>,
    /// Nothing of the network, whatever `network` says: what ran with it before is taken from the cache.
    pub offline: bool,
    /// Run even if the result of the same run is in the cache.
    pub rerun: bool,
    /// The isolation to use; `None`: the strongest that works.
    pub mode: Option<Mode>,
    /// Work in a copy without overlayfs, as on kernels that lack it.
    pub no_overlay: bool,
    /// What it may take.
    pub limits: RunLimits,
    /// Shown to the user in place of the command: "installing nginx (apt)".
    pub title: Option<String>,
}

impl Run {
    /// A program and its arguments.
    pub fn new(argv: Vec<OsString>) -> Self {
        Run { argv, ..Run::default() }
    }

    /// A line for the image's `/bin/sh`.
    pub fn shell(line: impl Into<OsString>) -> Self {
        Run::new(vec!["/bin/sh".into(), "-c".into(), line.into()])
    }

    /// For messages: the line itself, if it is one for the shell.
    pub(super) fn display(&self) -> String {
        if let Some(title) = &self.title {
            return title.clone();
        }
        let words: Vec<_> = self.argv.iter().map(|a| a.to_string_lossy()).collect();
        match words.as_slice() {
            [sh, c, line] if sh == "/bin/sh" && c == "-c" => line.to_string(),
            words => words.join(" "),
        }
    }
}

/// What of the network a command sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Network {
    /// The host's.
    #[default]
    Host,
    /// A loopback interface of its own and nothing else.
    None,
}

/// How a command is kept apart from the host, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Mode {
    /// The host's root, with few capabilities; no user name space.
    Root,
    /// A user name space with the range of ids that /etc/subuid and /etc/subgid give the user. newuidmap(1).
    Subuid,
    /// A user name space in which there is only root; owners are written down instead of set.
    Single,
}

/// An unknown word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("got {got:?}, expected {expected}")]
pub struct UnknownWord {
    got: String,
    expected: &'static str,
}

impl FromStr for Network {
    type Err = UnknownWord;
    fn from_str(s: &str) -> Result<Self, UnknownWord> {
        match s {
            "host" => Ok(Network::Host),
            "none" => Ok(Network::None),
            _ => Err(UnknownWord { got: s.to_owned(), expected: "host or none" }),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Network::Host => "host",
            Network::None => "none",
        })
    }
}

impl FromStr for Mode {
    type Err = UnknownWord;
    fn from_str(s: &str) -> Result<Self, UnknownWord> {
        match s {
            "root" => Ok(Mode::Root),
            "subuid" => Ok(Mode::Subuid),
            "single" => Ok(Mode::Single),
            _ => Err(UnknownWord { got: s.to_owned(), expected: "root, subuid or single" }),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Root => "root",
            Mode::Subuid => "subuid",
            Mode::Single => "single",
        })
    }
}
