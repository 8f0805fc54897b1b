//! One 512-byte header block. POSIX pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".

use super::Problem;
use super::error::shown;
use crate::is_zero;

/// Bytes.
pub(super) const BLOCK: usize = 512;

/// A header block whose checksum is right.
pub(super) struct Header<'a>(&'a [u8; BLOCK]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Before ustar: nothing behind the link name.
    V7,
    Ustar,
    /// Schily's: ustar with times in the prefix.
    Star,
    /// GNU: `ustar  \0`.
    Gnu,
}

impl<'a> Header<'a> {
    /// None for a zero block.
    pub(super) fn parse(block: &'a [u8; BLOCK]) -> Result<Option<Self>, Problem> {
        let header = Header(block);
        if is_zero(block) {
            return Ok(None);
        }
        // The checksum field itself counts as spaces. Some old writers summed signed bytes.
        let field = header.field(148, 8);
        let stored = number("checksum", field)?;
        let sum: i64 = block.iter().map(|&b| i64::from(b)).sum();
        let own: i64 = field.iter().map(|&b| i64::from(b)).sum();
        let unsigned = sum - own + 8 * i64::from(b' ');
        let high = block.iter().filter(|&&b| b >= 128).count() as i64;
        let own_high = field.iter().filter(|&&b| b >= 128).count() as i64;
        if stored != unsigned && stored != unsigned - 256 * (high - own_high) {
            return Err(Problem::Checksum);
        }
        Ok(Some(header))
    }

    fn field(&self, at: usize, len: usize) -> &'a [u8] {
        &self.0[at..at + len]
    }

    pub(super) fn format(&self) -> Format {
        match self.field(257, 8) {
            b"ustar  \0" => Format::Gnu,
            [b'u', b's', b't', b'a', b'r', 0, ..] => {
                if self.field(508, 4) == b"tar\0" {
                    Format::Star
                } else {
                    Format::Ustar
                }
            }
            _ => Format::V7,
        }
    }

    /// The name field and what stands in front of it.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = text(self.field(0, 100));
        let prefix = match self.format() {
            Format::Ustar => text(self.field(345, 155)),
            Format::Star => text(self.field(345, 131)),
            Format::V7 | Format::Gnu => b"",
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(super) fn link_name(&self) -> Vec<u8> {
        text(self.field(157, 100)).to_vec()
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.0[156]
    }

    pub(super) fn mode(&self) -> Result<u32, Problem> {
        // Some writers put the file type's bits there as well.
        Ok((number("mode", self.field(100, 8))? & 0o7777) as u32)
    }

    pub(super) fn uid(&self) -> Result<u32, Problem> {
        id("uid", self.field(108, 8))
    }

    pub(super) fn gid(&self) -> Result<u32, Problem> {
        id("gid", self.field(116, 8))
    }

    pub(super) fn size(&self) -> Result<u64, Problem> {
        size("size", self.field(124, 12))
    }

    /// Seconds; may be negative in base 256.
    pub(super) fn mtime(&self) -> Result<i64, Problem> {
        number("mtime", self.field(136, 12))
    }

    /// Major and minor number. GNU tar and bsdtar fill in zeros, others nothing.
    pub(super) fn device(&self) -> Result<(u32, u32), Problem> {
        if self.format() == Format::V7 {
            return Ok((0, 0));
        }
        Ok((id("devmajor", self.field(329, 8))?, id("devminor", self.field(337, 8))?))
    }

    /// The map of an old GNU sparse file: its four entries, whether blocks with more follow, and the file's size.
    pub(super) fn gnu_sparse(&self) -> Result<(&'a [u8], bool, u64), Problem> {
        Ok((self.field(386, 96), self.0[482] != 0, size("realsize", self.field(483, 12))?))
    }
}

/// Up to the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|&b| b == 0).next().unwrap_or_default()
}

pub(super) fn size(name: &'static str, field: &[u8]) -> Result<u64, Problem> {
    let value = number(name, field)?;
    u64::try_from(value).map_err(|_| bad(name, field, "0 or more"))
}

fn id(name: &'static str, field: &[u8]) -> Result<u32, Problem> {
    let value = number(name, field)?;
    // u32::MAX is chown(2)'s "leave it as it is".
    u32::try_from(value).ok().filter(|&v| v != u32::MAX).ok_or_else(|| bad(name, field, "0 to 4294967294"))
}

fn bad(field: &'static str, value: &[u8], expected: &'static str) -> Problem {
    Problem::Number { field, value: shown(value), expected }
}

/// Octal digits between blanks, or base 256 if the first bit is set: GNU tar manual, "Extensions". An empty field is 0.
pub(super) fn number(name: &'static str, field: &[u8]) -> Result<i64, Problem> {
    if let [first, rest @ ..] = field
        && first & 0x80 != 0
    {
        // Two's complement of all bits but the first.
        let mut value = i64::from(first & 0x7f) - if first & 0x40 != 0 { 0x80 } else { 0 };
        for &b in rest {
            value = value
                .checked_mul(256)
                .and_then(|v| v.checked_add(i64::from(b)))
                .ok_or_else(|| bad(name, field, "a number of 63 bits"))?;
        }
        return Ok(value);
    }
    let start = field.iter().position(|&b| b != b' ').unwrap_or(field.len());
    let digits = field[start..].split(|&b| b == 0 || b == b' ').next().unwrap_or_default();
    // Up to 12 digits of 3 bits each: no overflow.
    let mut value = 0i64;
    for &d in digits {
        match d {
            b'0'..=b'7' => value = value * 8 + i64::from(d - b'0'),
            _ => return Err(bad(name, field, "octal digits")),
        }
    }
    Ok(value)
}
