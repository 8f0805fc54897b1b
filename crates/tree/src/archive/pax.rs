//! PAX records. POSIX pax, "pax Extended Header".

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Problem;
use super::error::shown;

/// libarchive leaves the padding out, others don't.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What the records of one or more headers say.
#[derive(Debug, Default, Clone)]
pub(super) struct Records {
    pub path: Option<Vec<u8>>,
    pub link_path: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<i64>,
    /// `SCHILY.xattr.*`, raw.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// `LIBARCHIVE.xattr.*`, decoded; bsdtar writes both, so they only count where the others are silent.
    pub(crate) libarchive_xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub sparse: Sparse,
}

/// `GNU.sparse.*`. GNU tar manual, "Storing Sparse Files".
#[derive(Debug, Default, Clone)]
pub(super) struct Sparse {
    pub major: Option<Vec<u8>>,
    pub minor: Option<Vec<u8>>,
    pub name: Option<Vec<u8>>,
    /// `size` in 0.0 and 0.1, `realsize` in 1.0.
    pub size: Option<u64>,
    /// Pairs of offset and length, flat: from `map` in 0.1, from `offset` and `numbytes` in 0.0.
    pub map: Option<Vec<u64>>,
    pub blocks: Option<u64>,
}

impl Records {
    /// Adds the records of one header. `global` says that it is a `g` header.
    pub(super) fn add(&mut self, mut bytes: &[u8], global: bool) -> Result<(), Problem> {
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes)?;
            if global && (matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.")) {
                // POSIX applies it to all files, Go and so all container tools ignore it.
                return Err(Problem::Global(shown(key)));
            }
            self.set(key, value)?;
            bytes = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        let decimal = |name| decimal(name, value);
        // An empty value takes back what was said before.
        let some = !value.is_empty();
        match key {
            b"path" => self.path = some.then(|| name(value)).transpose()?,
            b"linkpath" => self.link_path = some.then(|| name(value)).transpose()?,
            b"size" => self.size = some.then(|| decimal("PAX size")).transpose()?,
            b"uid" => self.uid = some.then(|| id("PAX uid", value)).transpose()?,
            b"gid" => self.gid = some.then(|| id("PAX gid", value)).transpose()?,
            b"mtime" => self.mtime = some.then(|| time(value)).transpose()?,
            b"GNU.sparse.major" => self.sparse.major = some.then(|| value.to_vec()),
            b"GNU.sparse.minor" => self.sparse.minor = some.then(|| value.to_vec()),
            b"GNU.sparse.name" => self.sparse.name = some.then(|| name(value)).transpose()?,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                self.sparse.size = some.then(|| decimal("GNU.sparse.size")).transpose()?;
            }
            b"GNU.sparse.numblocks" => {
                self.sparse.blocks = some.then(|| decimal("GNU.sparse.numblocks")).transpose()?;
            }
            b"GNU.sparse.map" => {
                let numbers = value.split(|&b| b == b',').filter(|_| some);
                self.sparse.map =
                    Some(numbers.map(|n| self::decimal("GNU.sparse.map", n)).collect::<Result<_, _>>()?);
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let map = self.sparse.map.get_or_insert_default();
                if map.len().is_multiple_of(2) != (key == b"GNU.sparse.offset") {
                    return Err(Problem::Sparse("offsets and lengths don't alternate"));
                }
                map.push(decimal("GNU.sparse.offset")?);
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    check_xattr(name, value)?;
                    self.xattrs.insert(name.to_vec(), value.to_vec());
                } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                    let bad = || Problem::Xattr(shown(name));
                    let value = BASE64.decode(value.trim_ascii_end());
                    let (name, value) = (percent_decode(name), value.map_err(|_| bad())?);
                    check_xattr(&name, &value)?;
                    self.libarchive_xattrs.insert(name, value);
                }
            }
        }
        Ok(())
    }
}

type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// The first record: key, value and what follows it. `LENGTH KEY=VALUE\n`, where LENGTH counts all of it.
fn record(bytes: &[u8]) -> Result<Record<'_>, Problem> {
    let space =
        bytes.iter().take(20).position(|&b| b == b' ').ok_or(Problem::Pax("a record has no length"))?;
    let len = decimal("PAX record length", &bytes[..space])?;
    let len = usize::try_from(len).ok().filter(|&l| l > space + 1 && l <= bytes.len());
    let (record, rest) = bytes.split_at(len.ok_or(Problem::Pax("a record's length doesn't fit"))?);
    let text =
        record[space + 1..].strip_suffix(b"\n").ok_or(Problem::Pax("a record doesn't end with a newline"))?;
    let equals = text.iter().position(|&b| b == b'=').ok_or(Problem::Pax("a record has no equals sign"))?;
    let (key, value) = (&text[..equals], &text[equals + 1..]);
    if key.is_empty() || key.contains(&0) {
        return Err(Problem::Pax("a record's keyword is empty or has a NUL byte"));
    }
    Ok((key, value, rest))
}

fn name(value: &[u8]) -> Result<Vec<u8>, Problem> {
    // Readers in C would see the part before it, others all.
    if value.contains(&0) {
        return Err(Problem::Pax("a name has a NUL byte"));
    }
    Ok(value.to_vec())
}

pub(super) fn decimal(field: &'static str, value: &[u8]) -> Result<u64, Problem> {
    let digits = std::str::from_utf8(value).ok().filter(|s| s.bytes().all(|b| b.is_ascii_digit()));
    // Signed everywhere else; and so offsets can be added without thinking.
    digits.and_then(|s| s.parse::<u64>().ok()).filter(|&v| v <= i64::MAX as u64).ok_or_else(|| {
        Problem::Number { field, value: shown(value), expected: "decimal digits, less than 2^63" }
    })
}

fn id(field: &'static str, value: &[u8]) -> Result<u32, Problem> {
    let expected = "0 to 4294967294";
    let bad = || Problem::Number { field, value: shown(value), expected };
    let number = decimal(field, value).map_err(|_| bad())?;
    u32::try_from(number).ok().filter(|&v| v != u32::MAX).ok_or_else(bad)
}

/// Whole seconds of `[-]SECONDS[.FRACTION]`, rounded down as the kernel does.
fn time(value: &[u8]) -> Result<i64, Problem> {
    let bad = || Problem::Number {
        field: "PAX mtime",
        value: shown(value),
        expected: "seconds with an optional fraction",
    };
    let (negative, digits) = match value {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, value),
    };
    let mut parts = digits.splitn(2, |&b| b == b'.');
    let whole = parts.next().filter(|d| !d.is_empty()).ok_or_else(bad)?;
    let fraction = parts.next().unwrap_or_default();
    let whole = i64::try_from(decimal("PAX mtime", whole).map_err(|_| bad())?).map_err(|_| bad())?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    if negative {
        return Ok(-whole - i64::from(fraction.iter().any(|&b| b != b'0')));
    }
    Ok(whole)
}

/// XATTR_NAME_MAX and XATTR_SIZE_MAX, linux/limits.h.
fn check_xattr(name: &[u8], value: &[u8]) -> Result<(), Problem> {
    if name.is_empty() || name.len() > 255 || name.contains(&0) || value.len() > 65536 {
        return Err(Problem::Xattr(shown(name)));
    }
    Ok(())
}

fn percent_decode(text: &[u8]) -> Vec<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        match rest {
            [b'%', a, b, tail @ ..] if digit(*a).is_some() && digit(*b).is_some() => {
                out.push((digit(*a).unwrap_or(0) * 16 + digit(*b).unwrap_or(0)) as u8);
                rest = tail;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}
