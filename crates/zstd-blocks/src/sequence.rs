//! Sequences and their codes. RFC 8878, 3.1.1.3.2.

/// So many bytes as they are, then `len` bytes as `offset` bytes before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) literals: u32,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

/// RFC 8878, table 17.
pub(crate) const LITERALS_CODES: usize = 36;
/// RFC 8878, table 18.
pub(crate) const LEN_CODES: usize = 53;
/// Of offsets up to 128 KiB: the logarithm of the offset and 3.
pub(crate) const OFFSET_CODES: usize = 18;

/// The least match length. RFC 8878, 3.1.1.3.2.1.1.
pub(crate) const LEAST: usize = 3;

/// The least number of each code with more than one, less the codes before it, which are the numbers themselves.
const LITERALS_BASES: [u32; 9] = [16, 18, 20, 22, 24, 28, 32, 40, 48];
const LEN_BASES: [u32; 11] = [32, 34, 36, 38, 40, 44, 48, 56, 64, 80, 96];

const fn codes<const N: usize>(bases: &[u32]) -> [u8; N] {
    let mut out = [0; N];
    let mut number = 0;
    let mut next = 0;
    while number < N {
        if next < bases.len() && number as u32 == bases[next] {
            next += 1;
        }
        out[number] = if next == 0 { number as u8 } else { bases[0] as u8 + next as u8 - 1 };
        number += 1;
    }
    out
}

/// Code of a number of literals.
#[inline(always)]
pub(crate) fn literals_code(literals: u32) -> usize {
    const CODES: [u8; 64] = codes(&LITERALS_BASES);
    match CODES.get(literals as usize) {
        Some(code) => usize::from(*code),
        None => literals.ilog2() as usize + 19,
    }
}

/// Code of a match length, 3 or more.
#[inline(always)]
pub(crate) fn len_code(len: u32) -> usize {
    const CODES: [u8; 128] = codes(&LEN_BASES);
    let len = len - LEAST as u32;
    match CODES.get(len as usize) {
        Some(code) => usize::from(*code),
        None => len.ilog2() as usize + 36,
    }
}

/// Bits that follow a code of a number of literals.
pub(crate) fn literals_bits(code: usize) -> u32 {
    match code {
        ..16 => 0,
        16..20 => 1,
        20..22 => 2,
        22..24 => 3,
        24 => 4,
        _ => code as u32 - 19,
    }
}

/// Bits that follow a code of a match length.
pub(crate) fn len_bits(code: usize) -> u32 {
    match code {
        ..32 => 0,
        32..36 => 1,
        36..38 => 2,
        38..40 => 3,
        40..42 => 4,
        42 => 5,
        _ => code as u32 - 36,
    }
}

/// The three offsets used last, which have codes of their own. RFC 8878, 3.1.1.5. Each has 20 bits, the last the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recent(u64);

const OFFSET_BITS: u32 = 20;
const OFFSET: u64 = (1 << OFFSET_BITS) - 1;

impl Recent {
    pub(crate) const START: Recent = Recent(1 | 4 << OFFSET_BITS | 8 << (2 * OFFSET_BITS));

    /// 0 is the last.
    #[inline(always)]
    pub(crate) fn get(self, number: u32) -> usize {
        (self.0 >> (number * OFFSET_BITS) & OFFSET) as usize
    }

    /// The offsets that have codes of their own, in the order of these. One may be 0, which is none.
    #[inline(always)]
    pub(crate) fn coded(self, after_match: bool) -> Recent {
        match after_match {
            false => self,
            true => Recent(self.0 >> OFFSET_BITS | ((self.0 & OFFSET) - 1) << (2 * OFFSET_BITS)),
        }
    }

    /// Once `offset` is used.
    #[inline(always)]
    pub(crate) fn after(self, offset: u32) -> Recent {
        let offset = u64::from(offset);
        let (last, second) = (self.0 & OFFSET, self.0 >> OFFSET_BITS & OFFSET);
        if offset == last {
            return self;
        }
        let third = if offset == second { self.0 >> (2 * OFFSET_BITS) } else { second };
        Recent(offset | last << OFFSET_BITS | third << (2 * OFFSET_BITS))
    }

    /// The number that stands for `offset`, whose logarithm is the code. RFC 8878, Offset_Value.
    #[inline(always)]
    pub(crate) fn value(self, offset: u32, after_match: bool) -> u32 {
        let coded = self.coded(after_match);
        (0..3).find(|k| coded.get(*k) == offset as usize).map_or(offset + 3, |k| k + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8878, tables 17 and 18: bases and bits.
    #[test]
    fn codes_are_those_of_the_format() {
        let mut base = 0;
        for code in 0..LITERALS_CODES {
            assert_eq!(literals_code(base), code, "{base}");
            base += 1 << literals_bits(code);
            assert_eq!(literals_code(base - 1), code, "{base}");
        }
        assert_eq!(base, 131_072);
        let mut base = 3;
        for code in 0..LEN_CODES {
            assert_eq!(len_code(base), code, "{base}");
            base += 1 << len_bits(code);
            assert_eq!(len_code(base - 1), code, "{base}");
        }
        assert_eq!(base, 131_075);
    }

    /// RFC 8878, 3.1.1.5, table 19.
    #[test]
    fn recent_offsets() {
        let three = |recent: Recent| [recent.get(0), recent.get(1), recent.get(2)];
        let start = Recent::START;
        assert_eq!(three(start), [1, 4, 8]);
        assert_eq!((start.value(1, false), start.value(4, false), start.value(8, false)), (1, 2, 3));
        assert_eq!(three(start.after(1)), [1, 4, 8]);
        assert_eq!(three(start.after(4)), [4, 1, 8]);
        assert_eq!(three(start.after(8)), [8, 1, 4]);
        assert_eq!((start.value(1111, false), three(start.after(1111))), (1114, [1111, 1, 4]));
        let last = start.after(1111);
        assert_eq!(three(last.coded(true)), [1, 4, 1110]);
        assert_eq!((last.value(1, true), last.value(4, true), last.value(1110, true)), (1, 2, 3));
        assert_eq!((last.value(1111, true), three(last.after(1110))), (1114, [1110, 1111, 1]));
        assert_eq!(three(start.coded(true)), [4, 8, 0]);
    }
}
