//! Arguments that the commands share, as typed, and what they resolve to.

mod check;
pub(crate) use check::CheckArgs;

mod host_arch;

mod name;
pub(crate) use name::{NameArgError, extension_name};

mod other;
pub(crate) use other::OtherArgs;

mod output;
pub use output::OutputArgs;

mod output_path;
pub(crate) use output_path::OutputPathError;

mod packages;
pub(crate) use packages::{PACKAGE, PackageArgs, PathArg, PathArgError};

mod release;
pub use release::ReleaseArgs;

mod report;
pub use report::ReportArgs;
pub use report::written_line;

mod sandbox;
pub(crate) use sandbox::SandboxArgs;

mod selection;
pub(crate) use selection::SelectionArgs;

mod services;
pub(crate) use services::ServiceArgs;

mod source;
pub(crate) use source::ContextError;
pub use source::SourceArgs;

mod target;
pub use target::{LabelArgs, ReadTarget, TargetArgs};

mod texts;
pub use texts::{Shell, completions, manual_page};

#[cfg(test)]
mod tests;
