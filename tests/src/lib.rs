//! End-to-end harness: real parts, started the way a person would start them.
//!
//! Everything that takes long to make (Debian roots, a kernel) is kept below `target/e2e` and made once; everything
//! else lives in a [`Work`] directory that goes away with the test. docs/testing.md says what runs where.

pub mod place;
pub mod program;
pub use program::{Outcome, Program, place_program};

pub mod work;
pub use work::{Account, Work};

pub mod apk;
pub mod browser;
pub mod contents;
pub mod fault_proxy;
pub mod guides;
pub mod http;
pub mod images;
pub mod layout;
pub mod listing;
pub mod registry;
pub mod roots;
pub mod upstream;
pub use upstream::Upstream;
pub mod world;
pub use world::World;

pub mod host;
pub use host::Host;
pub mod daemons;
pub mod matrix;
pub mod updater;
pub mod uses;
pub use updater::Updater;
pub mod measure;
pub mod vm;
pub use vm::Vm;
