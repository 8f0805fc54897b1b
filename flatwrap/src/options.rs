//! What the user asked for, already parsed.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::command::Process;
use sysext::ExtensionName;
use sysext::lint::needs::PRIVATE_ROOTS;
use tree::{PathError, TreePath};

/// Whose directory a program sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Map {
    /// The host's.
    Host,
    /// The image's, read-only.
    Chroot,
    /// The image's, read-only, and over each file or directory in it the host's of the same name, but for what belongs to
    /// the image's own programs.
    #[default]
    Merge,
}

/// When the entry points use bwrap. Root never does; a host without bwrap does with unshare.
///
/// bwrap stays behind as the program's parent: a signal to the entry point's process reaches bwrap only, Ctrl-C ends
/// bwrap while a program that handles it goes on, and systemd's notify and socket protocols see the wrong process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bwrap {
    /// Where the kernel keeps plain programs from making user namespaces.
    #[default]
    Auto,
    /// Wherever the host has it.
    Always,
    /// Never.
    Never,
}

/// `--bind SRC[:DST][:OPTION,…]`: a file or directory of the host, and where a program sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// On the host.
    pub source: TreePath,
    /// In the private root.
    pub target: TreePath,
    /// `ro`: not writable through this place.
    pub read_only: bool,
    /// `optional`: no error if the host lacks it.
    pub optional: bool,
    /// `file`: the place is made for a file where the image has nothing there.
    pub file: bool,
}

/// What the plan is made from.
#[derive(Debug, Clone)]
pub struct Options {
    /// The extension's name.
    pub name: ExtensionName,
    /// Where the image's files go.
    pub sysroot: TreePath,
    /// Whose /etc.
    pub etc: Map,
    /// Names in /etc that are the host's in a merged one, even if the image has none of them.
    pub etc_names: BTreeSet<Vec<u8>>,
    /// Whose /var.
    pub var: Map,
    /// Whose /home, and whose /root.
    pub home: Map,
    /// Directories that are always the host's; those which a host lacks are skipped.
    pub host_defaults: Vec<TreePath>,
    /// Directories of the host asked for by name; a host without one is an error at the start.
    pub host_dirs: Vec<TreePath>,
    /// Directories that are the image's, also below one that is the host's.
    pub chroot_dirs: Vec<TreePath>,
    /// More of the host, at other places.
    pub binds: Vec<Bind>,
    /// Environment variables that the entry points set.
    pub env: Vec<(String, String)>,
    /// Those of the image's config; how they meet the caller's, `Precedence` says.
    pub image_env: Vec<(String, String)>,
    /// Names of those that the caller may set otherwise, whatever they are about.
    pub caller_env: Vec<String>,
    /// What the image's config says is to be run, if an entry point is to be made of it: `/usr/bin/NAME`.
    pub process: Option<Process>,
    /// The working directory of the programs, instead of the caller's.
    pub workdir: Option<TreePath>,
    /// Programs stay in /usr/sbin instead of moving to /usr/bin.
    pub keep_sbin: bool,
    /// Whether what a running program never needs stays out; if so, the locales that stay in.
    pub prune: Option<Vec<String>>,
    /// When others than root get their private root from bwrap.
    pub bwrap: Bwrap,
    /// Whether units are allowed what entry points need and they forbid.
    pub relax_units: bool,
}

/// Directories that are the host's unless said otherwise.
pub(crate) const HOST_DIRS: [&str; 6] = ["/dev", "/proc", "/run", "/sys", "/tmp", "/var/tmp"];

impl Options {
    /// The variables of an image's config.
    pub fn take_variables(&mut self, config: &oci::Config) {
        let variables = config.variables().into_iter();
        self.image_env = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    }

