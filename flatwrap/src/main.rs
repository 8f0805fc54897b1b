//! The `flatwrap` command.

use std::process::ExitCode;

use clap::Parser as _;
use flatwrap::cli::{self, Args};

fn main() -> ExitCode {
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
