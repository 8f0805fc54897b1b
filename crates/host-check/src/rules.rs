//! What the check may find, by name.

use std::fmt;

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Something may not work.
    Warning,
    /// Something of the host, or of an extension, breaks.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its stable name, by which it is allowed.
    pub name: &'static str,
    /// The worst that a finding of it is.
    pub severity: Severity,
    /// What is wrong, and what it does to a host.
    pub about: &'static str,
}

/// Something that the check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// The rule's name.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The extension that does it; none if it takes all of them.
    pub extension: Option<String>,
    /// Where, if it is at one path.
    pub path: Option<String>,
    /// What happens.
    pub message: String,
}

/// `PATH: MESSAGE [RULE]`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{path}: ")?;
        }
        write!(f, "{} [{}]", self.message, self.rule)
    }
}

impl Rule {
    /// A finding of this rule.
    pub(crate) fn finding(
        &self,
        extension: Option<&str>,
        path: Option<&tree::TreePath>,
        message: impl Into<String>,
    ) -> Finding {
        Finding {
            rule: self.name,
            severity: self.severity,
            extension: extension.map(str::to_owned),
            path: path.map(ToString::to_string),
            message: message.into(),
        }
    }
}

impl Finding {
    /// The same, with another severity.
    pub(crate) fn as_a(self, severity: Severity) -> Finding {
        Finding { severity, ..self }
    }
}

macro_rules! rules {
    ($($id:ident $name:literal $severity:ident $about:literal;)*) => {
        $(pub(crate) const $id: Rule =
            Rule { name: $name, severity: Severity::$severity, about: $about };)*
        /// All rules, the worst first within each severity.
        pub const RULES: &[Rule] = &[$($id),*];
    };
}

rules! {
    MERGE_ABORTED "merge-aborted" Error
        "systemd-sysext gives up: none of the extensions is merged";
    NOT_MERGED "not-merged" Error
        "systemd-sysext leaves the extension out, and exits with 0";
    SAME_NAME "same-name" Error
        "two extensions of one name: systemd-sysext takes one of them";
    LINK_REPLACED "directory-over-link" Error
        "a directory or file takes the place of a link, and what was found through the link isn't any more";
    DIRECTORY_REPLACED "link-over-directory" Error
        "a link or file takes the place of a directory, and all that was in it is gone";
    DELETED "deleted" Error
        "a whiteout or an opaque directory takes files away";
    CACHE "index" Error
        "one file lists what many packages have: the extension's list hides the host's entries";
    HOST_FILE "host-file" Error
        "a file of the host is hidden by one with other content";
    EXTENSION_FILE "extension-file" Error
        "a file of one extension is hidden by another extension's with other content";
    DIRECTORY_MODE "directory-mode" Error
        "the upper layer's mode of a directory wins: who could enter it may not be able to any more";
    FILE_MODE "file-mode" Warning
        "the same file with another mode";
    OWNER "owner" Warning
        "another owner or group than before";
    ATTRIBUTES "attributes" Warning
        "extended attributes, such as file capabilities, differ from those before";
    SAME_FILE "same-file" Note
        "the same file is there already";
    OPT_READ_ONLY "opt-read-only" Warning
        "all of /opt is read-only while an extension with files in /opt is merged";
    USR_READ_ONLY "usr-read-only" Note
        "/usr is read-only while extensions are merged: the host's package manager can't write there";
    STACK "stack" Error
        "the kernel stacks two overlays at most, and takes a limited number of layers";
    NO_SYSEXT "no-systemd-sysext" Warning
        "the host has no systemd-sysext";
    UNREAD "not-compared" Note
        "an image was read in a way that doesn't show owners, modes and attributes";
}

/// The rule of this name.
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|r| r.name == name)
}
