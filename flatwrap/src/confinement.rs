//! Settings of units by which systemd takes away what an entry point needs to make its private root. systemd.exec(5).

use sysext::extension::units::Directive;

/// System calls that an entry point makes on the way into its private root, and the groups of systemd that have them.
/// systemd-analyze(1), syscall-filter.
const CALLS: [(&str, &[&str]); 3] = [
    ("chroot", &["@mount", "@privileged", "@known"]),
    ("mount", &["@mount", "@known"]),
    ("unshare", &["@process", "@system-service", "@known"]),
];

/// The values of a setting whose lines add up, since its last empty one, as text.
fn values<'d>(directives: &'d [Directive], key: &'d str) -> Vec<String> {
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

/// Which of the system calls that an entry point needs `SystemCallFilter=` forbids.
pub(crate) fn system_calls(directives: &[Directive]) -> Vec<&'static str> {
    let lines = values(directives, "SystemCallFilter");
    // The first line decides whether the others add to what is allowed, or to what is forbidden.
    let Some(first) = lines.first() else { return Vec::new() };
    let allows = !first.starts_with('~');
    let forbidden = |(call, groups): &(&'static str, &[&str])| {
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
    CALLS.iter().filter(|call| forbidden(call)).map(|(call, _)| *call).collect()
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
            assert_eq!(system_calls(&unit(lines)).join(" "), expected, "{lines}");
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
