//! What a command prints, as lines that a terminal can be trusted with.

/// Bytes. A longer line comes in pieces.
const LINE_MAX: usize = 4096;

/// Cuts a stream into lines: at line feeds, and at the carriage returns by which progress bars overwrite themselves.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    pub(super) fn take(&mut self, bytes: &[u8], line: &mut impl FnMut(String)) {
        for &byte in bytes {
            match byte {
                b'\n' | b'\r' => self.finish(line),
                byte => {
                    self.pending.push(byte);
                    if self.pending.len() == LINE_MAX {
                        self.finish(line);
                    }
                }
            }
        }
    }

    /// The last line, if it has no end.
    pub(super) fn finish(&mut self, line: &mut impl FnMut(String)) {
        let text = plain(&self.pending);
        self.pending.clear();
        if !text.trim().is_empty() {
            line(text);
        }
    }
}

/// Without escape sequences and other control characters, which could repaint the user's screen. ECMA-48, 5.4.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\t' => out.push(' '),
            '\u{1b}' => match chars.next() {
                Some('[') => while chars.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
                Some(']') => while chars.next().is_some_and(|c| c != '\u{7}' && c != '\u{1b}') {},
                _ => {}
            },
            c if tree::is_control(c) => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut out = Vec::new();
        let mut lines = Lines::default();
        for piece in pieces {
            lines.take(piece, &mut |l| out.push(l));
        }
        lines.finish(&mut |l| out.push(l));
        out
    }

    #[test]
    fn cutting() {
        let rows: &[(&[&[u8]], &[&str])] = &[
            (&[], &[]),
            (&[b"one\ntwo\n"], &["one", "two"]),
            (&[b"on", b"e\nt", b"wo"], &["one", "two"]),
            (&[b"10%\r20%\r\ndone\n\n"], &["10%", "20%", "done"]),
            (&[b"\x1b[1;31mred\x1b[0m\n"], &["red"]),
            (&[b"\x1b]0;title\x07text\n"], &["text"]),
            (&[b"a\x1b[2J\x08b\x00\n"], &["ab"]),
            (&[b"a\tb \xff\n"], &["a b \u{fffd}"]),
            (&[b"\x1b["], &[]),
        ];
        for (pieces, expected) in rows {
            assert_eq!(lines(pieces), *expected, "{pieces:?}");
        }
        assert_eq!(
            lines(&[&[b'x'; LINE_MAX + 1]]).iter().map(String::len).collect::<Vec<_>>(),
            [LINE_MAX, 1]
        );
    }
}
