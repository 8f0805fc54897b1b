//! systemd units of the extension, and other files by which a host starts programs: which they start, and where these are
//! now. systemd.service(5), systemd.exec(5).

use super::units::{commands, parse, prefixes, words};
use tree::TreePath;

/// Larger units are left alone. Bytes.
pub const UNIT_LIMIT: u64 = 1 << 20;

/// How names of units end. systemd.unit(5).
pub(crate) const UNIT_ENDINGS: [&str; 11] = [
    ".service",
    ".socket",
    ".device",
    ".mount",
    ".automount",
    ".swap",
    ".target",
    ".path",
    ".timer",
    ".slice",
    ".scope",
];

/// In warnings about a text that names a moved program and isn't rewritten.
pub const NOT_FOLLOWED: &str = "which is not followed";

/// Whether a path of the extension is a unit, or a drop-in of one, of the system's or the users' manager.
pub fn is_unit(path: &TreePath) -> bool {
    let dir = |d: &str| TreePath::new(d).is_ok_and(|d| path.starts_with(&d));
    let named = path
        .file_name()
        .is_some_and(|n| UNIT_ENDINGS.iter().chain(&[".conf"]).any(|s| n.ends_with(s.as_bytes())));
    named && (dir("/usr/lib/systemd/system") || dir("/usr/lib/systemd/user"))
}

/// Folders of texts that name programs which others start: D-Bus services, menu entries, sessions, polkit's actions and
/// rules, rules of udev and of modprobe.
const LAUNCHER_DIRS: [&str; 8] = [
    "/usr/share/dbus-1/services",
    "/usr/share/dbus-1/system-services",
    "/usr/share/applications",
    "/usr/share/xsessions",
    "/usr/share/wayland-sessions",
    "/usr/share/polkit-1",
    "/usr/lib/udev/rules.d",
    "/usr/lib/modprobe.d",
];

/// Whether a path of the extension is a text, no unit, from which a host takes the paths of programs that it starts.
pub fn is_launcher(path: &TreePath) -> bool {
    LAUNCHER_DIRS.iter().any(|d| TreePath::new(d).is_ok_and(|d| path.starts_with(&d) && *path != d))
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
    /// The number of the line, from 1; the first one's if it is continued.
    pub line: usize,
}

/// The programs that a unit's `Exec…=` lines start, and all other paths that its lines name: as an argument, or in the
/// script of a shell. Relative names and those with specifiers, variables or escapes are left out: they can't be judged
/// here. In the order of the text.
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
                out.push(Exec { key: d.key.clone(), program: program.to_owned(), at, starts, line: d.line });
            }
        }
        for (at, program) in paths(&d.value) {
            // A continued line has a space where the text has more.
            let at = d.offset(at);
            if text.get(at..).is_some_and(|t| t.starts_with(program)) {
                let program = program.to_owned();
                out.push(Exec { key: d.key.clone(), program, at, starts: false, line: d.line });
            }
        }
    }
    // What is started comes first of two for one place.
    out.sort_by_key(|e| (e.at, !e.starts));
    let mut end = 0;
    out.retain(|e| {
        let apart = e.at >= end;
        end = end.max(e.at + e.program.len());
        apart
    });
    out
}

/// The paths that a launcher's lines name, comments left out. In the order of the text.
pub fn named(text: &str) -> Vec<Exec> {
    let mut out = Vec::new();
    let mut start = 0;
    for (i, line) in text.split_inclusive('\n').enumerate() {
        if !line.trim_start().starts_with('#') {
            out.extend(paths(line.as_bytes()).into_iter().map(|(at, program)| Exec {
                key: String::new(),
                program: program.to_owned(),
                at: start + at,
                starts: false,
                line: i + 1,
            }));
        }
        start += line.len();
    }
    out
}

/// Lines of a text, from 1, that name one of these paths, with the path: also where it is only a part of a word, as behind
/// a variable. Comments are left out.
pub fn lines_with<'p>(text: &str, paths: impl Iterator<Item = &'p str> + Clone) -> Vec<(usize, &'p str)> {
    let part = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || b"._+-/".contains(b));
    let names = |line: &str, path: &str| {
        line.match_indices(path).any(|(at, _)| {
            let (before, after) = (&line.as_bytes()[..at], &line.as_bytes()[at + path.len()..]);
            // No path goes on with an option's or expansion's dash.
            (before.ends_with(b"-") || !part(before.last())) && !part(after.first())
        })
    };
    let mut out = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with(['#', ';'])) {
        out.extend(paths.clone().filter(|path| names(line, path)).map(|path| (i + 1, path)));
    }
    out
}

