//! The whole image behind entry points: programs that run in a private root, on a host that sees nothing of it.

pub mod options;
pub use options::{Bind, Bwrap, Map, Options, ParseError};

pub mod mounts;
pub use mounts::{Mount, MountError, Mounts, Source};

pub mod environment;
pub use environment::{Precedence, Variable};

pub mod command;
pub use command::{Command, CommandError, Process};

pub mod plan;
mod units;
pub use plan::{Plan, PlanError, Shown};
pub use units::NOT_FOLLOWED;

mod build;
pub use build::Report;

pub mod prune;
pub use prune::Pruned;

pub mod quote;
pub mod script;
