//! Versions: their order, and ranges of them.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A version as upstream writes it: `1.7.29`, `v1.32.2+k3s1`.
///
/// Ordered by UAPI.10, a `v` before a digit aside; versions that this takes for equal (`1.0` and `v1.0`) are ordered by
/// their text, so that the order is total.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(String);

/// Why a word is no [`Version`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum VersionError {
    #[error("version is empty")]
    Empty,
    /// Longer than file names allow.
    #[error("version is {0} bytes long, expected at most {MAX}")]
    TooLong(usize),
    /// A character that URLs, file names or systemd-sysupdate don't take well.
    #[error("version {0:?} has {1:?}, expected letters, digits and any of \".,_+~^-\"")]
    Character(String, char),
    /// Would be taken for an option or a hidden file.
    #[error("version {0:?} starts with {1:?}, expected a letter or digit")]
    Start(String, char),
}

/// Bytes; room for a name and an architecture beside it in a file name.
const MAX: usize = 100;

impl Version {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without a `v` before the first digit.
    pub fn plain(&self) -> &str {
        plain(&self.0)
    }

    /// The number before the first dot: `1` of `v1.7.29`. All of it if there is no dot.
    pub fn major(&self) -> &str {
        self.plain().split('.').next().unwrap_or_default()
    }

    /// The first two numbers: `1.7` of `v1.7.29`.
    pub fn minor(&self) -> &str {
        let plain = self.plain();
        match plain.match_indices('.').nth(1) {
            Some((at, _)) => &plain[..at],
            None => plain,
        }
    }
}

fn plain(text: &str) -> &str {
    match text.strip_prefix('v') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => rest,
        _ => text,
    }
}

impl FromStr for Version {
    type Err = VersionError;
    fn from_str(s: &str) -> Result<Self, VersionError> {
        let first = s.chars().next().ok_or(VersionError::Empty)?;
        if s.len() > MAX {
            return Err(VersionError::TooLong(s.len()));
        }
        if let Some(odd) = s.chars().find(|c| !(c.is_ascii_alphanumeric() || ".,_+~^-".contains(*c))) {
            return Err(VersionError::Character(s.to_owned(), odd));
        }
        if !first.is_ascii_alphanumeric() {
            return Err(VersionError::Start(s.to_owned(), first));
        }
        Ok(Version(s.to_owned()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// UAPI.10's order of two versions, a `v` before a digit aside.
/// <https://uapi-group.org/specifications/specs/version_format_specification/>
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (plain(a).as_bytes(), plain(b).as_bytes());
    loop {
        a = skip_others(a);
        b = skip_others(b);
        // A tilde sorts before everything, the end included.
        match separator(&mut a, &mut b, b'~') {
            Ordering::Equal => {}
            order => return order,
        }
        if a.is_empty() || b.is_empty() {
            return (!a.is_empty()).cmp(&!b.is_empty());
        }
        for mark in [b'-', b'^', b'.'] {
            match separator(&mut a, &mut b, mark) {
                Ordering::Equal => {}
                order => return order,
            }
        }
        let digit = |s: &[u8]| s.first().is_some_and(u8::is_ascii_digit);
        let order = if digit(a) || digit(b) {
            let (x, y) = (span(&mut a, u8::is_ascii_digit), span(&mut b, u8::is_ascii_digit));
            // No number at all is less than any.
            let (empty_x, empty_y) = (x.is_empty(), y.is_empty());
            let (x, y) = (without_zeros(x), without_zeros(y));
            (!empty_x).cmp(&!empty_y).then(x.len().cmp(&y.len())).then(x.cmp(y))
        } else {
            let (x, y) = (span(&mut a, u8::is_ascii_alphabetic), span(&mut b, u8::is_ascii_alphabetic));
            x.cmp(y)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn skip_others(s: &[u8]) -> &[u8] {
    let known = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'~' | b'-' | b'^' | b'.');
    let at = s.iter().position(known).unwrap_or(s.len());
    &s[at..]
}

/// The side that has the mark sorts first; if both have it, both lose it.
fn separator(a: &mut &[u8], b: &mut &[u8], mark: u8) -> Ordering {
    let (has_a, has_b) = (a.first() == Some(&mark), b.first() == Some(&mark));
    if has_a && has_b {
        (*a, *b) = (&a[1..], &b[1..]);
    }
    has_b.cmp(&has_a)
}

fn span<'a>(s: &mut &'a [u8], of: fn(&u8) -> bool) -> &'a [u8] {
    let at = s.iter().position(|b| !of(b)).unwrap_or(s.len());
    let (head, tail) = s.split_at(at);
    *s = tail;
    head
}

fn without_zeros(s: &[u8]) -> &[u8] {
    let at = s.iter().position(|&b| b != b'0').unwrap_or(s.len());
    &s[at..]
}

/// Versions that a rule is for: comparisons that all have to hold, `>=1.7.0, <2.0.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    text: String,
    bounds: Vec<(Comparison, Version)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Equal,
    Not,
    AtLeast,
    Greater,
}

/// Longer operators first, so that `<` doesn't take the beginning of `<=`.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("!=", Comparison::Not),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
    ("=", Comparison::Equal),
];

/// Why a text is no [`Range`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum RangeError {
    /// No operator before the version.
    #[error("version range {0:?} has no operator, expected one of <, <=, =, !=, >=, > before each version")]
    Operator(String),
    /// What is compared with is no version.
    #[error("version range {range:?}: {source}")]
    Version { range: String, source: VersionError },
}

