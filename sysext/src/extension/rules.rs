//! The rules of the lint, by name.

use std::fmt;

use tree::TreePath;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The user should know.
    Warning,
    /// The extension is refused.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
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
    /// What a finding of it is, unless allowed.
    pub severity: Severity,
    /// Whether it can be allowed, which makes a warning of an error: some errors leave nothing that could be written.
    pub allowable: bool,
    /// What is wrong, and what it does to a host.
    pub about: &'static str,
}

/// Something that a rule has against an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule's name.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Where, if it is at one path.
    pub path: Option<TreePath>,
    /// What is wrong.
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

macro_rules! rules {
    ($($id:ident $name:literal $severity:ident $allowable:literal $about:literal;)*) => {
        $(pub(crate) const $id: Rule =
            Rule { name: $name, severity: Severity::$severity, allowable: $allowable, about: $about };)*
        /// All rules, in the order in which they are checked.
        pub const RULES: &[Rule] = &[$($id),*];
    };
}

rules! {
    USR "usr-not-directory" Error false
        "usr has to be a real directory in the image, or nothing of it merges";
    OUTSIDE "outside-usr" Error true
        "only /usr and /opt are merged; what lies elsewhere never shows on the host";
    ETC "etc" Error true
        "/etc is not merged by systemd-sysext; defaults belong in /usr, configuration in a confext";
    OPT "opt" Warning true
        "anything in /opt makes all of /opt read-only on the host";
    OS_RELEASE "os-release" Error true
        "systemd refuses an extension that would replace the host's /usr/lib/os-release";
    HOST_SYMLINK "host-symlink" Error true
        "where the host has a symlink, a real directory replaces it and hides everything there";
    HOST_DIRECTORY "host-directory" Error true
        "where the host has a directory, a link or file replaces it and hides everything there";
    HOST_LIBRARY "host-library" Error true
        "a C library or loader where the host has its own takes its place, and no program starts";
    SHARED_LIBRARY "shared-library" Warning true
        "the host's programs load a library of the usual directories in the place of their own";
    DIR_MODE "directory-mode" Warning true
        "the top layer's mode of a directory wins on the host; set to 0755";
    NAME "control-character" Error true
        "names with control characters break logs, terminals and scripts";
    WHITEOUT "overlay-whiteout" Error true
        "a character device 0:0 deletes the host's file of that name while the extension is merged";
    OVERLAY_XATTR "overlay-xattr" Error true
        "overlayfs takes trusted.overlay.* from a layer: opaque directories hide the host's";
    USER_OVERLAY "user-overlay-xattr" Warning true
        "user.overlay.* comes from an overlay without privileges and means nothing here; dropped";
    SYSTEM_XATTR "system-xattr" Warning true
        "access control lists name users of another system; dropped";
    FOREIGN_XATTR "foreign-xattr" Warning true
        "Linux has the attributes user.*, trusted.*, security.* and system.*; those of other systems mean nothing here; dropped";
    DEVICE "device" Warning true
        "merged extensions are mounted nodev: device nodes, sockets and pipes of an image are of no use";
    SETUID "setuid" Warning true
        "runs as root or another group on the host for whoever starts it";
    FOREIGN_SETUID "foreign-setuid" Warning true
        "a set-id bit whose owner isn't root would become root's; dropped";
    CAPABILITY "capability" Warning true
        "a file capability holds on the host, too, for whoever starts the program";
    RELEASE_DIRECTORY "release-directory" Error false
        "/usr/lib and /usr/lib/extension-release.d have to be directories, the release file a file";
    RELEASE_FILE "release-file" Error true
        "systemd refuses an image whose release file has another name, and aborts the merge of all";
    RELEASE_REPLACED "release-replaced" Warning true
        "the tree's own release file says something else and was replaced";
    LEVEL "no-level" Warning true
        "without SYSEXT_LEVEL or VERSION_ID only rolling releases take an extension with an ID";
    ANY_LEVEL "any-with-level" Warning true
        "ID=_any skips the check of SYSEXT_LEVEL and VERSION_ID";
    ARCHITECTURE "architecture" Warning true
        "ELF files, but no ARCHITECTURE: hosts of other architectures would merge it, too";
    WRONG_ARCHITECTURE "wrong-architecture" Warning true
        "no ELF file is for a machine whose programs hosts of the release file's ARCHITECTURE run";
    NARROW_ARCHITECTURE "32-bit-hosts" Warning true
        "systemd holds ARCHITECTURE against the kernel's: with a 32-bit one the image merges on hosts with a 32-bit kernel only";
    NEEDS_HOST "needs-host-libraries" Warning true
        "ID=_any promises every host, but a program needs a loader or libraries that the image lacks";
    UNIT_EXEC "unit-exec" Warning true
        "a unit starts a program that the extension lacks";
    USER "user" Warning true
        "a unit, or a file of tmpfiles.d, udev or D-Bus, names a user or group that the host may lack and no sysusers.d file makes";
    LATE "late-merge" Warning true
        "udev rules, D-Bus policies, users, kernel modules or parameters are read before a merge on a running system, and no unit of the extension applies them";
    HOST_FILE "host-file" Error true
        "a file hides another one of the host for which the extension is built";
    RELOAD "reload" Warning true
        "units are seen after a daemon-reload only, which EXTENSION_RELOAD_MANAGER=1 asks for";
}

/// The rule of this name.
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|r| r.name == name)
}
