//! Which hosts merge the extension.

use std::collections::BTreeSet;

use clap::Args;
use store::Environment;
use sysext::Release;
use sysext::extension::ReleaseError;
use tree::{Arch, Events, Machine};

use super::host_arch::{self, HostArch};

/// Where the extension merges.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Release file")]
pub struct ReleaseArgs {
    /// Restrict the extension to hosts with this os-release ID, or _any; "flatcar" implies --sysext-level 1.0
    #[arg(long, env = "OS", value_name = "ID", default_value = "_any", hide_env_values = true)]
    pub os: String,

    /// Require this SYSEXT_LEVEL of the host
    #[arg(long, value_name = "LEVEL")]
    pub sysext_level: Option<String>,

    /// Require this VERSION_ID of the host
    #[arg(long, value_name = "VERSION")]
    pub(crate) os_version: Option<String>,

    /// Restrict the extension to hosts of this architecture, or "any". Defaults to that of the programs; 32-bit programs of a
    /// 64-bit image, and all 32-bit x86 programs, default to the 64-bit architecture, since systemd compares it with the
    /// kernel's
    #[arg(long, value_name = "ARCH")]
    pub(crate) host_arch: Option<HostArch>,

    /// Reload the host's service manager after merging [default: if the extension has units]
    #[arg(
        long, env = "RELOAD", value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", value_parser = parse_bool, hide_env_values = true,
    )]
    pub reload: Option<bool>,

    /// Don't reload the service manager after merging
    #[arg(long, overrides_with = "reload")]
    pub no_reload: bool,

    /// Set SYSEXT_SCOPE: any of system, portable, and initrd
    #[arg(long, value_name = "WORDS")]
    pub scope: Option<String>,
}

fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

impl ReleaseArgs {
    /// As if nothing was typed: defaults, and the variables of the environment.
    ///
    /// # Errors
    /// A variable's value isn't one of its option's.
    pub fn from_environment(environment: &Environment) -> Result<ReleaseArgs, String> {
        let reload =
            environment.text("RELOAD").map(parse_bool).transpose().map_err(|e| format!("RELOAD: {e}"))?;
        Ok(ReleaseArgs {
            os: environment.text("OS").unwrap_or("_any").to_owned(),
            sysext_level: None,
            os_version: None,
            host_arch: None,
            reload,
            no_reload: false,
            scope: None,
        })
    }

    /// The release file's `ARCHITECTURE=`: that of the hosts, which needn't be the programs' own. systemd-sysext holds it
    /// against uname(2)'s. `programs`: what the programs are for; `image`: what the image was chosen for. What a host needs
    /// to run the programs is reported.
    pub fn architecture(
        &self,
        programs: &BTreeSet<Machine>,
        image: Option<Arch>,
        events: &dyn Events,
    ) -> Option<Arch> {
        host_arch::architecture(self.host_arch, programs, image, events)
    }

    /// The release file for an architecture. `has_units` decides about the reload if the user didn't.
    ///
    /// # Errors
    /// A value of another form than os-release(5) asks for.
    pub fn release(&self, architecture: Option<Arch>, has_units: bool) -> Result<Release, ReleaseError> {
        let level = match (self.os.as_str(), &self.sysext_level, &self.os_version) {
            // Flatcar promises this level for all its releases; without it each would need its own image.
            ("flatcar", None, None) => Some("1.0".to_owned()),
            (_, level, _) => level.clone(),
        };
        let release = Release {
            id: self.os.clone(),
            sysext_level: level,
            version_id: self.os_version.clone(),
            architecture,
            reload_manager: !self.no_reload && self.reload.unwrap_or(has_units),
            scope: self.scope.clone(),
            ..Release::default()
        };
        release.check()?;
        Ok(release)
    }
}
