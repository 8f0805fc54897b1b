//! The `flix` command.

use std::process::ExitCode;

use clap::Parser as _;
use flix::cli::{self, Args};

fn main() -> ExitCode {
    let args = Args::parse();
    match cli::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::complain(&error);
            ExitCode::FAILURE
        }
    }
}
