//! Commands in a root file system, and what they changed as one more layer.
//!
//! The strongest [`Mode`] that works here is used: the host's root, a range of subordinate ids, or a user name space with
//! nobody but root in it. In all of them the command has user, mount, pid, ipc and uts name spaces of its own (and a
//! network, if asked), a root made by pivot_root(2), a small /dev, few capabilities and no way to the host's files; and the
//! layer that comes back is the same. See docs/decisions/0050-sandbox.md.

mod limits;
pub use limits::{Exceeded, RunLimits};

mod run;
pub use run::{Mode, Network, Run, UnknownWord};

pub mod packages;
pub use packages::{Manager, PackageError};

mod error;
pub use error::{End, SandboxError, Status};

mod unavailable;
pub use unavailable::{Cause, Unavailable};

// The program's side.
mod driver;
mod explain;
mod missing;
mod output;
mod prepare;
mod program;
mod subid;
mod traced;

// Between the two.
mod wire;

// The helper's side.
mod beneath;
mod changes;
mod command;
mod helper;
mod lookups;
mod lower;
mod owners;
mod pid1;
mod root;
mod seccomp;
mod sys;
mod tracer;

mod execute;
pub use execute::{Probed, init, layer, probe, run, run_in, trace};
pub use missing::{Looked, Missing, MissingKind};
