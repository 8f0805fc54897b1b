//! Quoting: words for sh, fields for fstab. Whatever the bytes, they stay data.

use std::fmt::Write as _;

use tree::TreePath;

/// Whether a path can stand in a script.
pub(crate) fn is_text(path: &TreePath) -> bool {
    std::str::from_utf8(path.as_relative()).is_ok_and(|text| !text.chars().any(char::is_control))
}

/// One word for a POSIX shell; plain where nothing needs quoting. POSIX.1-2017, XCU 2.2.
///
/// In single quotes, but for what can't stand there, or what shellcheck takes for a mistake there.
///
/// ```
/// assert_eq!(flatwrap::quote::sh("/usr/bin/nginx"), "/usr/bin/nginx");
/// assert_eq!(flatwrap::quote::sh("a b"), "'a b'");
/// assert_eq!(flatwrap::quote::sh("it's $(here)"), r#""it's \$(here)""#);
/// assert_eq!(flatwrap::quote::sh("“it's”"), r#"'“it'"'s"'”'"#);
/// ```
pub fn sh(word: &str) -> String {
    let plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-' | b'+' | b':' | b',');
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    let mut quotes = word.chars().find_map(quotes_of).unwrap_or('\'');
    let mut out = String::from(quotes);
    for c in word.chars() {
        if let Some(other) = quotes_of(c).filter(|&other| other != quotes) {
            out.extend([quotes, other]);
            quotes = other;
        }
        if quotes == '"' && matches!(c, '\\' | '"' | '$' | '`') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push(quotes);
    out
}

/// The quotes that a character needs around it, or none if any will do. shellcheck SC1003, SC1111, SC1112, SC2016.
fn quotes_of(c: char) -> Option<char> {
    match c {
        '\'' | '$' | '`' | '\\' | '‘' | '’' => Some('"'),
        '“' | '”' | '″' | '‶' => Some('\''),
        _ => None,
    }
}

/// One field of an fstab line: what separates fields or starts a comment as `\ooo`. fstab(5), getmntent(3).
pub(crate) fn fstab(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    for c in field.chars() {
        match c {
            ' ' | '\t' | '\n' | '\r' | '\\' | '#' => _ = write!(out, "\\{:03o}", u32::from(c)),
            c => out.push(c),
        }
    }
    out
}
