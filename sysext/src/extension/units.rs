//! systemd unit files, as far as their `Exec` lines go.

use crate::tree::escape;

/// `Key=value` of a unit file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// The section's name: `Service`.
    pub section: String,
    /// The key: `ExecStart`.
    pub key: String,
    /// The value, continuation lines joined by a space.
    pub value: Vec<u8>,
    /// The number of its first line, from 1.
    pub line: usize,
}

/// One `Exec…=` line that starts something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecLine {
    /// The key: `ExecStart`.
    pub key: String,
    /// The program, without prefixes and quotes. Not always a path: systemd searches a bare name in its own list of
    /// directories.
    pub program: Vec<u8>,
    /// Whether the line begins with `-`: a failure, also that of a missing program, is no error.
    pub optional: bool,
    /// The number of the line, from 1.
    pub line: usize,
}

/// The directives of a unit file in order. What systemd would ignore is ignored. systemd.syntax(7).
pub fn parse(text: &[u8]) -> Vec<Directive> {
    let mut out = Vec::new();
    let mut section = String::new();
    let mut pending: Option<(usize, Vec<u8>)> = None;
    for (i, raw) in text.split(|&b| b == b'\n').enumerate() {
        let line = raw.trim_ascii();
        let comment = matches!(line.first(), Some(b'#' | b';'));
        // Comments between continuation lines are skipped.
        if comment || (line.is_empty() && pending.is_none()) {
            continue;
        }
        let (start, mut whole) = pending.take().unwrap_or((i + 1, Vec::new()));
        if let Some(head) = line.strip_suffix(b"\\") {
            whole.extend_from_slice(head);
            whole.push(b' ');
            pending = Some((start, whole));
            continue;
        }
        whole.extend_from_slice(line);
        add_line(&whole, start, &mut section, &mut out);
    }
    if let Some((start, whole)) = pending {
        add_line(&whole, start, &mut section, &mut out);
    }
    out
}

fn add_line(line: &[u8], number: usize, section: &mut String, out: &mut Vec<Directive>) {
    let line = line.trim_ascii();
    if let Some(name) = line.strip_prefix(b"[").and_then(|l| l.strip_suffix(b"]")) {
        *section = String::from_utf8_lossy(name).into_owned();
    } else if let Some(equals) = line.iter().position(|&b| b == b'=') {
        out.push(Directive {
            section: section.clone(),
            key: String::from_utf8_lossy(line[..equals].trim_ascii()).into_owned(),
            value: line[equals + 1..].trim_ascii().to_vec(),
            line: number,
        });
    }
}

/// What the unit starts: the lines that hold at the end, since an empty assignment forgets those before it.
/// systemd.service(5), "Command lines".
pub fn exec_lines(directives: &[Directive]) -> Vec<ExecLine> {
    let mut out: Vec<ExecLine> = Vec::new();
    for d in directives {
        let takes_commands = match d.section.as_str() {
            "Service" => matches!(
                d.key.as_str(),
                "ExecStart"
                    | "ExecStartPre"
                    | "ExecStartPost"
                    | "ExecCondition"
                    | "ExecReload"
                    | "ExecStop"
                    | "ExecStopPost"
            ),
            "Socket" => {
                matches!(d.key.as_str(), "ExecStartPre" | "ExecStartPost" | "ExecStopPre" | "ExecStopPost")
            }
            _ => false,
        };
        if !takes_commands {
            continue;
        }
        if d.value.is_empty() {
            out.retain(|e| e.key != d.key);
            continue;
        }
        // Several commands stand on one line with a lone `;` between them.
        let words = words(&d.value);
        for command in words.split(|w| w.as_slice() == b";") {
            let Some(first) = command.first() else { continue };
            let prefixes = first.iter().take_while(|b| b"@-:+!|".contains(b)).count();
            let program = first[prefixes..].to_vec();
            if !program.is_empty() {
                let optional = first[..prefixes].contains(&b'-');
                out.push(ExecLine { key: d.key.clone(), program, optional, line: d.line });
            }
        }
    }
    out
}

/// Splits at white space, quotes and backslashes honoured.
fn words(text: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = text.iter().copied();
    while let Some(b) = bytes.next() {
        match (b, quote) {
            (b'\\', q) if q != Some(b'\'') => {
                let word = word.get_or_insert_default();
                match bytes.next() {
                    Some(b's') => word.push(b' '),
                    Some(b't') => word.push(b'\t'),
                    Some(b'n') => word.push(b'\n'),
                    Some(b'x') => {
                        let hex = [bytes.next(), bytes.next()].map(|d| d.unwrap_or(b'0'));
                        let value =
                            std::str::from_utf8(&hex).ok().and_then(|h| u8::from_str_radix(h, 16).ok());
                        word.extend(value);
                    }
                    Some(other) => word.push(other),
                    None => {}
                }
            }
            (b'"' | b'\'', None) => {
                quote = Some(b);
                word.get_or_insert_default();
            }
            (_, Some(q)) if q == b => quote = None,
            (b' ' | b'\t', None) => out.extend(word.take()),
            _ => word.get_or_insert_default().push(b),
        }
    }
    out.extend(word);
    out
}

impl std::fmt::Display for ExecLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={} (line {})", self.key, escape(&self.program), self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execs(text: &str) -> Vec<String> {
        exec_lines(&parse(text.as_bytes())).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn exec_lines_of_all_shapes() {
        let table: [(&str, &[&str]); 12] = [
            ("[Service]\nExecStart=/usr/bin/a -x\n", &["ExecStart=/usr/bin/a (line 2)"]),
            ("[Service]\nExecStart = -@/usr/bin/a zero\n", &["ExecStart=/usr/bin/a (line 2)"]),
            ("[Service]\nExecStart=!!/a\nExecStop=+:/b", &["ExecStart=/a (line 2)", "ExecStop=/b (line 3)"]),
            ("[Service]\nExecStartPre=\"/opt/my prog\" x", &["ExecStartPre=/opt/my prog (line 2)"]),
            (
                "[Service]\nExecStartPre='/a' ; /b c ; -/d",
                &["ExecStartPre=/a (line 2)", "ExecStartPre=/b (line 2)", "ExecStartPre=/d (line 2)"],
            ),
            (
                "[Service]\nExecStart=/a \\\n# note\n  --b \\\n  --c\nExecStop=/d",
                &["ExecStart=/a (line 2)", "ExecStop=/d (line 6)"],
            ),
            ("[Service]\nExecStart=\\\n/a b", &["ExecStart=/a (line 2)"]),
            ("[Service]\nExecStart=/a\nExecStart=\nExecStart=/b", &["ExecStart=/b (line 4)"]),
            ("[Unit]\nExecStart=/a\n[Socket]\nExecStartPre=/b\nExecStart=/c", &["ExecStartPre=/b (line 4)"]),
            ("# [Service]\n;ExecStart=/a\n", &[]),
            ("[Service]\nExecStart=/a\\x20b\\sc", &["ExecStart=/a b c (line 2)"]),
            ("[Service]\nExecStart=-\nExecStartPre=\\", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(execs(text), expected, "{text}");
        }
        assert!(exec_lines(&parse(b"[Service]\nExecStart=-/a"))[0].optional);
    }

    #[test]
    fn takes_any_bytes() {
        for text in [
            &b"\xff=\n[\xff]\n=\\"[..],
            b"\\",
            b"",
            b"[Service]\nExecStart=\\x",
            b"[Service]\nExecStart=\"\xff",
        ] {
            let _ = exec_lines(&parse(text));
        }
    }
}
