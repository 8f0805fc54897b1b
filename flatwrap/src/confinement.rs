//! Settings of units by which systemd takes away what an entry point needs to make its private root. systemd.exec(5).

use sysext::extension::units::Directive;

/// A system call, and the groups of systemd that have it. systemd-analyze(1), syscall-filter.
type Call = (&'static str, &'static [&'static str]);

/// System calls that an entry point makes on the way into its private root.
pub(crate) const CALLS: [Call; 3] = [
    ("chroot", &["@mount", "@privileged", "@known"]),
    ("mount", &["@mount", "@known"]),
    ("unshare", &["@process", "@system-service", "@known"]),
];

/// Those by which root becomes a user.
pub(crate) const CALLS_OF_A_USER: [Call; 3] = [
    ("setresuid", &["@setuid", "@privileged", "@system-service", "@known"]),
    ("setgroups", &["@setuid", "@privileged", "@system-service", "@known"]),
    ("capset", &["@privileged", "@system-service", "@known"]),
];

/// Capabilities that root's entry points need: for mount(2), and for chroot(2).
pub(crate) const CAPABILITIES: [&str; 2] = ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"];

/// Those by which root becomes a user.
pub(crate) const CAPABILITIES_OF_A_USER: [&str; 2] = ["CAP_SETGID", "CAP_SETUID"];

/// Which of these capabilities `CapabilityBoundingSet=` takes away.
pub(crate) fn capabilities(directives: &[Directive], wanted: &[&'static str]) -> Vec<&'static str> {
    let lines = directives.iter().filter(|d| d.section == "Service" && d.key == "CapabilityBoundingSet");
    let lines: Vec<String> = lines.map(|d| String::from_utf8_lossy(&d.value).into_owned()).collect();
    let is_there = |capability: &str| {
        // None: all of them, which is replaced by the first line. An empty line and a lone `~` replace, too.
        let mut set: Option<bool> = None;
        for line in &lines {
            let (inverted, names) = match line.trim().strip_prefix('~') {
                Some(names) => (true, names),
                None => (false, line.as_str()),
            };
            let mut names = names.split_whitespace().peekable();
            let is_empty = names.peek().is_none();
            let named = names.any(|name| name.eq_ignore_ascii_case(capability));
            set = Some(match (set.filter(|_| !is_empty), inverted) {
                (None, inverted) => named != inverted,
                (Some(has), true) => has && !named,
                (Some(has), false) => has || named,
            });
        }
        set.unwrap_or(true)
    };
    wanted.iter().copied().filter(|capability| !is_there(capability)).collect()
}

/// The values of a setting whose lines add up, since its last empty one, as text.
pub(crate) fn values<'d>(directives: &'d [Directive], key: &'d str) -> Vec<String> {
    let mut out = Vec::new();
    for d in directives.iter().filter(|d| d.section == "Service" && d.key == key) {
        let value = String::from_utf8_lossy(&d.value).trim().to_owned();
        match value.is_empty() {
            true => out.clear(),
            false => out.push(value),
        }
    }
    out
}

/// Directories of the host's programs, which make the private root, and of the image's.
pub(crate) const PROGRAMS: [&str; 2] = ["/usr/bin", "/usr/lib"];

/// Which of these `NoExecPaths=` forbids.
pub(crate) fn programs(directives: &[Directive]) -> Vec<&'static str> {
    let paths = |key| -> Vec<String> {
        let lines = values(directives, key);
        let words = lines.iter().flat_map(|line| line.split_whitespace());
        words.map(|word| format!("{}/", word.trim_start_matches(['-', '+']).trim_end_matches('/'))).collect()
    };
    let (forbidden, allowed) = (paths("NoExecPaths"), paths("ExecPaths"));
    // The longest that is above counts.
    let above = |list: &[String], dir: &str| {
        let dir = format!("{dir}/");
        list.iter().filter(|path| dir.starts_with(path.as_str())).map(String::len).max()
    };
    PROGRAMS.into_iter().filter(|dir| above(&forbidden, dir) > above(&allowed, dir)).collect()
}

/// Which of these system calls `SystemCallFilter=` forbids.
pub(crate) fn system_calls(directives: &[Directive], wanted: &[Call]) -> Vec<&'static str> {
    let lines = values(directives, "SystemCallFilter");
    // The first line decides whether the others add to what is allowed, or to what is forbidden.
    let Some(first) = lines.first() else { return Vec::new() };
    let allows = !first.starts_with('~');
    let forbidden = |(call, groups): &Call| {
        let mut is_allowed = !allows;
        for line in &lines {
            let (adds, names) = match line.strip_prefix('~') {
                Some(names) => (false, names),
                None => (true, line.as_str()),
            };
            // Each may have an error behind a colon.
            let mut names = names.split_whitespace().map(|name| name.split(':').next().unwrap_or_default());
            if names.any(|name| name == *call || groups.contains(&name)) {
                is_allowed = adds;
            }
        }
        !is_allowed
    };
    wanted.iter().filter(|call| forbidden(call)).map(|(call, _)| *call).collect()
}

/// Which of the namespaces that are wanted (`mnt`, `user`) `RestrictNamespaces=` forbids.
pub(crate) fn namespaces(directives: &[Directive], wanted: &[&'static str]) -> Vec<&'static str> {
    let is = |value: &str, words: [&str; 4]| words.contains(&value.to_ascii_lowercase().as_str());
    let mut forbidden: Vec<&str> = Vec::new();
    let mut is_first = true;
    for value in values(directives, "RestrictNamespaces") {
        if is(&value, ["yes", "true", "on", "1"]) {
            forbidden = wanted.to_vec();
        } else if is(&value, ["no", "false", "off", "0"]) {
            forbidden.clear();
        } else if let Some(names) = value.strip_prefix('~') {
            let names: Vec<&str> = names.split_whitespace().collect();
            forbidden.extend(wanted.iter().filter(|w| names.contains(w)));
        } else {
            let names: Vec<&str> = value.split_whitespace().collect();
            if is_first {
                forbidden = wanted.to_vec();
            }
            forbidden.retain(|name| !names.contains(name));
        }
        is_first = false;
    }
    wanted.iter().filter(|name| forbidden.contains(name)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sysext::extension::units::parse;

    fn unit(lines: &str) -> Vec<Directive> {
        parse(format!("[Service]\n{}\n", lines.replace("; ", "\n")).as_bytes())
    }

    #[test]
    fn what_programs_are_forbidden() {
        for (lines, expected) in [
            ("ExecStart=/x", ""),
            ("NoExecPaths=/", "/usr/bin /usr/lib"),
            ("NoExecPaths=/; ExecPaths=/usr/bin/x /usr/lib /lib", "/usr/bin"),
            ("NoExecPaths=/; ExecPaths=/usr", ""),
            ("NoExecPaths=/tmp -/var/", ""),
            ("NoExecPaths=/ /usr/lib/; ExecPaths=+/usr", "/usr/lib"),
            ("NoExecPaths=/; NoExecPaths=", ""),
        ] {
            assert_eq!(programs(&unit(lines)).join(" "), expected, "{lines}");
        }
    }

    #[test]
    fn what_capabilities_are_taken_away() {
        for (lines, expected) in [
            ("ExecStart=/x", ""),
            ("CapabilityBoundingSet=CAP_NET_ADMIN", "CAP_SYS_ADMIN CAP_SYS_CHROOT"),
            ("CapabilityBoundingSet=", "CAP_SYS_ADMIN CAP_SYS_CHROOT"),
            ("CapabilityBoundingSet=~", ""),
            ("CapabilityBoundingSet=CAP_SYS_ADMIN cap_sys_chroot", ""),
            ("CapabilityBoundingSet=~CAP_SYS_ADMIN CAP_MKNOD", "CAP_SYS_ADMIN"),
            ("CapabilityBoundingSet=CAP_CHOWN; CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SYS_CHROOT", ""),
            ("CapabilityBoundingSet=~CAP_MKNOD; CapabilityBoundingSet=~CAP_SYS_CHROOT", "CAP_SYS_CHROOT"),
            ("CapabilityBoundingSet=~CAP_SYS_CHROOT; CapabilityBoundingSet=CAP_SYS_CHROOT", ""),
        ] {
            assert_eq!(capabilities(&unit(lines), &CAPABILITIES).join(" "), expected, "{lines}");
        }
    }

    #[test]
    fn what_filters_forbid() {
        for (lines, expected) in [
            ("ExecStart=/x", ""),
            ("SystemCallFilter=@system-service", "chroot mount"),
            ("SystemCallFilter=@system-service @mount", ""),
            ("SystemCallFilter=@system-service; SystemCallFilter=@mount:EPERM", ""),
            ("SystemCallFilter=@system-service; SystemCallFilter=~@mount", "chroot mount"),
            ("SystemCallFilter=~@mount", "chroot mount"),
            ("SystemCallFilter=~@privileged @resources", "chroot"),
            ("SystemCallFilter=~@clock @reboot", ""),
            ("SystemCallFilter=~@mount; SystemCallFilter=mount chroot", ""),
            ("SystemCallFilter=read write; SystemCallFilter=", ""),
            ("SystemCallFilter=@basic-io", "chroot mount unshare"),
        ] {
            assert_eq!(system_calls(&unit(lines), &CALLS).join(" "), expected, "{lines}");
        }
    }

    #[test]
    fn what_namespaces_are_forbidden() {
        for (lines, expected) in [
            ("", ""),
            ("RestrictNamespaces=yes", "mnt user"),
            ("RestrictNamespaces=no", ""),
            ("RestrictNamespaces=net pid", "mnt user"),
            ("RestrictNamespaces=mnt user", ""),
            ("RestrictNamespaces=mnt; RestrictNamespaces=user", ""),
            ("RestrictNamespaces=~user", "user"),
            ("RestrictNamespaces=~net", ""),
            ("RestrictNamespaces=~mnt; RestrictNamespaces=~user", "mnt user"),
            ("RestrictNamespaces=yes; RestrictNamespaces=", ""),
        ] {
            assert_eq!(namespaces(&unit(lines), &["mnt", "user"]).join(" "), expected, "{lines}");
        }
    }
}
