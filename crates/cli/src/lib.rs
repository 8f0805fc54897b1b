//! Command lines: the flix and flatwrap commands, and what the bakery command shares with them.
//!
//! Arguments, environment variables, the terminal and hints are known here and in the commands; the libraries below take
//! resolved options and return data and typed errors.

mod args;
pub use args::{
    LabelArgs, OutputArgs, ReadTarget, ReleaseArgs, ReportArgs, Shell, SourceArgs, TargetArgs, completions,
    manual_page, written_line,
};

mod environment;
pub use environment::environment;

mod terminal;
pub use terminal::{Terminal, Verbosity};

mod message;
pub use message::{print, reasons};

mod hint;
pub use hint::hint;

mod frame;
pub use frame::{end, parse};

mod host_files;
pub use host_files::{ReadHost, read_host};

mod provenance;

mod root;

mod selection;

mod lazy_database;

mod package_selection;

mod private_root;

mod service_files;
pub use service_files::enable;

mod run_check;

mod convert;

pub mod flatwrap;
pub mod flix;
