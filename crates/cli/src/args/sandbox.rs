//! The sandbox's part of a command line.

use std::time::Duration;

use oci::Rootfs;
use sandbox::{Mode, Network, Run, RunLimits, SandboxError, packages, run};
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

    /// Stop a command or installation in the image after this time: 90s, 10m, 2h
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) timeout: Option<Duration>,

    /// Restrict commands to what an image needs that isn't trusted: nothing is installed or started automatically, no network, and at most
    /// 15 minutes (or --timeout), 4 GiB of memory, 512 processes and 8 GiB of disk for each command
    #[arg(long, conflicts_with_all = ["network", "package"])]
    pub(crate) untrusted: bool,

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

/// For `--untrusted`.
const UNTRUSTED: RunLimits = RunLimits {
    time: Some(Duration::from_secs(15 * 60)),
    memory: Some(4 << 30),
    processes: Some(512),
    disk: 8 << 30,
};

/// A number and a unit; without one, seconds.
fn parse_time(text: &str) -> Result<Duration, String> {
    let bad = || format!("got {text:?}, expected a number of seconds, or with a unit: 90s, 10m, 2h");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(bad()),
    };
    let number = digits.parse::<u64>().ok().filter(|n| *n > 0).and_then(|n| n.checked_mul(unit));
    number.map(Duration::from_secs).ok_or_else(bad)
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

    /// Whether packages are installed only if they are asked for by `--package`.
    pub(crate) fn no_install(&self) -> bool {
        self.no_install || self.untrusted
    }

    /// The run with this network, mode and limits.
    pub(crate) fn with_settings(&self, mut run: Run) -> Run {
        run.network = if self.untrusted { Network::None } else { self.network };
        if self.untrusted {
            run.limits = UNTRUSTED;
        }
        run.limits.time = self.timeout.or(run.limits.time);
        run.rerun = self.rerun;
        run.offline = self.offline;
        run.mode = self.sandbox_mode;
        run
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        sandbox: SandboxArgs,
    }

    fn run_of(words: &[&str]) -> Run {
        let all = ["flix"].iter().chain(words);
        Command::try_parse_from(all).unwrap().sandbox.with_settings(Run::shell("true"))
    }

    #[test]
    fn times() {
        for (text, seconds) in [("90", Some(90)), ("90s", Some(90)), ("10m", Some(600)), ("2h", Some(7200))]
            .into_iter()
            .chain(["", "0", "m", "-1s", "1d", "99999999999999999999h", "é"].map(|bad| (bad, None)))
        {
            assert_eq!(parse_time(text).ok(), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn untrusted_is_confined() {
        let plain = run_of(&[]);
        assert_eq!((plain.network, plain.limits), (Network::Host, RunLimits::default()));
        let run = run_of(&["--untrusted"]);
        assert_eq!((run.network, run.limits), (Network::None, UNTRUSTED));
        let run = run_of(&["--untrusted", "--timeout", "20s"]);
        assert_eq!(run.limits, RunLimits { time: Some(Duration::from_secs(20)), ..UNTRUSTED });
        assert!(Command::parse_from(["flix", "--untrusted"]).sandbox.no_install());
        for also in [["--network", "host"], ["--package", "curl"]] {
            Command::try_parse_from(["flix", "--untrusted"].iter().chain(&also)).unwrap_err();
        }
    }
}
