//! The whole image behind entry points: programs that run in a private root, on a host that sees nothing of it.

pub mod options;
pub use options::{Bind, Bwrap, Map, Options, ParseError};

mod etc;
mod mounts;
pub use mounts::{Mount, MountError, Mounts, Source};

pub mod environment;
pub use environment::Variable;

mod command;
pub use command::{Command, CommandError, Process};

mod confinement;
mod plan;
mod service_user;
mod units;
pub use plan::{Plan, PlanError, Shown};

mod key_stores;

mod build;
pub use build::Report;

pub mod state;
pub use state::{StateDir, add_state};

mod narrow;
pub use narrow::{narrow, programs};

mod view;

mod prune;
pub use prune::Pruned;

pub mod quote;
pub mod script;
