//! Why a mode doesn't work on this machine, and what to do about it.

use std::fmt;
use std::path::Path;

use super::Mode;

/// A mode that was tried in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// Which.
    pub mode: Mode,
    /// What was being done: "new user name space".
    pub step: String,
    /// What the system said.
    pub message: String,
    /// The setting of the host that is behind it, if one was found.
    pub cause: Option<Cause>,
}

/// A setting of the host that forbids user name spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// kernel.apparmor_restrict_unprivileged_userns, Ubuntu from 23.10 on.
    AppArmor,
    /// user.max_user_namespaces is 0.
    MaxUserNamespaces,
    /// kernel.unprivileged_userns_clone is 0, older Debian.
    UnprivilegedUsernsClone,
}

impl Cause {
    /// Looks through the host's settings. `proc_sys` is `/proc/sys`.
    pub(super) fn find(proc_sys: &Path) -> Option<Cause> {
        let is = |name: &str, value: &str| {
            std::fs::read_to_string(proc_sys.join(name)).is_ok_and(|text| text.trim() == value)
        };
        if is("user/max_user_namespaces", "0") {
            Some(Cause::MaxUserNamespaces)
        } else if is("kernel/unprivileged_userns_clone", "0") {
            Some(Cause::UnprivilegedUsernsClone)
        } else if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
            Some(Cause::AppArmor)
        } else {
            None
        }
    }

    fn name(self) -> &'static str {
        match self {
            Cause::AppArmor => "kernel.apparmor_restrict_unprivileged_userns=1",
            Cause::MaxUserNamespaces => "user.max_user_namespaces=0",
            Cause::UnprivilegedUsernsClone => "kernel.unprivileged_userns_clone=0",
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mode {}: {}: {}", self.mode, self.step, self.message)?;
        if let Some(cause) = self.cause {
            write!(f, " ({})", cause.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_found_and_told() {
        let rows: &[(&str, &str, Option<Cause>)] = &[
            ("user/max_user_namespaces", "0\n", Some(Cause::MaxUserNamespaces)),
            ("user/max_user_namespaces", "15000\n", None),
            ("kernel/unprivileged_userns_clone", "0\n", Some(Cause::UnprivilegedUsernsClone)),
            ("kernel/unprivileged_userns_clone", "1\n", None),
            ("kernel/apparmor_restrict_unprivileged_userns", "1\n", Some(Cause::AppArmor)),
            ("kernel/apparmor_restrict_unprivileged_userns", "0\n", None),
        ];
        for (name, value, expected) in rows {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, value).unwrap();
            let cause = Cause::find(dir.path());
            assert_eq!(cause, *expected, "{name}={value:?}");
            let step = "new user name space".to_owned();
            let one =
                Unavailable { mode: Mode::Single, step, message: "no space left on device".into(), cause };
            assert_eq!(
                one.to_string().contains(name.split('/').next_back().unwrap()),
                cause.is_some(),
                "{one}"
            );
        }
    }
}
