//! `cargo xtask suite`: what is counted and measured by whole programs, as lines on stdout for docs/trust.md.
// A program for people at a terminal: printing is what it's for.
#![allow(clippy::print_stdout)]

mod bombs;
mod faults;
mod kills;
mod numbers;

use anyhow::Result;

fn main() -> Result<()> {
    let long = std::env::var_os("SUITE_LONG").is_some();
    match std::env::args().nth(1).as_deref() {
        Some("bombs") => bombs::run(std::env::args().nth(2).as_deref()),
        Some("faults") => faults::run(long),
        other => anyhow::bail!("got {other:?}, expected bombs or faults"),
    }
}
