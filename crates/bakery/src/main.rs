//! The `bakery` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    sandbox::init(&cli::environment());
    cli::end(bakery::cli::run(&cli::parse()), bakery::cli::hint)
}
