//! The run check: before an extension is written, its programs are started once in a sandbox, in just the files that a host
//! will see: the extension on a host that has nothing of its own but what every host has. What is missing there shows
//! now, not on the host.
//!
//! Programs say little when they fail, and not knowing `--version` is no failure. So what counts is what they looked for: a
//! path that the image has and the host won't.

mod host;
pub use host::{merge, minimal_host};

mod commands;
pub use commands::{Command, Program, commands};

mod part;

mod check;
pub use check::{Check, Outcome, Problem};
