//! The `flix` command.

use std::process::ExitCode;

use flix::cli;

fn main() -> ExitCode {
    // Does not come back if this process is the sandbox's own.
    oci::sandbox::init();
    sysext::cli::end(cli::run(&sysext::cli::parse()), cli::hint)
}
