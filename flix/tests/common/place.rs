//! Making files that a test executes.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Puts a program at a path, in the place of what is there.
///
/// A child process writes it. If this one did, a child that another thread forks meanwhile would have the file open for
/// writing until its own exec, and until then the kernel executes it for nobody ("Text file busy").
pub fn place_program(path: &Path, bytes: &[u8]) {
    let mut install = Command::new("install");
    let mut child =
        install.args(["-m", "755", "/dev/stdin"]).arg(path).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    assert!(child.wait().unwrap().success(), "{install:?}");
}

/// Puts a copy of a file at a path, in the same way.
pub fn place_copy(path: &Path, from: &Path) {
    let mut install = Command::new("install");
    assert!(install.args(["-m", "755"]).arg(from).arg(path).status().unwrap().success(), "{install:?}");
}
