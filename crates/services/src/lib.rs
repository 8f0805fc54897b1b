//! What a service needs beside its program: users, state, configuration, and when it starts.
//!
//! A package's maintainer scripts make all that on a host where the package is installed. [`Inventory::read`] collects from
//! an image what they have made; [`Needs::new`] decides what the units of an extension need of it; [`Needs::write`] adds
//! files by which a host makes it: sysusers.d, tmpfiles.d, factory copies of /etc, and a unit that applies them before the
//! services start, also if the extension is merged while the host runs.

mod accounts;
pub use accounts::User;

mod inventory;
pub use inventory::{Inventory, ServicesError};

mod text;

mod script;

mod named;

mod places;
pub use places::{Owner, StateKind, StatePath, is_configuration};

mod state;

mod configuration;
pub use configuration::{ConfigurationPath, is_secret};

mod first_start;
pub use first_start::{FIRST_START_PROGRAMS, FirstStart, KEY_MAKERS};

mod unit;

mod needs;
pub use needs::{Etc, Needs, Options, WithoutUnits};

mod setup;
pub use setup::upheld;

mod start;
pub use start::{Enabled, StartError, enable, units};

mod confext;
pub use confext::confext;

#[cfg(test)]
mod tests;
