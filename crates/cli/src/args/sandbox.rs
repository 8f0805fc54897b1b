//! The sandbox's part of a command line.

use oci::Rootfs;
use sandbox::{Mode, Network, Run, SandboxError, packages, run};
use store::Cache;
use tree::Events;

/// What is to be run in the image before anything is taken out of it.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Commands in the image")]
pub(crate) struct SandboxArgs {
    /// Run CMD in the image first, with the image's /bin/sh; repeatable
    #[arg(long = "run", value_name = "CMD", env = "CMD", hide_env_values = true)]
    pub run: Vec<String>,

    /// Install package P in the image first, with the image's package manager; repeatable. Packages are installed before
    /// commands run
    #[arg(long = "package", value_name = "P")]
    pub package: Vec<String>,

    /// Don't install missing packages automatically. By default, if a PATH is missing, the package called NAME is installed
    #[arg(long)]
    pub(crate) no_install: bool,

    /// Network access for what runs in the image
    #[arg(long, value_name = "host|none", default_value_t = Network::Host)]
    pub network: Network,

    /// Run commands again instead of reusing cached results
    #[arg(long)]
    pub rerun: bool,

    /// Nothing of the network, whatever the others say; the command line's `--offline`.
    #[arg(skip)]
    pub offline: bool,

    /// The isolation to use instead of the strongest that works
    #[arg(long, value_name = "root|subuid|single", env = "FLIX_SANDBOX", hide = true)]
    pub(crate) sandbox_mode: Option<Mode>,
}

impl SandboxArgs {
    /// Does what the arguments ask for: packages, then commands, in their order.
    ///
    /// # Errors
    /// No package manager, a bad package name, or a run that went wrong.
    pub(crate) fn apply(
        &self,
        mut rootfs: Rootfs,
        cache: &Cache,
        events: &dyn Events,
    ) -> Result<Rootfs, SandboxError> {
        if !self.package.is_empty() {
            rootfs = self.install(rootfs, &self.package, cache, events)?;
        }
        for command in &self.run {
            rootfs = run(rootfs, &self.with_settings(Run::shell(command)), cache, events)?;
        }
        Ok(rootfs)
    }

    /// Installs packages under these settings.
    ///
    /// # Errors
    /// No package manager, a bad package name, or a run that went wrong.
    pub(crate) fn install(
        &self,
        rootfs: Rootfs,
        names: &[String],
        cache: &Cache,
        events: &dyn Events,
    ) -> Result<Rootfs, SandboxError> {
        let manager = packages::detect(&rootfs.tree).ok_or(SandboxError::NoPackageManager)?;
        run(rootfs, &self.with_settings(manager.install(names)?), cache, events)
    }

    /// The run with this network and mode.
    pub(crate) fn with_settings(&self, mut run: Run) -> Run {
        run.network = self.network;
        run.rerun = self.rerun;
        run.offline = self.offline;
        run.mode = self.sandbox_mode;
        run
    }
}
