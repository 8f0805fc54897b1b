//! The run check's part of a command line.

/// What is tried before the image is written.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Run check")]
pub(crate) struct CheckArgs {
    /// Run CMD in a sandbox before writing the image, with /bin/sh, in just what a host would see, and fail if it fails; repeatable. By
    /// default, each program is started once: as its unit tests its configuration, or with --version
    #[arg(long, value_name = "CMD")]
    pub(crate) check: Vec<String>,

    /// Don't start programs before writing the image
    #[arg(long, conflicts_with = "check")]
    pub(crate) no_check: bool,
}
