//! Commands tried, and what came of them.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

use oci::Config;
use sandbox::{End, MissingKind, Mode, Probed, Run, RunLimits, SandboxError, Status, probe};
use tree::{Events, StaticPath, Tree, TreePath};

use crate::part::Part;
use crate::{Command, host};

/// For a command that was found here: a program that says its version takes a few milliseconds, and one that does something else
/// needn't come to its end.
const FOUND: Duration = Duration::from_millis(500);
/// For a command that the user gave.
const ASKED: Duration = Duration::from_secs(60);

/// A check to be made.
#[derive(Debug)]
pub struct Check<'a> {
    /// What the programs see.
    pub seen: &'a Tree,
    /// The image's own root file system.
    pub original: &'a Tree,
    /// With the variables that the programs get.
    pub config: &'a Config,
    /// What is run. All of one kind.
    pub commands: &'a [Command],
    /// The isolation to use; `None`: whatever works.
    pub mode: Option<Mode>,
}

/// What came of a command.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// As it is shown: `nginx -t (nginx.service)`.
    pub command: String,
    /// How it ended.
    pub end: End,
    /// The first lines that it printed.
    pub output: Vec<String>,
    /// What would go wrong on a host.
    pub problems: Vec<Problem>,
}

/// What would go wrong on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The program didn't start: what the system or the loader says.
    Start(String),
    /// The test of its configuration failed, and nothing is known to be missing: what it complained of.
    Test(String),
    /// It looked for something that the image has, and the host won't have.
    Missing(MissingKind, TreePath),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Start(why) => write!(f, "doesn't start: {why}"),
            Problem::Test(said) => write!(f, "fails on a host that has nothing else: {said}"),
            Problem::Missing(MissingKind::Directory, path) => {
                write!(f, "needs the directory {path}, which a host won't have")
            }
            Problem::Missing(MissingKind::Program, path) => {
                write!(f, "starts {path}, which a host won't have")
            }
            Problem::Missing(MissingKind::File, path) => {
                write!(f, "looks for {path}, which a host won't have")
            }
        }
    }
}

impl Outcome {
    /// Whether a command of the user's did what it was to do.
    pub fn succeeded(&self) -> bool {
        self.end == End::Ended(Status::Exited(0))
    }

    /// How it ended, for a message.
    pub fn ended(&self) -> String {
        match self.end {
            End::Ended(status) => status.to_string(),
            End::NotStarted(errno) => std::io::Error::from_raw_os_error(errno).to_string(),
            End::Stopped(exceeded) => exceeded.to_string(),
        }
    }
}

/// Of no use to a host's programs, or nothing that an extension could bring.
const IGNORED: [StaticPath; 6] = [
    StaticPath::new("/home"),
    StaticPath::new("/root"),
    StaticPath::new("/run/lock"),
    StaticPath::new("/tmp"),
    StaticPath::new("/var/cache"),
    StaticPath::new("/var/tmp"),
];

