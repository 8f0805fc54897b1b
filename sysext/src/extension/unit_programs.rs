//! systemd units that come along: which programs they start, and where these are now. systemd.service(5), systemd.exec(5).

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

/// A program that a line of a unit starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// `ExecStart`.
    pub key: String,
    /// Its path.
    pub program: String,
    /// Where the path stands. Bytes from the unit's start.
    pub at: usize,
}

/// The programs that a unit's `Exec…=` lines start. Relative names and those with specifiers or variables are left out:
/// they can't be judged here.
pub fn programs(text: &str) -> Vec<Exec> {
    let mut out = Vec::new();
    let mut at = 0;
    let mut continued = false;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let body = line.trim_end_matches(['\n', '\r']);
        let was = continued;
        let comment = body.trim_start().starts_with(['#', ';']);
        // A comment within a continued line does not end it.
        continued = if comment { was } else { body.ends_with('\\') };
        if was || comment {
            continue;
        }
        let Some((key, value)) = body.split_once('=') else { continue };
        let key_name = key.trim();
        if !key_name.starts_with("Exec") || key_name.contains(|c: char| !c.is_ascii_alphabetic()) {
            continue;
        }
        let value_at = start + key.len() + 1;
        commands(key_name, value, value_at, &mut out);
    }
    out
}

/// A line may hold several commands, separated by a lone semicolon.
fn commands(key: &str, value: &str, at: usize, out: &mut Vec<Exec>) {
    let mut first = true;
    let mut position = 0;
    for word in value.split_inclusive(char::is_whitespace) {
        let start = position;
        position += word.len();
        let text = word.trim_end();
        if text.is_empty() {
            continue;
        }
        if text == ";" {
            first = true;
            continue;
        }
        if std::mem::take(&mut first) {
            let program = text.trim_start_matches(['@', '-', ':', '+', '!', '|']);
            let skipped = text.len() - program.len();
            let quoted = program.trim_matches(['"', '\'']);
            let skipped = skipped + program.find(quoted).unwrap_or(0);
            if quoted.starts_with('/') && !quoted.contains(['%', '$', '\\']) {
                out.push(Exec { key: key.to_owned(), program: quoted.to_owned(), at: at + start + skipped });
            }
        }
    }
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
#ExecStart=/usr/bin/comment
[Service]
ExecStartPre=/usr/sbin/nginx -t -q -g 'daemon on; master_process on;'
ExecStart=/usr/sbin/nginx -g 'daemon on;'
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
            .replace("=/usr/sbin/nginx", "=/usr/bin/nginx")
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
