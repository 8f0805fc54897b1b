//! What a command tells on its way and at its end.

use std::fmt;

use clap::Args;

use super::Verbosity;
use crate::Written;

/// How much is told, and in which form.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Reports")]
pub struct ReportArgs {
    /// Prints what would be done, and writes nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,

    /// Prints the result as JSON
    #[arg(long)]
    pub json: bool,

    /// Also tells steps and what commands print
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,

    /// Tells warnings and errors only
    #[arg(short, long)]
    pub quiet: bool,
}

impl ReportArgs {
    /// For [`Terminal::new`](super::Terminal::new).
    pub fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        }
    }
}

/// What was written: `one.raw: 12.3 MiB, sha256:…`, and the root hash on a line of its own if there is one.
pub fn written_line(written: &Written) -> String {
    let hash = written.sha256.as_ref().map(|h| format!(", sha256:{h}")).unwrap_or_default();
    let root = written.root_hash.as_ref().map(|h| format!("root hash: {h}\n")).unwrap_or_default();
    format!("{}: {}{hash}\n{root}", written.path.display(), Size(written.bytes))
}

/// Bytes for people, in powers of 1024 as `ls -h` has it.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut tenths = u128::from(self.0) * 10 / 1024;
        let mut unit = 0;
        while tenths >= 10240 && unit + 1 < UNITS.len() {
            tenths /= 1024;
            unit += 1;
        }
        write!(f, "{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(Size(bytes).to_string(), expected);
        }
    }
}