impl Check<'_> {
    /// Tries the commands. `scratch` gives empty directories, which are removed.
    ///
    /// # Errors
    /// No sandbox works here, or none that sees what a program does.
    pub fn run<S: AsRef<Path>, E: From<SandboxError>>(
        &self,
        scratch: impl Fn() -> Result<S, E>,
        events: &dyn Events,
    ) -> Result<Vec<Outcome>, E> {
        let is_asked = self.commands.iter().any(|c| matches!(c, Command::Asked(_)));
        let time = if is_asked { ASKED } else { FOUND };
        let words: Vec<Vec<OsString>> = self.commands.iter().map(words).collect();
        let run = Run { mode: self.mode, limits: RunLimits { time: Some(time), ..LIMITS }, ..Run::default() };
        let mut part = match is_asked {
            // A command of the user's may take long, and is run once.
            true => Part::whole(self.seen),
            false => Part::new(self.seen, &self.first()),
        };
        for round in 0.. {
            if round == ROUNDS {
                part = Part::whole(self.seen);
            }
            let scratch = scratch()?;
            let probed = probe(&part.tree, self.config, &run, &words, scratch.as_ref(), events)?;
            let mut grows = false;
            for probed in &probed {
                grows |= part.grow(&probed.looked);
            }
            // The kernel looks a script's interpreter up without anybody's seeing it.
            let is_sure =
                part.is_whole() || !probed.iter().any(|p| start_problem(p.end, &p.output).is_some());
            if !grows && !is_sure {
                part = Part::whole(self.seen);
                continue;
            }
            if !grows {
                let outcomes = self.commands.iter().zip(probed).map(|(c, p)| self.outcome(c, p));
                return Ok(outcomes.collect::<Result<_, SandboxError>>()?);
            }
        }
        Ok(Vec::new())
    }

    fn outcome(&self, command: &Command, probed: Probed) -> Result<Outcome, SandboxError> {
        let Probed { end, output, looked } = probed;
        let found = looked.missing(self.seen, self.original)?.into_iter();
        let found = found.filter(|m| !ignored(&m.path)).map(|m| Problem::Missing(m.kind, m.path));
        let mut problems: Vec<Problem> = start_problem(end, &output).into_iter().chain(found).collect();
        let is_test = matches!(command, Command::Found { is_test: true, .. });
        let failed = matches!(end, End::Ended(status) if status != Status::Exited(0));
        if problems.is_empty() && is_test && failed {
            problems.push(Problem::Test(complaint(&output)));
        }
        Ok(Outcome { command: command.to_string(), end, output, problems })
    }

    /// What the programs need to start, as far as it can be known: themselves, with their loaders and libraries, and files of
    /// their names in /etc.
    fn first(&self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let programs = self.commands.iter().filter_map(|command| match command {
            Command::Found { words, .. } => Some(words),
            Command::Asked(_) => None,
        });
        for words in programs {
            let Some(program) = words.first() else { continue };
            // Arguments may be files, too; of others nothing is found.
            out.extend(words.iter().filter(|word| word.first() == Some(&b'/')).cloned());
            out.extend(host::started(self.seen, program));
            let name = program.rsplit(|&b| b == b'/').next().unwrap_or_default();
            out.push([b"/etc/", name].concat());
        }
        out
    }
}

/// What a command may take.
const LIMITS: RunLimits =
    RunLimits { time: None, memory: Some(2 << 30), processes: Some(256), disk: 1 << 30 };

/// Parts of a large root that are tried before the whole one.
const ROUNDS: usize = 6;

fn words(command: &Command) -> Vec<OsString> {
    match command {
        Command::Found { words, .. } => words.iter().map(|w| OsString::from_vec(w.clone())).collect(),
        Command::Asked(line) => vec!["/bin/sh".into(), "-c".into(), line.into()],
    }
}

fn ignored(path: &TreePath) -> bool {
    IGNORED.iter().any(|dir| path.starts_with(&dir.path())) || host::is_hosts(path)
}

/// Whether a loader says it: glibc's, or musl's. Programs may well end with the loaders' exit status (busybox, for a name
/// that it doesn't know).
fn is_loaders(line: &str) -> bool {
    ["error while loading shared libraries: ", "Error loading shared library ", "Error relocating "]
        .iter()
        .any(|text| line.contains(text))
}

/// The line that says what is wrong: many print their name and what they read first.
fn complaint(output: &[String]) -> String {
    const WORDS: [&str; 10] = [
        "error",
        "cannot",
        "can't",
        "could not",
        "couldn't",
        "unable",
        "no such",
        "not found",
        "denied",
        "fail",
    ];
    let complains = |line: &&String| {
        let line = line.to_ascii_lowercase();
        WORDS.iter().any(|word| line.contains(word))
    };
    output.iter().find(complains).or(output.last()).cloned().unwrap_or_default()
}

/// What an end says of the start alone.
fn start_problem(end: End, output: &[String]) -> Option<Problem> {
    match end {
        End::NotStarted(errno) => Some(Problem::Start(std::io::Error::from_raw_os_error(errno).to_string())),
        End::Ended(Status::Exited(126 | 127)) if output.iter().any(|line| is_loaders(line)) => {
            output.iter().find(|line| is_loaders(line)).cloned().map(Problem::Start)
        }
        End::Ended(_) | End::Stopped(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_complains() {
        let of = |lines: &[&str]| complaint(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>());
        let radius = [
            "FreeRADIUS Version 3.2.1",
            "Starting - reading configuration files ...",
            "Unable to check file \"/etc/ssl/certs/ca-certificates.crt\": No such file or directory",
            "rlm_eap (EAP): Failed to initialise rlm_eap_tls",
        ];
        assert_eq!(of(&radius), radius[2]);
        assert_eq!(of(&["x 1.0", "usage: x FILE"]), "usage: x FILE");
        assert_eq!(of(&[]), "");
    }
}
