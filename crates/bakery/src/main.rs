//! The `bakery` command.

use std::process::ExitCode;

use bakery::cli;

fn main() -> ExitCode {
    oci::sandbox::init();
    sysext::cli::end(cli::run(&sysext::cli::parse()), cli::hint)
}