    /// The defaults: /var and the homes are the host's, /etc is merged.
    ///
    /// # Errors
    /// None for names that can be one path component.
    pub fn new(name: ExtensionName) -> Result<Self, PathError> {
        let sysroot = PRIVATE_ROOTS.path().join(name.as_str())?;
        Ok(Options {
            name,
            sysroot,
            etc: Map::Merge,
            etc_names: BTreeSet::new(),
            var: Map::Host,
            home: Map::Host,
            host_defaults: HOST_DIRS.iter().map(TreePath::new).collect::<Result<_, _>>()?,
            host_dirs: Vec::new(),
            chroot_dirs: Vec::new(),
            binds: Vec::new(),
            env: Vec::new(),
            image_env: Vec::new(),
            caller_env: Vec::new(),
            process: None,
            workdir: None,
            keep_sbin: false,
            prune: None,
            bwrap: Bwrap::Auto,
            relax_units: false,
        })
    }
}

/// Why a word of the command line is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ParseError {
    /// A path that isn't absolute.
    #[error("path {0:?} is relative, expected an absolute path")]
    Relative(String),
    /// The root can't be used here.
    #[error("path {0:?} is the root directory")]
    Root(String),
    /// A control character, which no script and no table should have to carry.
    #[error("{0:?} has a control character")]
    Control(String),
    /// Not a path that Linux takes.
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("{word:?} has too many parts, expected {expected}")]
    TooManyParts { word: String, expected: &'static str },
    /// A bind option that isn't there.
    #[error("bind option {0:?} is unknown, expected ro, file or optional")]
    BindOption(String),
    /// Not one of the values of a map.
    #[error("got {0:?}, expected host, chroot or merge")]
    Map(String),
    /// No such rule for bwrap.
    #[error("got {0:?}, expected auto, always or never")]
    Bwrap(String),
    /// Not `NAME=VALUE`.
    #[error(
        "{0:?} is neither NAME=VALUE nor NAME, NAME being letters, digits and underscores, no digit first; of NAME=VALUE, dots and hyphens, too"
    )]
    Env(String),
    /// A variable that the host's shell would not pass on as it is.
    #[error("variable {0} belongs to the shell that starts the program, which doesn't pass it on")]
    ShellsOwn(String),
}

/// Variables that can't be assigned in some shell that a host may have as `sh` (bash ends then), or that it changes.
const SHELLS_OWN: [&str; 22] = [
    "BASHOPTS",
    "BASHPID",
    "BASH_VERSINFO",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "HISTCMD",
    "IFS",
    "LINENO",
    "OLDPWD",
    "OPTIND",
    "PPID",
    "PWD",
    "RANDOM",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
    "UID",
    "_",
];

/// An absolute path without control characters and not the root.
///
/// # Errors
/// Anything else.
pub fn absolute(text: &str) -> Result<TreePath, ParseError> {
    if text.chars().any(char::is_control) {
        return Err(ParseError::Control(text.to_owned()));
    }
    if !text.starts_with('/') {
        return Err(ParseError::Relative(text.to_owned()));
    }
    let path = TreePath::new(text)?;
    if path.is_root() { Err(ParseError::Root(text.to_owned())) } else { Ok(path) }
}

/// What `--env` says of a variable: its value, or that it is the caller's.
pub type Setting = (String, Option<String>);

/// `NAME=VALUE` or `NAME` for `--env`.
///
/// # Errors
/// A name that a shell can't assign or doesn't leave alone.
pub fn environment(text: &str) -> Result<Setting, ParseError> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let is_kept = is_name(name) || value.is_some() && is_plain(name);
    if !is_kept {
        return Err(ParseError::Env(text.to_owned()));
    }
    if value.is_some_and(|v| v.contains('\0')) {
        return Err(ParseError::Control(text.to_owned()));
    }
    if is_shells_own(name) {
        return Err(ParseError::ShellsOwn(name.to_owned()));
    }
    Ok((name.to_owned(), value.map(str::to_owned)))
}

/// A name that shells can assign. POSIX.1-2017, XBD 3.235.
pub(crate) fn is_name(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// A name that env(1) sets and that needs no quotes, whether shells can assign it or not: `discovery.type`.
pub(crate) fn is_plain(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    !name.is_empty() && name.chars().all(word) && !name.starts_with('-')
}

/// Whether a shell has a use of its own for the name.
pub(crate) fn is_shells_own(name: &str) -> bool {
    SHELLS_OWN.contains(&name)
}

/// `--workdir`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workdir {
    /// The image's.
    Image,
    /// This one.
    Is(TreePath),
}

