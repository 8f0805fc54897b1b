//! Words of systemd's configuration files, quoted. systemd.syntax(7), sysusers.d(5), tmpfiles.d(5).

/// A word of a line of columns: quoted if it has to be, specifiers escaped.
pub(crate) fn word(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut quoted = text.is_empty();
    for &b in text {
        match b {
            b'%' => out.extend(b"%%"),
            b'"' | b'\\' => {
                quoted = true;
                out.extend([b'\\', b]);
            }
            b' ' | b'\'' => {
                quoted = true;
                out.push(b);
            }
            b if b.is_ascii_control() => {
                quoted = true;
                out.extend(format!("\\x{b:02x}").bytes());
            }
            b => out.push(b),
        }
    }
    if quoted { [b"\"".as_slice(), &out, b"\""].concat() } else { out }
}

/// The last column of tmpfiles.d, which isn't unquoted: escapes and specifiers count in it, quotes don't.
pub(crate) fn argument(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &b in text {
        match b {
            b'%' => out.extend(b"%%"),
            b'\\' => out.extend(b"\\\\"),
            b if b.is_ascii_control() || b == b' ' => out.extend(format!("\\x{b:02x}").bytes()),
            b => out.push(b),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (text, expected) in [
            ("/var/lib/a", "/var/lib/a"),
            ("/var/lib/a b", "\"/var/lib/a b\""),
            ("100%", "100%%"),
            ("a\"\\", "\"a\\\"\\\\\""),
            ("a\nb", "\"a\\x0ab\""),
            ("", "\"\""),
        ] {
            assert_eq!(String::from_utf8(word(text.as_bytes())).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn arguments() {
        for (text, expected) in [
            ("/etc/a", "/etc/a"),
            ("/etc/a b", "/etc/a\\x20b"),
            ("100%", "100%%"),
            ("a\"\\", "a\"\\\\"),
            ("a\nb", "a\\x0ab"),
        ] {
            assert_eq!(String::from_utf8(argument(text.as_bytes())).unwrap(), expected, "{text:?}");
        }
    }
}
