//! `User=` of units whose commands start as root and become the user in the private root.
//!
//! A user who makes a private root needs a user namespace, in which everybody else is nobody, and in which capabilities and
//! supplementary groups of the service count for nothing on the host. Root needs none. So `ExecStart=/x` becomes
//! `ExecStart=!SCRIPT USER GROUP GROUPS /x`: systemd applies all else that the unit says, and leaves the change of the user to
//! the script. systemd.service(5), "Command lines".

use std::fmt::Write as _;

use sysext::extension::unit_programs::Exec;
use sysext::extension::units::Directive;
use tree::{StaticPath, Tree, TreePath};

use crate::confinement::{
    CALLS, CALLS_OF_A_USER, CAPABILITIES, CAPABILITIES_OF_A_USER, capabilities, system_calls, values,
};
use crate::options::Options;
use crate::script::{DIR, UNIT};

/// Sets groups and capabilities inside the private root.
const SETPRIV: StaticPath = StaticPath::new("/usr/bin/setpriv");

/// No group in an argument of the script.
const NONE: &str = "-";

/// Who runs the commands of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceUser {
    /// `User=`, which may have specifiers.
    pub(crate) user: String,
    /// `Group=`.
    group: Option<String>,
    /// `SupplementaryGroups=`.
    groups: Vec<String>,
    /// What a drop-in has to allow for it, besides what any entry point needs.
    pub(crate) allow: Vec<&'static str>,
}

/// Why the commands of a unit with a user start as that user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unchanged {
    /// There is no user but root, or it isn't known before the start.
    NoUser,
    /// The unit has capabilities for its user, and its limits keep root from becoming that user. `--relax-units` allows it.
    Forbidden,
    /// Something else keeps them from it.
    Other,
}

/// What a command of a unit with a user becomes.
pub(crate) enum Command {
    /// This, with the same arguments.
    Becomes(String),
    /// It runs as root in spite of the user, and stays.
    IsRoots,
    /// It can't be changed.
    Unknown,
}

impl ServiceUser {
    /// The user of a system's service, if its commands can start as root.
    pub(crate) fn of(
        directives: &[Directive],
        image: &Tree,
        options: &Options,
    ) -> Result<ServiceUser, Unchanged> {
        let value = |key: &str| values(directives, key).pop();
        let is_on = |key: &str| {
            value(key).is_some_and(|v| !["no", "false", "off", "0"].contains(&v.to_lowercase().as_str()))
        };
        let user = value("User").filter(|user| user != "root" && user != "0").ok_or(Unchanged::NoUser)?;
        if is_on("DynamicUser") {
            return Err(Unchanged::NoUser);
        }
        let group = value("Group");
        let words = |key| -> Vec<String> {
            let lines = values(directives, key);
            lines.iter().flat_map(|line| line.split_whitespace()).map(str::to_owned).collect()
        };
        let groups = words("SupplementaryGroups");
        let mut names = [&user].into_iter().chain(&group).chain(&groups);
        let are_names = names.all(|name| is_name(name));
        drop(names);
        let sets_user =
            words("Environment").iter().any(|v| v.trim_start_matches(['"', '\'']).starts_with("USER="));
        // Each changes the user in its own way.
        let is_odd = ["PAMName", "PrivateUsers", "RootDirectory", "RootImage", "SecureBits"]
            .iter()
            .any(|key| is_on(key));
        if sets_user || is_odd || !are_names || !is_plain(&options.sysroot) {
            return Err(Unchanged::Other);
        }
        let has_capabilities = value("AmbientCapabilities").is_some();
        if (has_capabilities || !groups.is_empty()) && !has_setpriv(image) {
            return Err(Unchanged::Other);
        }
        let mut allow = Vec::new();
        let bounds = [CAPABILITIES, CAPABILITIES_OF_A_USER].concat();
        if !capabilities(directives, &bounds).is_empty() {
            // A user namespace has all capabilities of its own. Without a need, root's aren't given to a unit that gave them up.
            match (has_capabilities, options.relax_units) {
                (true, true) => {
                    allow.push("CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SYS_CHROOT CAP_SETGID CAP_SETUID");
                }
                (true, false) => return Err(Unchanged::Forbidden),
                (false, _) => return Err(Unchanged::Other),
            }
        }
        let calls = [CALLS, CALLS_OF_A_USER].concat();
        if !system_calls(directives, &calls).is_empty() {
            if !options.relax_units {
                return Err(if has_capabilities { Unchanged::Forbidden } else { Unchanged::Other });
            }
            allow.push("SystemCallFilter=@mount @process @setuid chroot capset");
        }
        Ok(ServiceUser { user, group, groups, allow })
    }

    /// What takes the place of a command's program in its line.
    pub(crate) fn command(&self, text: &str, exec: &Exec, program: &TreePath, options: &Options) -> Command {
        let before = text[..exec.at].trim_end_matches(['-', ':', '@', '+', '!', '|']);
        let prefixes = &text[before.len()..exec.at];
        if prefixes.contains(['+', '!']) {
            return Command::IsRoots;
        }
        // A quote would be around all of it, and `@` takes the next word for the program's name.
        if prefixes.contains(['@', '|']) || before.ends_with(['"', '\'']) || !is_plain(program) {
            return Command::Unknown;
        }
        let groups = match self.groups.is_empty() {
            true => NONE.to_owned(),
            false => self.groups.join(","),
        };
        let mut out = format!("!{}/{DIR}/{UNIT}", options.sysroot);
        for word in [&self.user, self.group.as_deref().unwrap_or(NONE), &groups, &program.to_string()] {
            let _ = write!(out, " {word}");
        }
        Command::Becomes(out)
    }
}

/// Whether util-linux's setpriv is in the image. busybox has another.
pub(crate) fn has_setpriv(image: &Tree) -> bool {
    let path = SETPRIV.path();
    image.resolve(path.to_absolute(), true).is_ok_and(|found| found.path.file_name() == path.file_name())
}

/// A name, with specifiers, and no number.
fn is_name(name: &str) -> bool {
    let of_name = |b: u8| b.is_ascii_alphanumeric() || b"_.-%@".contains(&b);
    name.bytes().all(of_name) && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '%')
}

/// A path that is one word for systemd and for a shell.
fn is_plain(path: &TreePath) -> bool {
    path.to_absolute().iter().all(|&b| b.is_ascii_alphanumeric() || b"/._+-".contains(&b))
}
