//! Build tasks of this repository.
fn main() {}