/// Absolute paths that are words of a line, whatever quotes and operators a shell or a list has around them.
fn paths(line: &[u8]) -> Vec<(usize, &str)> {
    let of_path = |b: u8| b.is_ascii_alphanumeric() || b"/._+-@~".contains(&b);
    let before = |b: u8| b.is_ascii_whitespace() || b"'\"`;|&()<>=:,{[!".contains(&b);
    // What would go on with the name, were it known: a specifier, a variable, a pattern, an escape.
    let goes_on = |b: u8| b"%$*?[{\\".contains(&b) || !b.is_ascii();
    let mut out = Vec::new();
    let mut from = 0;
    while let Some(at) = line[from..].iter().position(|&b| b == b'/').map(|at| from + at) {
        let len = line[at..].iter().take_while(|&&b| of_path(b)).count();
        from = at + len;
        let starts = at.checked_sub(1).is_none_or(|i| before(line[i])) || is_default(&line[..at]);
        let ends = line.get(from).is_none_or(|&b| !goes_on(b));
        if let Ok(path) = std::str::from_utf8(&line[at..from])
            && starts
            && ends
            && len > 1
            && !path.starts_with("//")
        {
            out.push((at, path));
        }
    }
    out
}

/// Whether the value of a shell's variable that may be unset begins there: `${NAME:-` or `${NAME-`.
fn is_default(before: &[u8]) -> bool {
    let Some(rest) = before.strip_suffix(b"-").or_else(|| before.strip_suffix(b"+")) else { return false };
    let rest = rest.strip_suffix(b":").unwrap_or(rest);
    let name = rest.iter().rev().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
    name > 0 && rest[..rest.len() - name].ends_with(b"${")
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
            .replace("reload /usr/sbin/nginx", "reload /usr/bin/nginx")
            .replace("/sbin/start-stop", "/usr/bin/start-stop");
        assert_eq!(new, expected);
    }

    #[test]
    fn paths_within_words() {
        for (line, expected) in [
            ("/bin/sh -c 'exec /usr/sbin/x $OPTS'", "/bin/sh /usr/sbin/x"),
            (r#"sh -c "test -x /usr/sbin/x&&/usr/sbin/x;exit""#, "/usr/sbin/x /usr/sbin/x"),
            ("sh -c '$(/usr/sbin/x) `/usr/sbin/y`>/dev/null'", "/usr/sbin/x /usr/sbin/y /dev/null"),
            ("env A=1 --exec=/usr/sbin/x,/usr/sbin/y:/z", "/usr/sbin/x /usr/sbin/y /z"),
            ("${R}/usr/sbin/x /usr/sbin/x$V /usr/sbin/%i /usr/sbin/x* a/usr/b", ""),
            ("http://usr/sbin/x / //usr/x", ""),
            (r"/usr/sbin/x\x20y", ""),
        ] {
            let got: Vec<&str> = paths(line.as_bytes()).iter().map(|(_, p)| *p).collect();
            assert_eq!(got.join(" "), expected, "{line}");
        }
    }

    #[test]
    fn what_can_not_be_followed_is_found() {
        let text = "# /usr/sbin/x\n${R}/usr/sbin/x$V\n/usr/sbin/xy /a/usr/sbin/x.conf\n a=/usr/sbin/x\n";
        assert_eq!(lines_with(text, ["/usr/sbin/x"].into_iter()), [(2, "/usr/sbin/x"), (4, "/usr/sbin/x")]);
    }

    /// apachectl(8).
    #[test]
    fn a_variables_default_is_followed() {
        let text =
            "A=${HTTPD:-/usr/sbin/x}\nB=${B-/usr/sbin/y} ${C:+/usr/sbin/z}\n$D-/usr/sbin/no a-/usr/sbin/no\n";
        let found: Vec<String> = named(text).into_iter().map(|exec| exec.program).collect();
        assert_eq!(found, ["/usr/sbin/x", "/usr/sbin/y", "/usr/sbin/z"]);
        assert_eq!(lines_with(text, ["/usr/sbin/no"].into_iter()), [(3, "/usr/sbin/no")]);
    }

    #[test]
    fn launchers_are_known_by_their_folder() {
        for (path, expected) in [
            ("/usr/share/dbus-1/system-services/a.service", true),
            ("/usr/share/applications/a.desktop", true),
            ("/usr/lib/udev/rules.d/a.rules", true),
            ("/usr/lib/systemd/system/a.service", false),
            ("/usr/bin/x", false),
        ] {
            assert_eq!(is_launcher(&path.parse().unwrap()), expected, "{path}");
        }
        let text = "[D-BUS Service]\n#Exec=/usr/sbin/no\nExec=/usr/sbin/x --flag\n";
        let found = named(text);
        let edits: Vec<(Exec, String)> = found.into_iter().map(|e| (e, "/y".to_owned())).collect();
        assert_eq!(replace(text, &edits), "[D-BUS Service]\n#Exec=/usr/sbin/no\nExec=/y --flag\n");
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
