//! Absolute paths in strings.

/// Where a pattern or a variable part begins, or a path ends.
const ENDS: &[u8] = b"%$*?{}<>\"'`[]()\\|&#=";

/// The absolute paths that a string consists of: one, the first word of a command line, a list with colons, the value of an
/// assignment. Of a path that is filled in at run time it is the folder before that.
pub(super) fn candidates(string: &[u8]) -> impl Iterator<Item = &[u8]> {
    let string = string.trim_ascii();
    let value = match string.iter().position(|&b| b == b'=') {
        Some(at) if string[..at].iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b)) => {
            &string[at + 1..]
        }
        _ => string,
    };
    let word = value.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    word.split(|b| b":;,".contains(b)).filter_map(fixed).take(64)
}

/// Of a path in which a version or the like is filled in, the folder before that and the beginning of the name: `/usr/lib` and
/// `csv` of `/usr/lib/csv%v/%m`.
pub(super) fn numbered(string: &[u8]) -> Option<(&[u8], &[u8])> {
    let string = string.trim_ascii();
    let at = string.iter().position(|&b| b == b'%')?;
    let slash = string[..at].iter().rposition(|&b| b == b'/')?;
    let (dir, name) = (&string[..slash], &string[slash + 1..at]);
    let is_path = |part: &[u8]| !part.iter().any(|b| ENDS.contains(b) || b":;, ".contains(b));
    (dir.starts_with(b"/") && dir.len() < 4096 && name.len() > 2 && is_path(dir) && is_path(name))
        .then_some((dir, name))
}

/// The part of a path that is the same whatever is filled in.
fn fixed(path: &[u8]) -> Option<&[u8]> {
    if !path.starts_with(b"/") {
        return None;
    }
    let path = match path.iter().position(|b| ENDS.contains(b)) {
        Some(end) => &path[..path[..end].iter().rposition(|&b| b == b'/')?],
        None => path,
    };
    (path.len() > 1 && path.len() < 4096).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_versions() {
        for (string, expected) in [
            ("/usr/lib/csv%v/%m", Some(("/usr/lib", "csv"))),
            ("/usr/share/x/%s.txt", None),
            ("/usr/lib/csv", None),
            ("see /usr/lib/csv%v", None),
        ] {
            let expected = expected.map(|(dir, name)| (dir.as_bytes(), name.as_bytes()));
            assert_eq!(numbered(string.as_bytes()), expected, "{string:?}");
        }
    }

    #[test]
    fn paths_of_strings() {
        for (string, expected) in [
            ("/usr/lib/git-core", "/usr/lib/git-core"),
            ("/usr/share/x/%s.txt", "/usr/share/x"),
            ("/usr/share/x%d/a", "/usr/share"),
            ("/etc/a:/usr/b:c:/d;/e", "/etc/a /usr/b /d /e"),
            ("PATH=/usr/a:/b", "/usr/a /b"),
            ("--data=/usr/share/d", "/usr/share/d"),
            ("/usr/sbin/mta -t -i", "/usr/sbin/mta"),
            ("see /usr/share/doc/x", ""),
            ("/", ""),
            ("", ""),
            ("a/b", ""),
        ] {
            let got: Vec<_> = candidates(string.as_bytes()).map(String::from_utf8_lossy).collect();
            assert_eq!(got.join(" "), expected, "{string:?}");
        }
    }
}
