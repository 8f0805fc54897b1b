//! The `flix` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Does not come back if this process is the sandbox's own.
    sandbox::init(&cli::environment());
    cli::end(cli::flix::run(&cli::parse()), cli::hint)
}
