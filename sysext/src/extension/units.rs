//! systemd unit files, as far as their `Exec` lines go.

use tree::escape;

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
    /// Where the lines of the value begin: in it, and in the text.
    pieces: Vec<(usize, usize)>,
}

impl Directive {
    /// The place in the unit's text of a byte of the value.
    pub fn offset(&self, at: usize) -> usize {
        let piece = self.pieces.iter().rev().find(|(start, _)| *start <= at);
        piece.map_or(at, |(start, text)| text + (at - start))
    }
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

/// A line with its continuation lines.
#[derive(Debug, Default)]
struct Joined {
    bytes: Vec<u8>,
    pieces: Vec<(usize, usize)>,
    number: usize,
}

/// The directives of a unit file in order. What systemd would ignore is ignored. systemd.syntax(7).
pub fn parse(text: &[u8]) -> Vec<Directive> {
    let mut out = Vec::new();
    let mut section = String::new();
    let mut pending: Option<Joined> = None;
    let mut at = 0;
    for (i, raw) in text.split(|&b| b == b'\n').enumerate() {
        let line = raw.strip_suffix(b"\r").unwrap_or(raw).trim_ascii_start();
        let start = at + raw.len() - raw.trim_ascii_start().len();
        at += raw.len() + 1;
        // Comments between continuation lines are skipped.
        if matches!(line.first(), Some(b'#' | b';')) || (line.is_empty() && pending.is_none()) {
            continue;
        }
        let mut joined = pending.take().unwrap_or(Joined { number: i + 1, ..Joined::default() });
        joined.pieces.push((joined.bytes.len(), start));
        joined.bytes.extend_from_slice(line);
        // A backslash that is not escaped itself, with nothing behind it.
        if line.iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1 {
            joined.bytes.pop();
            joined.bytes.push(b' ');
            pending = Some(joined);
            continue;
        }
        add_line(&joined, &mut section, &mut out);
    }
    if let Some(joined) = pending {
        add_line(&joined, &mut section, &mut out);
    }
    out
}

fn add_line(joined: &Joined, section: &mut String, out: &mut Vec<Directive>) {
    let line = joined.bytes.as_slice();
    if let Some(name) = line.trim_ascii().strip_prefix(b"[").and_then(|l| l.strip_suffix(b"]")) {
        *section = String::from_utf8_lossy(name).into_owned();
    } else if let Some(equals) = line.iter().position(|&b| b == b'=') {
        let value = line[equals + 1..].trim_ascii();
        let from = line.len() - line[equals + 1..].trim_ascii_start().len();
        // The pieces that end before the value give none of it.
        let first = joined.pieces.iter().rposition(|(start, _)| *start <= from).unwrap_or(0);
        let piece = |&(start, text): &(usize, usize)| match start.checked_sub(from) {
            Some(start) => (start, text),
            None => (0, text + (from - start)),
        };
        out.push(Directive {
            section: section.clone(),
            key: String::from_utf8_lossy(line[..equals].trim_ascii()).into_owned(),
            value: value.to_vec(),
            line: joined.number,
            pieces: joined.pieces[first..].iter().map(piece).collect(),
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
        for first in commands(&d.value) {
            let prefixes = prefixes(&first.text);
            let program = first.text[prefixes..].to_vec();
            if !program.is_empty() {
                let optional = first.text[..prefixes].contains(&b'-');
                out.push(ExecLine { key: d.key.clone(), program, optional, line: d.line });
            }
        }
    }
    out
}

/// The commands of a line, each with its arguments. What only says how a program is started is taken off it; a lone `;` ends a
/// command.
pub fn command_lines(value: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut out: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut first = true;
    for word in words(value) {
        match (word.text == b";", out.last_mut()) {
            (true, _) => {
                first = true;
                continue;
            }
            (false, Some(command)) if !first => command.push(word.text),
            _ => out.push(vec![word.text[prefixes(&word.text)..].to_vec()]),
        }
        first = false;
    }
    out
}

/// How many of the characters at its start only say how a program is started. systemd.service(5), "Command lines".
pub(super) fn prefixes(word: &[u8]) -> usize {
    word.iter().take_while(|b| b"@-:+!|".contains(b)).count()
}

/// A word of a value.
#[derive(Debug, Default)]
pub struct Word {
    /// Without quotes and escapes.
    pub text: Vec<u8>,
    /// Where it stands in the value, quotes and escapes included.
    pub at: std::ops::Range<usize>,
}

/// The first words of a line's commands. Several stand on one line with a lone `;` between them.
pub(super) fn commands(value: &[u8]) -> Vec<Word> {
    let mut out = Vec::new();
    let mut first = true;
    for word in words(value) {
        let ends = word.text == b";";
        if first && !ends {
            out.push(word);
        }
        first = ends;
    }
    out
}

/// Splits at white space, quotes and backslashes honoured.
pub fn words(text: &[u8]) -> Vec<Word> {
    let mut out = Vec::new();
    let mut word: Option<Word> = None;
    let mut quote = None;
    let mut bytes = text.iter().copied().enumerate();
    while let Some((at, b)) = bytes.next() {
        if quote.is_none() && matches!(b, b' ' | b'\t') {
            out.extend(word.take().map(|w| Word { at: w.at.start..at, ..w }));
            continue;
        }
        let word = &mut word.get_or_insert_with(|| Word { at: at..text.len(), ..Word::default() }).text;
        let mut next = || bytes.next().map(|(_, b)| b);
        match (b, quote) {
            (b'\\', q) if q != Some(b'\'') => match next() {
                Some(b's') => word.push(b' '),
                Some(b't') => word.push(b'\t'),
                Some(b'n') => word.push(b'\n'),
                Some(b'x') => {
                    let hex = [next(), next()].map(|d| d.unwrap_or(b'0'));
                    let value = std::str::from_utf8(&hex).ok().and_then(|h| u8::from_str_radix(h, 16).ok());
                    word.extend(value);
                }
                Some(other) => word.push(other),
                None => {}
            },
            (b'"' | b'\'', None) => quote = Some(b),
            (_, Some(q)) if q == b => quote = None,
            _ => word.push(b),
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

/// The template of an instance: `getty@.service` for `getty@tty1.service`. None for a unit that is no instance. systemd.unit(5).
pub fn template(unit: &str) -> Option<String> {
    let (name, instance) = unit.split_once('@')?;
    let kind = instance.rsplit_once('.')?.1;
    Some(format!("{name}@.{kind}"))
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
    fn values_know_their_places() {
        let text = b"# x\r\n [Service]\r\nExecStart = \\\n# note\n  /a \\\n  --b \\\\\nA=  b  \r\n=\nC=\\";
        let mut got = Vec::new();
        for d in parse(text) {
            for (at, b) in d.value.iter().enumerate() {
                // A continuation line's backslash is a space of the value.
                assert!(text[d.offset(at)] == *b || (text[d.offset(at)], *b) == (b'\\', b' '), "{d:?}");
            }
            got.push(format!("{}={}|{}", d.key, escape(&d.value), d.line));
        }
        assert_eq!(got, ["ExecStart=/a  --b \\\\\\\\|3", "A=b|7", "=|8", "C=|9"]);
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
