//! The `flix` command.
fn main() {}
