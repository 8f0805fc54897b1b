//! systemd units that come along: which programs they start, and where these are now. systemd.service(5), systemd.exec(5).

use super::units::{commands, parse, prefixes, words};
use crate::TreePath;

/// Larger units are left alone. Bytes.
pub const UNIT_LIMIT: u64 = 1 << 20;

const SUFFIXES: [&str; 11] = [
    ".service",
    ".socket",
    ".mount",
    ".automount",
    ".swap",
    ".target",
    ".path",
    ".timer",
    ".slice",
    ".scope",
    ".conf",
];

/// Whether a path of the extension is a unit, or a drop-in of one, of the system's or the users' manager.
pub fn is_unit(path: &TreePath) -> bool {
    let dir = |d: &str| TreePath::new(d).is_ok_and(|d| path.starts_with(&d));
    let named = path.file_name().is_some_and(|n| SUFFIXES.iter().any(|s| n.ends_with(s.as_bytes())));
    named && (dir("/usr/lib/systemd/system") || dir("/usr/lib/systemd/user"))
}

/// A program that a line of a unit starts, or a path that may be one's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// `ExecStart`, `ConditionFileIsExecutable`.
    pub key: String,
    /// Its path.
    pub program: String,
    /// Where the path stands. Bytes from the unit's start.
    pub at: usize,
    /// Whether the line starts it. Any other names a path, which counts if a program is there.
    pub starts: bool,
}

/// The programs that a unit's `Exec…=` lines start, and the paths that other lines consist of. Relative names and those
/// with specifiers, variables or escapes are left out: they can't be judged here.
pub fn programs(text: &str) -> Vec<Exec> {
    let mut out = Vec::new();
    for d in parse(text.as_bytes()) {
        // Texts for people.
        if ["Description", "Documentation"].contains(&d.key.as_str()) {
            continue;
        }
        let starts = d.key.starts_with("Exec") && d.key.bytes().all(|b| b.is_ascii_alphabetic());
        for word in if starts { commands(&d.value) } else { words(&d.value) } {
            let program = &word.text[prefixes(&word.text)..];
            let odd = |b: &u8| matches!(b, b'%' | b'$' | b'\\');
            if program.first() != Some(&b'/') || program.iter().any(odd) {
                continue;
            }
            // In one piece: quotes may be around it, and not within.
            let raw = &d.value[word.at.clone()];
            let within = raw.windows(program.len()).position(|w| w == program);
            if let (Some(within), Ok(program)) = (within, std::str::from_utf8(program)) {
                let at = d.offset(word.at.start + within);
                out.push(Exec { key: d.key.clone(), program: program.to_owned(), at, starts });
            }
        }
    }
    out
}

/// The unit with programs' paths replaced.
pub fn replace(text: &str, edits: &[(Exec, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (exec, new) in edits {
        out.push_str(&text[from..exec.at]);
        out.push_str(new);
        from = exec.at + exec.program.len();
    }
    out.push_str(&text[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const NGINX: &str = "\
[Unit]
Description=Execute=/not/this
Description=/usr/sbin/nginx
ConditionFileIsExecutable=|!/usr/sbin/nginx
AssertPathExists=/usr/sbin/ngin%i
#ExecStart=/usr/bin/comment
[Service]
ExecStartPre=/usr/sbin/nginx -t -q -g 'daemon on; master_process on;'
ExecStart=\\
  # not this one: /usr/sbin/nginx
  /usr/sbin/nginx -g 'daemon on;'
ExecReload=/bin/true ; /usr/sbin/nginx -s \\
  reload /usr/sbin/nginx
ExecStop=-/sbin/start-stop-daemon --quiet --stop
ExecStopPost=@-/usr/bin/a b
 ExecStop = \"/usr/bin/with\" x
ExecStart=relative
ExecStart=%h/x
";

    #[test]
    fn finds_the_programs_of_exec_lines() {
        let got: Vec<String> = programs(NGINX).iter().map(|e| format!("{} {}", e.key, e.program)).collect();
        assert_eq!(
            got,
            [
                "ConditionFileIsExecutable /usr/sbin/nginx",
                "ExecStartPre /usr/sbin/nginx",
                "ExecStart /usr/sbin/nginx",
                "ExecReload /bin/true",
                "ExecReload /usr/sbin/nginx",
                "ExecStop /sbin/start-stop-daemon",
                "ExecStopPost /usr/bin/a",
                "ExecStop /usr/bin/with",
            ]
        );
    }

    #[test]
    fn replaces_nothing_but_the_programs() {
        let edits: Vec<(Exec, String)> = programs(NGINX)
            .into_iter()
            .filter(|e| e.program.contains("sbin"))
            .map(|e| {
                let new = format!("/usr/bin/{}", e.program.rsplit('/').next().unwrap());
                (e, new)
            })
            .collect();
        let new = replace(NGINX, &edits);
        let expected = NGINX
            .replace("Pre=/usr/sbin/nginx", "Pre=/usr/bin/nginx")
            .replace("!/usr/sbin/nginx", "!/usr/bin/nginx")
            .replace("  /usr/sbin/nginx", "  /usr/bin/nginx")
            .replace("; /usr/sbin/nginx", "; /usr/bin/nginx")
            .replace("/sbin/start-stop", "/usr/bin/start-stop");
        assert_eq!(new, expected);
    }

    #[test]
    fn units_are_known_by_place_and_name() {
        for (path, expected) in [
            ("/usr/lib/systemd/system/a.service", true),
            ("/usr/lib/systemd/system/a.service.d/10.conf", true),
            ("/usr/lib/systemd/user/a.timer", true),
            ("/usr/lib/systemd/system/README", false),
            ("/usr/share/a.service", false),
        ] {
            assert_eq!(is_unit(&path.parse().unwrap()), expected, "{path}");
        }
    }
}
