//! The `bakery` command.

use std::process::ExitCode;

use recipes::cli;

fn main() -> ExitCode {
    oci::sandbox::init();
    sysext::cli::end(cli::run(&sysext::cli::parse()), cli::hint)
}
