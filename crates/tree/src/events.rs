//! Events that a library reports to its caller. Libraries never print: they send events, the command line draws them.

use std::borrow::Cow;

/// Something worth telling the person who waits.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// A new step began: "pulling docker.io/library/debian:bookworm".
    Step(Cow<'a, str>),
    /// Work of known or unknown length went on. `task` names it, one bar each; `done` and `total` are bytes.
    Progress {
        /// What is in progress, the same text at each report.
        task: &'a str,
        /// Bytes done so far.
        done: u64,
        /// Bytes in all, if known.
        total: Option<u64>,
    },
    /// The task of this name ended, well or not.
    Done {
        /// The name given in `Progress`.
        task: &'a str,
    },
    /// Nothing failed, but the user should know: shown on a `warning:` line.
    Warning(Cow<'a, str>),
    /// A decision taken on the user's behalf: shown on a `note:` line.
    Note(Cow<'a, str>),
    /// What helps after a warning: shown on a `hint:` line.
    Hint(Cow<'a, str>),
    /// A line that a command in the sandbox printed.
    Output(&'a str),
}

/// Where events go. Called from several threads at once.
pub trait Events: Sync {
    /// Takes one event. Must not block for long.
    fn event(&self, event: Event<'_>);
}

/// Swallows all events.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Events for Silent {
    fn event(&self, _: Event<'_>) {}
}
