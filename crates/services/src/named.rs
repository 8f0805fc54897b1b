//! Paths that texts name.

use std::collections::BTreeSet;

use tree::{StaticPath, TreePath};

use crate::places::{ETC, RUN, SRV, VAR};

const TOPS: [StaticPath; 4] = [ETC, RUN, SRV, VAR];

/// Whether a byte may be part of a path in a text; quotes, spaces and variables end one.
fn is_part(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"/._+-@,~".contains(&b) || b >= 0x80
}

/// Paths below /etc, /run, /srv and /var in a text. One with a pattern, variable or specifier in it doesn't count.
pub(crate) fn paths(text: &[u8]) -> BTreeSet<TreePath> {
    let mut out = BTreeSet::new();
    let mut at = 0;
    while let Some(start) = text.get(at..).and_then(|t| t.iter().position(|&b| b == b'/')).map(|p| at + p) {
        let rest = &text[start..];
        let len = rest.iter().position(|&b| !is_part(b)).unwrap_or(rest.len());
        at = start + len.max(1);
        // Part of a longer word: of another path, or of a variable's value. `-c/etc/x` is an option with its value.
        let before = &text[..start];
        let option = || {
            let word =
                before.iter().rev().take_while(|b| !b.is_ascii_whitespace() && !b"\"'".contains(b)).count();
            let word = &before[before.len() - word..];
            word.len() == 2 && word[0] == b'-' && word[1].is_ascii_alphabetic()
        };
        let joins = |b: &u8| b.is_ascii_alphanumeric() || b"/._}$%*".contains(b) || *b >= 0x80;
        if before.last().is_some_and(joins) && !option() {
            continue;
        }
        if rest.get(len).is_some_and(|b| b"%*$?[{".contains(b)) {
            continue;
        }
        let word = rest[..len].split(|&b| b == b',').next().unwrap_or_default();
        let word = word.strip_suffix(b".").unwrap_or(word);
        let Ok(path) = TreePath::new(word) else { continue };
        if path.depth() > 1 && TOPS.iter().any(|top| path.starts_with(&top.path())) {
            out.insert(path);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_texts() {
        for (text, expected) in [
            ("ExecStart=/usr/bin/a -c /etc/a.conf --d=/var/lib/a", "/etc/a.conf /var/lib/a"),
            ("EnvironmentFile=-/etc/default/a\nX=\"/run/a\" '/srv/b'", "/etc/default/a /run/a /srv/b"),
            ("-c/etc/a /usr/etc/b x/etc/c ${A}/etc/d /etc /etc/", "/etc/a"),
            ("see /etc/a. or /etc/b, (/etc/c)", "/etc/a /etc/b /etc/c"),
            ("/etc/%i/x /etc/a*.conf /etc/$A /etc/../x", ""),
        ] {
            let got: Vec<String> = paths(text.as_bytes()).iter().map(ToString::to_string).collect();
            assert_eq!(got.join(" "), expected, "{text}");
        }
    }
}
