//! The `flix` command.

use std::process::ExitCode;

use clap::Parser as _;
use flix::cli::{self, Args};

fn main() -> ExitCode {
    // Does not come back if this process is the sandbox's own.
    oci::sandbox::init();
    let args = Args::parse();
    match cli::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::complain(&error);
            ExitCode::FAILURE
        }
    }
}
