//! All matches that are worth a look.

use crate::{
    block::{Block, PLACE, PLACE_BITS, table},
    sequence::{LEAST, Recent, Sequence},
};

const SLOT_BITS: u32 = 14;
const SLOT: usize = (1 << SLOT_BITS) - 1;

/// Places that are put in before their candidates are compared: what is fetched meanwhile doesn't have to be waited for.
const BATCH: usize = 32;

/// Candidates of a place: one by three bytes, four by four, four by eight. A power of two, so that the compiler sees the bounds.
const CANDIDATES: usize = 16;
const BY_FOUR: u32 = 1;
const BY_EIGHT: u32 = 5;
/// What is looked at where eight bytes are the same: nearer places with four are seldom better, but for the nearest.
const LONG: u32 = 0b1_1110_0011;

/// Matches that are kept of a place: the longest. Seldom are there more, and the block's memory is bounded so.
const KEPT: usize = 4;

/// Longest length that is kept; longer ones are measured again.
const MOST: usize = (1 << (32 - PLACE_BITS)) - 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found(u32);

impl Found {
    pub(crate) const NONE: Found = Found(0);

    #[inline(always)]
    pub(crate) fn new(len: usize, offset: usize) -> Self {
        Found((len.min(MOST) as u32) << PLACE_BITS | offset as u32)
    }

    /// At most [`MOST`].
    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        (self.0 >> PLACE_BITS) as usize
    }

    #[inline(always)]
    pub(crate) fn offset(self) -> usize {
        self.0 as usize & PLACE
    }
}

/// Finds matches in a block.
pub(crate) struct Finder {
    /// The last place, by three bytes.
    three: Box<[u32; 1 << SLOT_BITS]>,
    /// The last four places, by four and by eight bytes; the last one lowest. Above a place are bits of the hash that the
    /// slot doesn't tell.
    four: Box<[u128; 1 << SLOT_BITS]>,
    eight: Box<[u128; 1 << SLOT_BITS]>,
    /// Bits of a hash that a slot is found by: fewer in a short block, since all slots are cleared for each.
    mask: usize,
    /// Of all places, one after the other.
    found: Vec<Found>,
    /// Where those of a place start; one more at the end.
    starts: Vec<u32>,
}

/// One bit for each entry whose hash is the same.
#[inline(always)]
fn same(slot: u128, entry: u32) -> u32 {
    (0..4).map(|k| u32::from(((slot >> (32 * k)) as u32 ^ entry) < 1 << PLACE_BITS) << k).sum()
}

impl Finder {
    pub(crate) fn new() -> Self {
        Finder {
            three: table(0),
            four: table(0),
            eight: table(0),
            mask: SLOT,
            found: Vec::new(),
            starts: Vec::new(),
        }
    }

    /// Matches at a place: the longer, the farther.
    #[inline(always)]
    pub(crate) fn at(&self, at: usize) -> &[Found] {
        &self.found[self.starts[at] as usize..self.starts[at + 1] as usize]
    }

    /// Looks at all places but those inside of a match of `enough` bytes.
    pub(crate) fn run(&mut self, block: &Block, enough: usize) {
        self.mask = (block.len().next_power_of_two() / 8).clamp(1, SLOT + 1) - 1;
        self.three[..=self.mask].fill(0);
        self.four[..=self.mask].fill(0);
        self.eight[..=self.mask].fill(0);
        self.found.clear();
        self.starts.clear();
        let limit = block.limit();
        let mut places = [[0; CANDIDATES]; BATCH];
        let mut masks = [0; BATCH];
        // The first place has none before it.
        let mut next = 1;
        for start in (0..limit).step_by(BATCH) {
            let end = limit.min(start + BATCH);
            for (at, (places, mask)) in (start..end).zip(places.iter_mut().zip(&mut masks)) {
                (*places, *mask) = self.insert(block, at);
            }
            for (at, (places, mask)) in (start..end).zip(places.iter().zip(&masks)) {
                self.starts.push(self.found.len() as u32);
                if at >= next {
                    let longest = self.compare(block, at, places, *mask);
                    if longest >= enough {
                        next = at + longest;
                    }
                }
            }
        }
        // The last places have none, and there is one more to tell where a place's end.
        self.starts.resize(block.len() + 1, self.found.len() as u32);
    }

    /// Puts a place in. Says what was there, and which of that may match: one bit each.
    #[inline(always)]
    fn insert(&mut self, block: &Block, at: usize) -> ([u32; CANDIDATES], u32) {
        let place = at as u32;
        let bytes = block.eight(at);

        let hash = block.three(at).wrapping_mul(506_832_829 << 8);
        let slot = &mut self.three[(hash >> (32 - SLOT_BITS)) as usize & self.mask & SLOT];
        let three = std::mem::replace(slot, place);

        let hash = (bytes as u32).wrapping_mul(2_654_435_761);
        let entry = hash >> (PLACE_BITS - SLOT_BITS) << PLACE_BITS | place;
        let slot = &mut self.four[(hash >> (32 - SLOT_BITS)) as usize & self.mask & SLOT];
        let four = std::mem::replace(slot, *slot << 32 | u128::from(entry));
        let mask = same(four, entry) << BY_FOUR;

        let hash = (bytes.wrapping_mul(0x9E37_79B1_85EB_CA87) >> 32) as u32;
        let entry = hash >> (PLACE_BITS - SLOT_BITS) << PLACE_BITS | place;
        let slot = &mut self.eight[(hash >> (32 - SLOT_BITS)) as usize & self.mask & SLOT];
        let eight = std::mem::replace(slot, *slot << 32 | u128::from(entry));
        let mask = mask | same(eight, entry) << BY_EIGHT;

        let mut places = [0; CANDIDATES];
        places[0] = three;
        for k in 0..4 {
            places[BY_FOUR as usize + k] = (four >> (32 * k)) as u32 & PLACE as u32;
            places[BY_EIGHT as usize + k] = (eight >> (32 * k)) as u32 & PLACE as u32;
        }
        (places, mask | u32::from(block.three(three as usize) == block.three(at)))
    }

