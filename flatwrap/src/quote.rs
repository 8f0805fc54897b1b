//! Quoting: words for sh, fields for fstab. Whatever the bytes, they stay data.

use std::fmt::Write as _;

use tree::TreePath;

/// Whether a path can stand in a script.
pub(crate) fn is_text(path: &TreePath) -> bool {
    std::str::from_utf8(path.as_relative()).is_ok_and(|text| !text.chars().any(char::is_control))
}

/// One word for a POSIX shell; plain where nothing needs quoting. POSIX.1-2017, XCU 2.2.
///
/// ```
/// assert_eq!(flatwrap::quote::sh("/usr/bin/nginx"), "/usr/bin/nginx");
/// assert_eq!(flatwrap::quote::sh("a b"), "'a b'");
/// assert_eq!(flatwrap::quote::sh("it's $(here)"), r#""it's \$(here)""#);
/// ```
pub fn sh(word: &str) -> String {
    let plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-' | b'+' | b':' | b',');
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    // shellcheck takes a `$` or a backslash in single quotes for a mistake.
    if !word.contains(['\'', '$', '`', '\\']) {
        return format!("'{word}'");
    }
    let mut out = String::from("\"");
    for c in word.chars() {
        if matches!(c, '\\' | '"' | '$' | '`') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
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
