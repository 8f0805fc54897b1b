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
}