impl FromStr for Workdir {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        match s {
            "image" => Ok(Workdir::Image),
            s => absolute(s).map(Workdir::Is),
        }
    }
}

impl FromStr for Map {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        match s {
            "host" => Ok(Map::Host),
            "chroot" => Ok(Map::Chroot),
            "merge" => Ok(Map::Merge),
            other => Err(ParseError::Map(other.to_owned())),
        }
    }
}

impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Map::Host => "host",
            Map::Chroot => "chroot",
            Map::Merge => "merge",
        })
    }
}

impl FromStr for Bwrap {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        match s {
            "auto" => Ok(Bwrap::Auto),
            "always" => Ok(Bwrap::Always),
            "never" => Ok(Bwrap::Never),
            other => Err(ParseError::Bwrap(other.to_owned())),
        }
    }
}

impl FromStr for Bind {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        let parts: Vec<&str> = s.split(':').collect();
        let (source, target, options) = match parts.as_slice() {
            [source] => (*source, *source, ""),
            [source, second] if second.starts_with('/') => (*source, *second, ""),
            [source, options] => (*source, *source, *options),
            [source, target, options] => (*source, *target, *options),
            _ => {
                let expected = "SRC[:DST][:OPTIONS]";
                return Err(ParseError::TooManyParts { word: s.to_owned(), expected });
            }
        };
        let (source, target) = (absolute(source)?, absolute(target)?);
        let mut bind = Bind { source, target, read_only: false, optional: false, file: false };
        for option in options.split(',').filter(|o| !o.is_empty()) {
            match option {
                "ro" => bind.read_only = true,
                "rw" => bind.read_only = false,
                "optional" => bind.optional = true,
                "file" => bind.file = true,
                other => return Err(ParseError::BindOption(other.to_owned())),
            }
        }
        Ok(bind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds() {
        let show = |s: &str| match s.parse::<Bind>() {
            Ok(b) => {
                let flags = [(b.read_only, "ro"), (b.optional, "optional"), (b.file, "file")];
                let flags: Vec<_> = flags.iter().filter(|f| f.0).map(|f| f.1).collect();
                format!("{} at {} [{}]", b.source, b.target, flags.join(" "))
            }
            Err(e) => format!("error: {e}"),
        };
        for (text, expected) in [
            ("/nix", "/nix at /nix []"),
            ("/nix:ro", "/nix at /nix [ro]"),
            ("/a:/b", "/a at /b []"),
            ("/a:/b:ro,file,optional", "/a at /b [ro optional file]"),
            ("/a b//c:/d/", "/a b/c at /d []"),
            ("a:/b", "error: path \"a\" is relative, expected an absolute path"),
            ("/a:/", "error: path \"/\" is the root directory"),
            ("/a:rwx", "error: bind option \"rwx\" is unknown, expected ro, file or optional"),
            ("/a:/b:ro:x", "error: \"/a:/b:ro:x\" has too many parts, expected SRC[:DST][:OPTIONS]"),
            ("/a/../b", "error: path \"/a/../b\" has a \"..\" component"),
            ("/a\n/b", "error: \"/a\\n/b\" has a control character"),
        ] {
            assert_eq!(show(text), expected, "{text:?}");
        }
    }

    #[test]
    fn variables() {
        assert_eq!(environment("A_1=b=c\n").unwrap(), ("A_1".into(), Some("b=c\n".into())));
        assert_eq!(environment("A").unwrap(), ("A".into(), None));
        for bad in ["", "=x", "-A=x", "A.B", "A$(x)=y", "A B=c", "A;B=c"] {
            assert!(environment(bad).is_err(), "{bad:?}");
        }
        assert_eq!(environment("UID=0"), Err(ParseError::ShellsOwn("UID".into())));
    }
}
