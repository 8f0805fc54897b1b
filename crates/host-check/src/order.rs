//! The order of layers: systemd-sysext sorts by name as by version, and the newest comes on top.

use std::cmp::Ordering;

/// Compares two names as systemd does. UAPI.10, "Version Format Specification".
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        (a, b) = (skip(a), skip(b));
        // Before the end: 1.0~rc1 is older than 1.0.
        match (a.first() == Some(&b'~'), b.first() == Some(&b'~')) {
            (true, true) => {
                (a, b) = (&a[1..], &b[1..]);
                continue;
            }
            (false, false) => {}
            (x, y) => return y.cmp(&x),
        }
        if a.is_empty() || b.is_empty() {
            return b.is_empty().cmp(&a.is_empty());
        }
        match [b'-', b'^', b'.'].into_iter().find(|c| a[0] == *c || b[0] == *c) {
            Some(c) if a[0] == b[0] => {
                debug_assert_eq!(a[0], c);
                (a, b) = (&a[1..], &b[1..]);
                continue;
            }
            // Who has the separator is older.
            Some(c) => return (a[0] != c).cmp(&(b[0] != c)),
            None => {}
        }
        let numeric = a[0].is_ascii_digit() || b[0].is_ascii_digit();
        let of_kind = |byte: &u8| if numeric { byte.is_ascii_digit() } else { byte.is_ascii_alphabetic() };
        let (x, rest_a) = a.split_at(a.iter().take_while(|b| of_kind(b)).count());
        let (y, rest_b) = b.split_at(b.iter().take_while(|b| of_kind(b)).count());
        let order = match numeric {
            // Numbers are newer than letters.
            true => x.is_empty().cmp(&y.is_empty()).reverse().then_with(|| number(x, y)),
            false => x.cmp(y),
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

fn skip(text: &[u8]) -> &[u8] {
    let valid = |b: &u8| b.is_ascii_alphanumeric() || b"~-^.".contains(b);
    &text[text.iter().take_while(|b| !valid(b)).count()..]
}

/// Numbers of any length.
fn number(a: &[u8], b: &[u8]) -> Ordering {
    let significant = |n: &[u8]| n.iter().take_while(|b| **b == b'0').count();
    let (a, b) = (&a[significant(a)..], &b[significant(b)..]);
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of UAPI.10, and names as hosts have them.
    #[test]
    fn names_are_sorted_as_versions() {
        let ascending = [
            "~1",
            "",
            "ab",
            "abb",
            "abc",
            "0001",
            "002",
            "12",
            "122",
            "122.9",
            "123~rc1",
            "123",
            "123-a",
            "123-a.1",
            "123-a1",
            "123-a1.1",
            "123-3",
            "123-3.1",
            "123^patch1",
            "123^1",
            "123.a-1",
            "123.1-1",
            "123a-1",
            "124",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(compare_versions(a, b), i.cmp(&j), "{a:?} {b:?}");
            }
        }
        assert_eq!(compare_versions("docker_1", "docker1"), Ordering::Equal);
        assert_eq!(compare_versions("k3s", "k10s"), Ordering::Less);
        assert_eq!(compare_versions("v1.2", "1.2"), Ordering::Less);
    }
}
