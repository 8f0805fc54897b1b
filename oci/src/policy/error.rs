//! Why an image isn't accepted.

use std::path::PathBuf;

use tree::list_some;

/// What is wrong with a policy, or with an image by it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum PolicyError {
    /// The file can't be read.
    #[error("{path:?}: {source}")]
    Io {
        /// The policy, or a key.
        path: PathBuf,
        source: std::io::Error,
    },
    /// Not the JSON or YAML of such a file.
    #[error("{path:?}: {message}")]
    Syntax { path: PathBuf, message: String },
    /// `reject`.
    #[error("image is rejected by the rule for {scope} in {path:?}")]
    Rejected {
        /// The policy.
        path: PathBuf,
        /// Transport and scope, or `default`.
        scope: String,
    },
    /// A requirement that nobody here can check.
    #[error("rule for {scope} in {path:?} wants {what}, which can't be checked without other services")]
    Unsupported { path: PathBuf, scope: String, what: &'static str },
    /// No signature at all.
    #[error("rule for {scope} in {path:?} wants {wanted}, and the image has none{}", also(.problems))]
    Unsigned {
        path: PathBuf,
        scope: String,
        /// The kind of signature.
        wanted: &'static str,
        /// Places that couldn't be read.
        problems: Vec<String>,
    },
    /// No signature that counts.
    #[error("rule for {scope} in {path:?} wants {wanted}, and none of the image's counts: {}", list_some(.reasons, REASONS))]
    NotAccepted {
        path: PathBuf,
        scope: String,
        wanted: &'static str,
        /// Why, of each signature, and of places that couldn't be read.
        reasons: Vec<String>,
    },
}

/// Reasons that are named: a place may have any number of signatures.
const REASONS: usize = 5;

fn also(problems: &[String]) -> String {
    match problems {
        [] => String::new(),
        problems => format!("; {}", list_some(problems, REASONS)),
    }
}
