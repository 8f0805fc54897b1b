//! Arguments that the commands share, as typed, and what they resolve to.

mod host_arch;
pub use host_arch::HostArch;

mod other;
pub use other::{OtherArgs, OtherError};

mod output;
pub use output::OutputArgs;

mod output_path;
pub use output_path::OutputPathError;

mod release;
pub use release::ReleaseArgs;

mod report;
pub use report::{ReportArgs, written_line};

mod sandbox;
pub use sandbox::SandboxArgs;

mod source;
pub use source::{ContextError, SourceArgs};

#[cfg(test)]
mod tests;
