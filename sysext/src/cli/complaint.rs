//! The last words of a command.

use std::error::Error;
use std::io::{self, Write as _};
use std::iter::successors;

use super::PlaceError;
use crate::{ExtensionError, ImageError, RequestError, Severity};
use tree::TreePath;

/// Tells of an error on stderr: `error:` and the chain of reasons, then `hint:` if there is one.
#[allow(clippy::print_stderr)] // what it is for
pub fn complain(error: &(dyn Error + 'static), hint: Option<&str>) {
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
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// What helps after an error of this crate that a user can do something about.
pub fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    let request = error.downcast_ref::<RequestError>().and_then(request);
    request
        .or_else(|| error.downcast_ref::<ExtensionError>().and_then(extension))
        .or_else(|| error.downcast_ref::<PlaceError>().and_then(place))
        .or_else(|| error.downcast_ref::<ImageError>().and_then(ImageError::hint))
}

/// The hint for what is almost the name of something there.
pub fn did_you_mean(similar: &[TreePath]) -> String {
    let list: Vec<String> = similar.iter().map(ToString::to_string).collect();
    format!("did you mean {}? --package P installs a package in the image first", list.join(" or "))
}

fn request(error: &RequestError) -> Option<String> {
    match error {
        RequestError::NotFound { text, similar } if !similar.is_empty() => {
            let name = text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            if similar.iter().any(|p| p.file_name() != Some(name.as_bytes())) {
                return Some(did_you_mean(similar));
            }
            let list: Vec<String> = similar.iter().map(ToString::to_string).collect();
            Some(format!("the image has {}", list.join(", ")))
        }
        RequestError::NotFound { .. } | RequestError::NoMatch(_) => {
            Some("--package P installs a package in the image first, --run CMD runs a command".to_owned())
        }
        RequestError::NoPlace(path) => {
            let path = path.to_string();
            let name = path.rsplit('/').next().unwrap_or_default();
            Some(format!(
                "say where it goes: {path}:/usr/bin/{name} for a program, {path}:/usr/share{path} for data"
            ))
        }
        RequestError::BadTarget { .. } => Some("an extension can fill /usr and /opt only".to_owned()),
        RequestError::Clash { .. } => Some("give one of them another place: PATH:DEST".to_owned()),
        RequestError::RelativeTarget { text, .. } => Some(format!(
            "PATH:DEST is /usr/bin/a:/usr/bin/b; a path with a colon in its name needs a destination: {text}:/usr/bin/b"
        )),
        RequestError::NotAbsolute(text) => {
            let text = text.trim_start_matches("./");
            let dir = if text.contains('/') { "/" } else { "/usr/bin/" };
            Some(format!("paths start with a slash: {dir}{text}"))
        }
        _ => None,
    }
}

fn place(error: &PlaceError) -> Option<String> {
    let missing = error.source.kind() == io::ErrorKind::NotFound;
    missing.then(|| format!("mkdir -p {} makes it", error.path.display()))
}

fn extension(error: &ExtensionError) -> Option<String> {
    match error {
        ExtensionError::Refused { findings, .. } => {
            let errors = findings.iter().filter(|f| f.severity == Severity::Error);
            let mut rules: Vec<&str> = errors.map(|f| f.rule).collect();
            rules.dedup();
            let allow: Vec<String> = rules.iter().map(|r| format!("--allow {r}")).collect();
            Some(format!("PATH:DEST gives a file another place; {} takes the risk", allow.join(" ")))
        }
        _ => None,
    }
}

/// Prints the result on stdout. A reader that has heard enough is no error.
///
/// # Errors
/// Whatever else stdout says.
pub fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