impl Range {
    /// Whether it holds for `version`.
    pub fn contains(&self, version: &Version) -> bool {
        self.bounds.iter().all(|(comparison, bound)| {
            let order = compare(version.as_str(), bound.as_str());
            match comparison {
                Comparison::Less => order.is_lt(),
                Comparison::AtMost => order.is_le(),
                Comparison::Equal => order.is_eq(),
                Comparison::Not => order.is_ne(),
                Comparison::AtLeast => order.is_ge(),
                Comparison::Greater => order.is_gt(),
            }
        })
    }
}

impl FromStr for Range {
    type Err = RangeError;
    fn from_str(s: &str) -> Result<Self, RangeError> {
        let bounds = s.split(',').map(|part| {
            let part = part.trim();
            let (comparison, rest) = COMPARISONS
                .iter()
                .find_map(|&(sign, comparison)| Some((comparison, part.strip_prefix(sign)?)))
                .ok_or_else(|| RangeError::Operator(s.to_owned()))?;
            let version = rest.trim().parse();
            let version = version.map_err(|source| RangeError::Version { range: s.to_owned(), source })?;
            Ok((comparison, version))
        });
        Ok(Range { text: s.to_owned(), bounds: bounds.collect::<Result<_, RangeError>>()? })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(s: &str) -> Version {
        s.parse().unwrap()
    }

    #[test]
    fn the_order_of_uapi_10() {
        // Each less than the next. The specification's own examples are among them.
        let ascending = [
            "122.1~rc1",
            "122.1",
            "122.1-1",
            "123~rc1-1",
            "123",
            "123-a",
            "123-a.1",
            "123-1",
            "123-1.1",
            "123^post1",
            "123.a-1",
            "123.1-1",
            "123a-1",
            "124-1",
        ];
        for pair in ascending.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        for (a, b) in
            [("1.9.0", "1.10.0"), ("v1.9", "1.10"), ("1.32.2+k3s1", "1.32.2+k3s2"), ("0.13.9", "v0.14.0")]
        {
            assert!(v(a) < v(b), "{a} {b}");
        }
        for (a, b) in [("v1.0", "1.0"), ("1.01", "1.1"), ("1_0", "1+0")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
            assert_ne!(v(a).cmp(&v(b)), Ordering::Equal, "{a} {b}");
        }
    }

    #[test]
    fn parts() {
        for (version, major, minor) in
            [("v1.32.2+k3s1", "1", "1.32"), ("27.1", "27", "27.1"), ("7", "7", "7"), ("vega", "vega", "vega")]
        {
            assert_eq!((v(version).major(), v(version).minor()), (major, minor));
        }
    }

    #[test]
    fn odd_versions_are_refused() {
        let table = [
            ("", "version is empty"),
            ("1/2", "version \"1/2\" has '/', expected letters, digits and any of \".,_+~^-\""),
            ("..", "version \"..\" starts with '.', expected a letter or digit"),
            ("-1", "version \"-1\" starts with '-', expected a letter or digit"),
        ];
        for (bad, message) in table {
            assert_eq!(bad.parse::<Version>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn ranges() {
        let table = [
            ("<2.0.0", "1.7.29 v1.99", "2.0.0 v2.0.0 2.1"),
            (">=0.14.0", "0.14.0 v0.14.1 1.0", "0.13.9 v0.13.9"),
            (">=1.2, <1.4", "1.2.0 1.3.9", "1.1.9 1.4"),
            ("=1.2", "1.2 v1.2", "1.2.0 1.3"),
            ("!=2.3.2", "2.3.1 2.3.3", "2.3.2"),
            ("<=2, >1", "2 1.1", "2.1 1"),
        ];
        for (range, inside, outside) in table {
            let parsed: Range = range.parse().unwrap();
            for word in inside.split(' ') {
                assert!(parsed.contains(&v(word)), "{range} {word}");
            }
            for word in outside.split(' ') {
                assert!(!parsed.contains(&v(word)), "{range} {word}");
            }
        }
        for bad in ["", "1.2", ">=", "^1.2", ">=1.2,", ">=a b"] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
    }
}
