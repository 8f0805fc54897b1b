//! `bakery schema`

use anyhow::Context as _;
use cli::print;

pub(super) fn run() -> anyhow::Result<()> {
    print(format!("{:#}\n", recipes::format::schema()).as_bytes()).context("stdout")
}
