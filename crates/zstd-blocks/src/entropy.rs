//! Bits that symbols take, in whole numbers, so that every machine counts the same.

/// Of a bit, [`log2`] counts so many parts.
pub(crate) const BIT: u32 = 1 << FRACTION;
const FRACTION: u32 = 8;

const EXACT: usize = 4096;

/// The logarithm by squaring: whenever the square has reached 2, the next bit is one.
const fn exact(number: u32) -> u32 {
    if number == 0 {
        return 0;
    }
    let whole = number.ilog2();
    let mut rest = (number as u64) << (31 - whole);
    let mut out = whole;
    let mut bit = 0;
    while bit < FRACTION {
        rest = (rest * rest) >> 31;
        out <<= 1;
        if rest >= 1 << 32 {
            out |= 1;
            rest >>= 1;
        }
        bit += 1;
    }
    out
}

static LOGARITHMS: [u16; EXACT] = {
    let mut out = [0; EXACT];
    let mut number = 0;
    while number < EXACT {
        out[number] = exact(number as u32) as u16;
        number += 1;
    }
    out
};

/// The logarithm to the base of 2 in parts of a bit, rounded down; of larger numbers by their first twelve bits. Of 0 it is 0.
#[inline(always)]
pub(crate) fn log2(number: u32) -> u32 {
    match LOGARITHMS.get(number as usize) {
        Some(log) => u32::from(*log),
        None => {
            let shift = number.ilog2() - (EXACT.ilog2() - 1);
            u32::from(LOGARITHMS[(number >> shift) as usize & (EXACT - 1)]) + shift * BIT
        }
    }
}

/// What symbols that occur so often take by the best of codes for them alone. Parts of a bit.
pub(crate) fn bits(counts: &[u32]) -> u64 {
    let weighted = |count: u32| u64::from(count) * u64::from(log2(count));
    let mut sum = 0;
    let mut out = 0;
    for &count in counts {
        sum += count;
        out += weighted(count);
    }
    weighted(sum).saturating_sub(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms() {
        for number in [1_u32, 2, 3, 5, 7, 100, 4095, 4096, 4097, 131_072, 3_000_000, u32::MAX] {
            let expected = f64::from(number).log2() * f64::from(BIT);
            let got = f64::from(log2(number));
            assert!(got <= expected && got > expected - 1.2, "{number}: {got} {expected}");
        }
        assert_eq!((log2(0), log2(1), log2(2), log2(1 << 20)), (0, 0, BIT, 20 * BIT));
    }

    #[test]
    fn equal_symbols_take_their_bits() {
        assert_eq!(bits(&[8; 16]), 128 * 4 * u64::from(BIT));
        assert_eq!((bits(&[1000]), bits(&[0, 0]), bits(&[])), (0, 0, 0));
    }
}
