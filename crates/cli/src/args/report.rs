//! What a command reports while it runs and at its end.

use clap::Args;

use image::Written;
use tree::Size;

use crate::Verbosity;

/// Amount and format of the output.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Reports")]
pub struct ReportArgs {
    /// Print what would be done, without writing the image. Commands and installations in the image still run, since the result
    /// depends on them
    #[arg(short = 'n', long)]
    pub dry_run: bool,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,

    /// Print each step, and the output of commands
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,

    /// Print warnings and errors only
    #[arg(short, long)]
    pub quiet: bool,
}

impl ReportArgs {
    /// For [`Terminal::new`](crate::Terminal::new).
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
