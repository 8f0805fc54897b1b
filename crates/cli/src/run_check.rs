//! The run check: what programs lack on a host, said before the image is written.

use std::collections::BTreeSet;

use oci::Config;
use run_check::{Check, Command, Outcome, Problem, Program, commands, minimal_host};
use sandbox::{MissingKind, SandboxError};
use store::Cache;
use tree::{Arch, Event, Events, Machine, Tree, TreePath, list_some};

use crate::args::{CheckArgs, SandboxArgs};

/// Paths that a warning names.
const NAMED: usize = 3;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CheckError {
    /// A command of the user's failed.
    #[error("check {command:?} ended with {ended}{}", lines(.output))]
    Failed {
        /// As typed.
        command: String,
        ended: String,
        /// What it printed.
        output: Vec<String>,
    },
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Tree(#[from] tree::TreeError),
    #[error(transparent)]
    Plan(#[from] flatwrap::PlanError),
    #[error(transparent)]
    Cache(#[from] store::CacheError),
}

fn lines(output: &[String]) -> String {
    match output {
        [] => String::new(),
        lines => format!("; it printed:\n  {}", lines.join("\n  ")),
    }
}

/// An empty directory, which is removed with this.
enum Scratch {
    Cache(store::cache::Scratch),
    Temporary(tempfile::TempDir),
}

impl Scratch {
    /// In the cache, or for one that can't be written in the system's directory of temporary files.
    fn new(cache: &Cache) -> Result<Scratch, CheckError> {
        let error = match cache.scratch("check") {
            Ok(scratch) => return Ok(Scratch::Cache(scratch)),
            Err(e) => e,
        };
        let temporary = tempfile::Builder::new().prefix("flix-check-").tempdir();
        temporary.map(Scratch::Temporary).map_err(|_| error.into())
    }
}

impl AsRef<std::path::Path> for Scratch {
    fn as_ref(&self) -> &std::path::Path {
        match self {
            Scratch::Cache(scratch) => scratch.path(),
            Scratch::Temporary(dir) => dir.path(),
        }
    }
}

/// What a command knows of its programs.
pub(crate) struct Programs {
    /// Those to be tried.
    pub(crate) programs: Vec<Program>,
    /// With the variables that they get.
    pub(crate) config: Config,
    /// What they see on a host.
    pub(crate) seen: Tree,
    /// Ends the sentence that names what is missing: an option that adds it.
    pub(crate) hint: &'static str,
}

/// Whether and how programs are tried.
pub(crate) struct RunCheck<'a> {
    pub(crate) args: &'a CheckArgs,
    pub(crate) sandbox: &'a SandboxArgs,
    pub(crate) cache: &'a Cache,
    pub(crate) machines: &'a BTreeSet<Machine>,
    pub(crate) events: &'a dyn Events,
}

impl RunCheck<'_> {
    /// Tries the programs of an extension, of which `see` knows what they see on a host. `original` is the image's root file
    /// system. Gives what came of each command.
    ///
    /// # Errors
    /// A command of the user's failed, or can't be run.
    pub(crate) fn run(
        &self,
        original: &Tree,
        extension: &Tree,
        see: impl FnOnce(Tree, bool) -> Result<Programs, CheckError>,
    ) -> Result<Vec<Outcome>, CheckError> {
        let is_asked = !self.args.check.is_empty();
        let host = Arch::host();
        let is_foreign =
            |m: &Machine| host.is_none_or(|host| host.machine() != *m && host.compat(*m).is_none());
        if !self.machines.is_empty() && self.machines.iter().all(is_foreign) && !is_asked {
            self.note("the programs are not for this machine: they weren't started to check what they need");
            return Ok(Vec::new());
        }
        let Programs { programs, config, seen, hint } = see(minimal_host(extension)?, is_asked)?;
        let commands = match is_asked {
            true => self.args.check.iter().cloned().map(Command::Asked).collect(),
            false => commands(original, &programs),
        };
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let check = Check {
            seen: &seen,
            original,
            config: &config,
            commands: &commands,
            mode: self.sandbox.sandbox_mode,
        };
        let outcomes = match check.run(|| Scratch::new(self.cache), self.events) {
            Ok(outcomes) => outcomes,
            // Nothing is wrong with the extension.
            Err(e @ (CheckError::Sandbox(_) | CheckError::Cache(_))) if !is_asked => {
                self.note(&format!("the programs weren't started to check what they need: {e}"));
                return Ok(Vec::new());
            }
            Err(e) => return Err(e),
        };
        for outcome in &outcomes {
            self.warn(outcome);
        }
        if let Some(hint) = outcomes.iter().any(|o| !o.problems.is_empty()).then_some(hint) {
            self.events.event(Event::Hint(hint.into()));
        }
        if let Some(failed) = outcomes.iter().find(|o| is_asked && !o.succeeded()) {
            return Err(CheckError::Failed {
                command: failed.command.clone(),
                ended: failed.ended(),
                output: failed.output.clone(),
            });
        }
        Ok(outcomes)
    }

    fn note(&self, text: &str) {
        self.events.event(Event::Note(text.into()));
    }

    fn warn(&self, outcome: &Outcome) {
        for kind in [MissingKind::Directory, MissingKind::Program, MissingKind::File] {
            let paths = outcome.problems.iter().filter_map(|p| match p {
                Problem::Missing(k, path) if *k == kind => Some(path),
                _ => None,
            });
            let paths: Vec<&TreePath> = paths.collect();
            if paths.is_empty() {
                continue;
            }
            let does = match kind {
                MissingKind::Directory => "writes to",
                MissingKind::Program => "starts",
                MissingKind::File => "looks for",
            };
            let text = format!(
                "{}: {does} {}, which the image has and a host won't have",
                outcome.command,
                list_some(&paths, NAMED)
            );
            self.events.event(Event::Warning(text.into()));
        }
        for problem in outcome.problems.iter().filter(|p| !matches!(p, Problem::Missing(..))) {
            self.events.event(Event::Warning(format!("{}: {problem}", outcome.command).into()));
        }
    }
}

/// For `--json`.
pub(crate) fn json(outcomes: &[Outcome]) -> serde_json::Value {
    let one = |outcome: &Outcome| {
        let problems: Vec<String> = outcome.problems.iter().map(ToString::to_string).collect();
        serde_json::json!({ "command": outcome.command, "ended": outcome.ended(), "problems": problems })
    };
    outcomes.iter().map(one).collect()
}
