//! The sandbox, for real: a busybox root, each mode, each way in which a run may go or end.
//!
//! This program is its own helper: scenarios for an unprivileged user run in a copy of it that is started as one.

// clippy knows tests by their attribute, which these can't have.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod scenarios;
mod support;
#[path = "../../../../tests/vectors/read.rs"]
mod vectors;

use libtest_mimic::{Arguments, Failed, Trial};
use sandbox::Mode;

use support::{Case, MODES};

fn main() {
    sandbox::init(&std::env::vars_os().collect());
    if let Some(code) = support::as_child(scenarios::ALL) {
        std::process::exit(code);
    }
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for &(name, modes, scenario) in scenarios::ALL {
        for &mode in MODES.iter().filter(|m| modes.contains(m)) {
            trials.push(Trial::test(format!("{name}::{mode}"), move || one(name, mode, scenario)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn one(name: &str, mode: Mode, scenario: fn(&Case)) -> Result<(), Failed> {
    if !rustix::process::geteuid().is_root() {
        return Err("this test switches users: run it as root".into());
    }
    support::start(name, mode, scenario).map_err(Failed::from)
}
