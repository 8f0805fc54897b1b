//! What the extension's services get beside their programs, as typed.

/// Services of the extension.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Services and configuration")]
pub(crate) struct ServiceArgs {
    /// Start this unit of the extension when the extension is merged and on each boot; repeatable
    #[arg(long, value_name = "UNIT")]
    pub(crate) enable: Vec<String>,

    /// Restart this unit when the extension is merged, refreshed, or unmerged (requires a systemd from 2026; others ignore
    /// it); repeatable
    #[arg(long, value_name = "UNIT")]
    pub(crate) restart: Vec<String>,

    /// Leave out what packages need beside their files: users, directories in /var, and copies of files in /etc
    #[arg(long)]
    pub(crate) no_service_files: bool,

    /// Copy the files that the image has in the services' directories in /var to hosts that lack them
    #[arg(long, conflicts_with = "no_service_files")]
    pub(crate) state_files: bool,

    /// Write files in /etc to a second image, NAME.confext.raw, for systemd-confext, instead of copying them to hosts that
    /// lack them
    #[arg(long, conflicts_with = "no_service_files")]
    pub(crate) confext: bool,
}
