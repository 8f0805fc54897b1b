//! One image of several in one place: by its name, or by its position.

use super::SourceError;
use super::layout_files::LayoutFiles;
use crate::{ImageSelector, Reference};
use store::digest::shorten;
use tree::list_some;

/// Names that a message lists, at most.
const SHOWN: usize = 32;

/// An image that may be meant.
#[derive(Debug)]
pub(super) struct Candidate {
    /// All names that it is known by, the best one first.
    pub names: Vec<String>,
    /// `sha256:HEX` of its manifest or config.
    pub digest: String,
}

/// The positions of the images that a name may stand for: those that have it as it is, or those whose full name it is short
/// for, or whose digest it is.
pub(super) fn named(candidates: &[Candidate], name: &str) -> Vec<usize> {
    let with = |fits: &dyn Fn(&Candidate) -> bool| -> Vec<usize> {
        candidates.iter().enumerate().filter(|(_, c)| fits(c)).map(|(i, _)| i).collect()
    };
    let exact = with(&|c| c.names.iter().any(|n| n == name));
    if !exact.is_empty() {
        return exact;
    }
    let wanted = full_names(name);
    let same = with(&|c| c.names.iter().flat_map(|n| full_names(n)).any(|n| wanted.contains(&n)));
    if !same.is_empty() {
        return same;
    }
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    // As long as the short form that docker and podman print.
    let is_id = hex.len() >= 12 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    with(&|c| is_id && c.digest.strip_prefix("sha256:").is_some_and(|d| d.starts_with(hex)))
}

/// What a name is short for: an image of Docker Hub, or one that podman built.
fn full_names(name: &str) -> Vec<String> {
    let Ok(reference) = name.parse::<Reference>() else { return Vec::new() };
    let mut out = vec![reference.to_string()];
    if reference.is_short() {
        let rest = reference.to_string();
        let rest = rest.strip_prefix("docker.io/").unwrap_or(&rest);
        out.push(format!("localhost/{}", rest.strip_prefix("library/").unwrap_or(rest)));
    }
    out
}

/// What each image can be asked for by: a name that no other has, or its position.
fn labels(candidates: &[Candidate]) -> Vec<String> {
    let label = |(i, c): (usize, &Candidate)| {
        let unique = c.names.iter().find(|n| named(candidates, n) == [i]);
        unique.map_or_else(|| format!("@{i}"), Clone::clone)
    };
    candidates.iter().enumerate().map(label).collect()
}

/// There are several, and nothing says which one is meant.
pub(super) fn several(files: &LayoutFiles, transport: &'static str, candidates: &[Candidate]) -> SourceError {
    let (names, example) = describe(files, transport, candidates);
    SourceError::Several { path: files.path().to_owned(), names, example }
}

/// There is none that is meant.
pub(super) fn no_such(
    files: &LayoutFiles,
    transport: &'static str,
    candidates: &[Candidate],
    which: &ImageSelector,
) -> SourceError {
    let (names, example) = describe(files, transport, candidates);
    SourceError::NoImage { path: files.path().to_owned(), which: shorten(&which.to_string()), names, example }
}

/// The names for a message, and a reference that works.
fn describe(files: &LayoutFiles, transport: &'static str, candidates: &[Candidate]) -> (String, String) {
    let labels = labels(candidates);
    let path = files.path().display();
    let example = match labels.first() {
        Some(label) => format!("{transport}:{path}:{label}"),
        None => format!("{transport}:{path}"),
    };
    let names = match labels.is_empty() {
        true => "nothing".into(),
        false => list_some(labels.iter().map(|l| shorten(l)), SHOWN),
    };
    (names, example)
}
