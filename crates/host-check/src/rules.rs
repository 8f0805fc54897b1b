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
            message: clean(&message.into()),
        }
    }
}

/// A text that others wrote, in one line and without what a terminal obeys.
pub(crate) fn clean(text: &str) -> String {
    let shown = |c: char| if tree::is_control(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

impl Finding {
    /// The same, with another severity.
    pub(crate) fn with(self, severity: Severity) -> Finding {
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
    LIBRARY_REPLACED "library-replaced" Error
        "programs of the host load a library of an extension in place of their own";
    LIBRARY_MISSING "library-missing" Error
        "a program needs a library that isn't found";
    LOADER_MISSING "loader-missing" Error
        "a program needs a loader that isn't there";
    SYMBOL_VERSION "symbol-version" Error
        "a program needs versions of symbols that the library which it loads doesn't have";
    LIBRARY_CACHE "library-cache" Error
        "a library is found after ldconfig only";
    UNIT_REQUIRES "unit-requires" Error
        "a unit requires another one that isn't there, and doesn't start";
    UNIT_PROGRAM "unit-program" Error
        "a unit starts a program that isn't there";
    UNIT_WANTS "unit-wants" Error
        "a unit that isn't there is to be started";
    DBUS_NAME "dbus-name" Error
        "a service takes a name on D-Bus that no policy lets it have, or a name is to start a unit that isn't there";
    CYCLE "ordering-cycle" Error
        "units are ordered in a circle, and systemd doesn't start one of them";
    ACCOUNT "account" Error
        "a file names a user or group that the host lacks and no extension makes";
    ACCOUNT_LATE "account-late" Error
        "the user or group of a service is made by sysusers.d, which is read before the merge";
    KERNEL_MODULES "kernel-modules" Error
        "kernel modules that the host's kernel doesn't load";
    KERNEL_OPTION "kernel-option" Error
        "the host's kernel was built without an option that something needs";
    KERNEL_VERSION "kernel-version" Error
        "a unit is for other kernels than the host's";
    LABELS "selinux-labels" Error
        "without SELinux labels the host's services may not use the files";
    INTERPRETER "script-interpreter" Warning
        "a program is a script whose interpreter isn't there";
    UNIT_KIND "all-units" Warning
        "a drop-in holds for all units of a kind, or of a prefix";
    UNIT_CHANGED "unit-changed" Warning
        "a drop-in changes a unit of the host";
    UNIT_HIDDEN "unit-hidden" Warning
        "the host has a unit of the same name in /etc, which counts";
    LATE_START "late-start" Warning
        "a boot has decided what it starts before extensions are merged";
    NO_RELOAD "no-reload" Warning
        "the manager doesn't see an extension's units until it is reloaded";
    LATE "late" Warning
        "what is read once, earlier in a boot or by a daemon at its start, isn't applied by a merge";
    FILE_MODE "file-mode" Warning
        "the same file with another mode";
    OWNER "owner" Warning
        "another owner or group than before";
    ATTRIBUTES "attributes" Warning
        "extended attributes, such as file capabilities, differ from those before";
    SAME_FILE "same-file" Note
        "the same file is there already";
    SAME_SONAME "same-soname" Note
        "a library is in the host and in an extension, under two paths";
    OPT_READ_ONLY "opt-read-only" Warning
        "all of /opt is read-only while an extension with files in /opt is merged";
    USR_READ_ONLY "usr-read-only" Note
        "/usr is read-only while extensions are merged: the host's package manager can't write there";
    STACK "stack" Error
        "the kernel stacks two overlays at most, and takes a limited number of layers";
    NESTED_MOUNT "nested-mount" Error
        "the host mounts something below /usr or /opt, where the overlay is";
    NO_SYSEXT "no-systemd-sysext" Warning
        "the host has no systemd-sysext";
    UNREAD "not-compared" Note
        "an image was read in a way that doesn't show owners, modes and attributes";
}

/// The rule of this name.
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|r| r.name == name)
}
