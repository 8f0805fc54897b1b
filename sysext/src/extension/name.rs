//! Names of extensions.

use std::fmt;
use std::str::FromStr;

/// The name of an extension: the file name of its image without `.raw`, and the end of its release file's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtensionName(String);

/// Why a word is no [`ExtensionName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum NameError {
    #[error("extension name is empty")]
    Empty,
    /// `extension-release.NAME` has to be a file name.
    #[error("extension name is {0} bytes long, expected at most {MAX}")]
    TooLong(usize),
    /// Starts with a dot (a hidden file is no extension) or a dash (looks like an option).
    #[error("extension name {0:?} starts with {1:?}, expected a letter or digit")]
    Start(String, char),
    /// A character that file names, unit files or shells don't take well.
    #[error("extension name {0:?} has {1:?}, expected letters, digits and any of \"._+:@~-\"")]
    Character(String, char),
    /// systemd would take the ending for the image's.
    #[error("extension name {0:?} ends with {1:?}, which systemd takes off a file name")]
    Suffix(String, &'static str),
}

/// Bytes. NAME_MAX less `extension-release.`.
const MAX: usize = 255 - "extension-release.".len();

impl ExtensionName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `extension-release.NAME`. UAPI.4.
    pub(crate) fn release_file_name(&self) -> String {
        format!("extension-release.{}", self.0)
    }
}

impl FromStr for ExtensionName {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        let first = s.chars().next().ok_or(NameError::Empty)?;
        if s.len() > MAX {
            return Err(NameError::TooLong(s.len()));
        }
        if matches!(first, '.' | '-') {
            return Err(NameError::Start(s.to_owned(), first));
        }
        let odd = |c: &char| !(c.is_ascii_alphanumeric() || "._+:@~-".contains(*c));
        if let Some(c) = s.chars().find(odd) {
            return Err(NameError::Character(s.to_owned(), c));
        }
        // `.v` is a directory of versions, systemd.v(7).
        if let Some(end) = [".raw", ".v"].into_iter().find(|end| s.ends_with(end)) {
            return Err(NameError::Suffix(s.to_owned(), end));
        }
        Ok(ExtensionName(s.to_owned()))
    }
}

impl fmt::Display for ExtensionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_work_as_file_names() {
        for good in ["b3sum", "docker-27.1", "a", "kubernetes_v1.30.0", "foo+bar~1:2@x"] {
            assert_eq!(good.parse::<ExtensionName>().unwrap().as_str(), good);
        }
        let long = "x".repeat(238);
        assert!(long[..237].parse::<ExtensionName>().is_ok());
        let table = [
            ("", "extension name is empty"),
            (long.as_str(), "extension name is 238 bytes long, expected at most 237"),
            (".x", "extension name \".x\" starts with '.', expected a letter or digit"),
            ("-x", "extension name \"-x\" starts with '-', expected a letter or digit"),
            ("a/b", "extension name \"a/b\" has '/', expected letters, digits and any of \"._+:@~-\""),
            ("a b", "extension name \"a b\" has ' ', expected letters, digits and any of \"._+:@~-\""),
            ("a\n", "extension name \"a\\n\" has '\\n', expected letters, digits and any of \"._+:@~-\""),
            ("x.raw", "extension name \"x.raw\" ends with \".raw\", which systemd takes off a file name"),
            ("x.v", "extension name \"x.v\" ends with \".v\", which systemd takes off a file name"),
        ];
        for (bad, message) in table {
            assert_eq!(bad.parse::<ExtensionName>().unwrap_err().to_string(), message);
        }
    }
}
