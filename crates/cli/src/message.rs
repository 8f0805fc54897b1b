//! Errors and results, as a command prints them.

use std::error::Error;
use std::io::{self, Write as _};
use std::iter::successors;
use std::sync::atomic::{AtomicBool, Ordering};

/// Prints an error on stderr: `error:` and the chain of its sources, then `hint:` if there is one.
#[allow(clippy::print_stderr)] // what it is for
pub(crate) fn complain(error: &(dyn Error + 'static), hint: Option<&str>) {
    eprintln!("error: {}", printable(&reasons(error)));
    if let Some(hint) = hint {
        eprintln!("hint: {}", printable(hint));
    }
}

/// An error and the chain of its reasons, each once, on one line.
pub fn reasons(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for reason in successors(Some(error), |&e| e.source()).map(ToString::to_string) {
        // thiserror's transparent and "…: {source}" messages hold their source already.
        if !text.contains(&reason) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&reason);
        }
    }
    text
}

/// Names from an image must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if tree::is_control(c) && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Prints the result on stdout. A closed pipe is not an error.
///
/// # Errors
/// Whatever else stdout says.
pub fn print(text: &[u8]) -> io::Result<()> {
    PRINTED.fetch_or(!text.is_empty(), Ordering::Relaxed);
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Whether there is a result on stdout.
static PRINTED: AtomicBool = AtomicBool::new(false);

/// Whether this process has printed a result.
pub(crate) fn has_printed() -> bool {
    PRINTED.load(Ordering::Relaxed)
}