    /// Keeps the candidates that are longer than those before them. Says the length of the longest.
    #[inline(always)]
    fn compare(&mut self, block: &Block, at: usize, places: &[u32; CANDIDATES], mask: u32) -> usize {
        let mut left = if mask >> BY_EIGHT != 0 { mask & LONG } else { mask };
        let mut longest = LEAST - 1;
        let mut kept = [Found::NONE; CANDIDATES];
        let mut count = 0;
        while left != 0 {
            let before = places[left.trailing_zeros() as usize & (CANDIDATES - 1)] as usize;
            left &= left - 1;
            if block.byte(before + longest) != block.byte(at + longest) {
                continue;
            }
            let len = block.common(before, at);
            if len > longest {
                longest = len;
                kept[count & (CANDIDATES - 1)] = Found::new(len, at - before);
                count += 1;
            }
        }
        let count = count.min(CANDIDATES);
        self.found.extend_from_slice(&kept[count.saturating_sub(KEPT)..count]);
        longest
    }

    /// A quick choice of what was found, with looks ahead: its symbols say what those of a better one will cost.
    pub(crate) fn rough(&self, block: &Block, out: &mut Vec<Sequence>) {
        out.clear();
        let limit = block.limit().saturating_sub(1);
        let longest = |at: usize| match self.at(at) {
            [.., found] if found.len() < MOST => (found.len(), found.offset()),
            [.., found] => (block.common(at - found.offset(), at), found.offset()),
            [] => (0, 1),
        };
        let gain = |(len, offset): (usize, usize)| match len {
            0 => 0,
            _ => len as i32 * 4 - (offset as u32 + 3).ilog2() as i32,
        };
        let repeated = |at: usize, offset: usize| {
            let same = offset <= at && block.three(at) == block.three(at - offset);
            same.then(|| block.common(at - offset, at))
        };
        let mut recent = Recent::START;
        let mut anchor = 0;
        let mut at = 1;
        while at < limit {
            let mut start = at;
            let mut best = longest(at);
            let mut saved = gain(best);
            let mut place = at;
            // As long as the next place is better by more than the byte that it costs.
            loop {
                let handicap = if place > at { 4 } else { 0 };
                if let Some(len) = repeated(place, recent.get(0))
                    && len as i32 * 4 > saved + handicap
                {
                    (start, best, saved) = (place, (len, recent.get(0)), len as i32 * 4);
                }
                if best.0 < LEAST || place > start || place >= limit {
                    break;
                }
                place += 1;
                let next = longest(place);
                if gain(next) > saved + 4 {
                    (start, best, saved) = (place, next, gain(next));
                }
            }
            if saved < 4 {
                at += 1;
                continue;
            }
            let (len, offset) = best;
            recent = recent.after(offset as u32);
            out.push(Sequence { literals: (start - anchor) as u32, offset: offset as u32, len: len as u32 });
            at = start + len;
            while at < limit
                && let Some(len) = repeated(at, recent.get(1))
            {
                let offset = recent.get(1) as u32;
                recent = recent.after(offset);
                out.push(Sequence { literals: 0, offset, len: len as u32 });
                at += len;
            }
            anchor = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_are_real_and_the_longer_the_farther() {
        let mut block = Block::new();
        let data: Vec<u8> =
            (0..100_000_u32).flat_map(|i| (i * i % 1009 / 7).to_le_bytes()).take(70_000).collect();
        block.load(&data);
        let mut finder = Finder::new();
        for enough in [8, 64] {
            finder.run(&block, enough);
            let mut count = 0;
            for at in 0..data.len() {
                let found = finder.at(at);
                assert!(found.is_sorted_by(|a, b| a.len() < b.len()), "{at}");
                for f in found {
                    let before = at - f.offset();
                    let same = data[before..].iter().zip(&data[at..]).take_while(|(a, b)| a == b).count();
                    assert!(
                        f.offset() > 0 && same.min(MOST) == f.len() && same >= LEAST,
                        "{at} {f:?} {same}"
                    );
                    count += 1;
                }
            }
            assert!(count > 1000, "{count}");
        }
    }

    #[test]
    fn a_long_match_is_measured_again() {
        let mut block = Block::new();
        block.load(&[7; 100_000]);
        let mut finder = Finder::new();
        finder.run(&block, 32);
        assert_eq!(finder.at(1), [Found::new(MOST, 1)]);
        let mut sequences = Vec::new();
        finder.rough(&block, &mut sequences);
        assert_eq!(sequences, [Sequence { literals: 1, offset: 1, len: 99_999 }]);
    }
}
