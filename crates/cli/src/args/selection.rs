//! What is taken from an image without being named path by path.

use std::path::PathBuf;

/// Files of the image that a run opens.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "What a run opens")]
#[command(group = clap::ArgGroup::new("selected").args(["trace", "paths_from"]).multiple(true))]
pub(crate) struct SelectionArgs {
    /// Run CMD in the image with the image's /bin/sh, and include all files of the image that it and the programs it starts
    /// open, execute, or check for; repeatable. Nothing that CMD changes is kept
    #[arg(long, value_name = "CMD")]
    pub(crate) trace: Vec<String>,

    /// Copy the contents of DIR into /tmp while tracing, as input for CMD
    #[arg(long, value_name = "DIR", requires = "trace")]
    pub(crate) trace_files: Option<PathBuf>,

    /// Include the paths listed in FILE, one per line; repeatable. Patterns are allowed, and # starts a comment. A directory
    /// stands for itself, DIR/** for everything in it
    #[arg(long, value_name = "FILE")]
    pub(crate) paths_from: Vec<PathBuf>,

    /// Write the paths found by --trace and --paths-from to FILE, for a later --paths-from. Also done with --dry-run
    #[arg(long, value_name = "FILE", requires = "selected")]
    pub(crate) paths_to: Option<PathBuf>,
}

impl SelectionArgs {
    /// The options' names that stand in for PATHs.
    pub(crate) const IDS: [&str; 2] = ["trace", "paths_from"];
}
