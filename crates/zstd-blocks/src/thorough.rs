//! The sequences that take the fewest bits, as far as can be told from what the symbols of a quick choice take.

use crate::{
    block::{Block, table},
    entropy::{BIT, log2},
    find::{Finder, Found},
    sequence::{
        LEAST, LEN_CODES, LITERALS_CODES, OFFSET_CODES, Recent, Sequence, len_bits, len_code, literals_bits,
        literals_code,
    },
    split::{Counts, LENGTHS, LITERALS, LITERALS_LENGTHS, OFFSETS, Part},
};

/// Prices of lengths are kept up to this one. A match of [`Thorough::enough`] bytes is taken as it is, so none is longer.
const LENS: usize = 64;

/// Places that are looked at together; a power of two, so that the compiler sees the bounds.
const PLACES: usize = 4096;
const WINDOW: usize = PLACES - LENS;

/// What no way is as dear as. Parts of a bit.
const UNREACHED: u32 = u32::MAX;

/// Prices of symbols with the bits that follow them, in parts of a bit.
struct Prices {
    literals: [u32; 256],
    literals_lengths: [u32; LITERALS_CODES],
    /// Of so many literals before a match.
    runs: [u32; LENS + 1],
    lens: [u32; LENS],
    offsets: [u32; OFFSET_CODES],
}

impl Prices {
    fn new(counts: &Counts) -> Self {
        // Halves, so that what wasn't seen has a price.
        let halves = |counts: &[u32], out: &mut [u32], bits: &dyn Fn(usize) -> u32| {
            let sum = log2(counts.iter().map(|c| 2 * c + 1).sum());
            for (code, (price, count)) in out.iter_mut().zip(counts).enumerate() {
                *price = sum - log2(2 * count + 1).min(sum) + bits(code) * BIT;
            }
        };
        let mut literals = [0; 256];
        halves(&counts[LITERALS], &mut literals, &|_| 0);
        // Huffman's codes have one to eleven bits. RFC 8878, 4.2.1.
        literals.iter_mut().for_each(|price| *price = (*price).clamp(BIT * 3 / 4, BIT * 11));
        let mut literals_lengths = [0; LITERALS_CODES];
        halves(&counts[LITERALS_LENGTHS], &mut literals_lengths, &literals_bits);
        let mut lengths = [0; LEN_CODES];
        let mut counted = [0; LEN_CODES];
        counted.copy_from_slice(&counts[LENGTHS]);
        // A quick choice avoids the shortest, which are about as many as the next.
        counted[0] = counted[0].max(counted[1]);
        halves(&counted, &mut lengths, &len_bits);
        let mut offsets = [0; OFFSET_CODES];
        halves(&counts[OFFSETS], &mut offsets, &|code| code as u32);
        Prices {
            literals,
            runs: std::array::from_fn(|run| literals_lengths[literals_code(run as u32)]),
            literals_lengths,
            lens: std::array::from_fn(|len| if len < LEAST { 0 } else { lengths[len_code(len as u32)] }),
            offsets,
        }
    }

    #[inline(always)]
    fn run(&self, literals: u32) -> u32 {
        match self.runs.get(literals as usize) {
            Some(price) => *price,
            None => self.literals_lengths[literals_code(literals) % LITERALS_CODES],
        }
    }
}

/// The cheapest way known to each place of a window, from its start.
struct Ways {
    /// Parts of a bit.
    prices: Box<[u32; PLACES]>,
    /// What was the last step: none is a literal.
    steps: Box<[Found; PLACES]>,
    /// Literals since the last match.
    literals: Box<[u32; PLACES]>,
    recent: Box<[Recent; PLACES]>,
}

impl Ways {
    /// Offers a match of all lengths in a range.
    #[inline(always)]
    fn offer(
        &mut self,
        from: usize,
        lens: std::ops::RangeInclusive<usize>,
        price: u32,
        offset: usize,
        prices: &Prices,
    ) {
        for len in lens {
            let price = price + prices.lens[len & (LENS - 1)];
            let to = (from + len) & (PLACES - 1);
            if price < self.prices[to] {
                self.prices[to] = price;
                self.steps[to] = Found::new(len, offset);
            }
        }
    }
}

pub(crate) struct Thorough {
    ways: Ways,
    steps: Vec<Found>,
    enough: usize,
}

impl Thorough {
    /// Matches of `enough` bytes, less than [`LENS`], are taken without a further look.
    pub(crate) fn new(enough: usize) -> Self {
        let ways = Ways {
            prices: table(UNREACHED),
            steps: table(Found::NONE),
            literals: table(0),
            recent: table(Recent::START),
        };
        Thorough { ways, steps: Vec::new(), enough: enough.min(LENS - 1) }
    }

    /// Puts the sequences of a block into `out`, which has those that `parts` were made from; what is left are literals.
    pub(crate) fn parse(
        &mut self,
        block: &Block,
        finder: &Finder,
        parts: &[Part<{ OFFSETS.end }>],
        out: &mut Vec<Sequence>,
    ) {
        out.clear();
        let limit = block.limit();
        let mut recent = Recent::START;
        let (mut anchor, mut start) = (0, 0);
        let mut parts = parts.iter();
        let Some(mut part) = parts.next() else { return };
        let mut prices = Prices::new(&part.counts);
        while start < limit {
            while part.end <= start
                && let Some(next) = parts.next()
            {
                part = next;
                prices = Prices::new(&part.counts);
            }
            let literals = (start - anchor) as u32;
            let Some((reached, long)) = self.window(block, finder, &prices, start, literals, recent) else {
                start += 1;
                continue;
            };
            self.steps.clear();
            let mut at = reached;
            while at > 0 {
                let step = self.ways.steps[at & (PLACES - 1)];
                self.steps.push(step);
                at -= step.len().clamp(1, at);
            }
            let mut place = start;
            let short = self.steps.iter().rev().map(|step| (step.len(), step.offset()));
            for (len, offset) in short.chain(long) {
                if len == 0 {
                    place += 1;
                    continue;
                }
                let literals = (place - anchor) as u32;
                out.push(Sequence { literals, offset: offset as u32, len: len as u32 });
                recent = recent.after(offset as u32);
                place += len;
                anchor = place;
            }
            start = place;
        }
    }

    /// Looks from `start` on until all ways meet: how far that is, and the long match that follows, if that was the end. None
    /// if there is no match at the start.
    fn window(
        &mut self,
        block: &Block,
        finder: &Finder,
        prices: &Prices,
        start: usize,
        literals: u32,
        recent: Recent,
    ) -> Option<(usize, Option<(usize, usize)>)> {
        let limit = block.limit();
        let ways = &mut self.ways;
        // With the price of the literals' length a price is never less than what is taken from it below.
        (ways.prices[0], ways.literals[0], ways.recent[0]) = (prices.run(literals), literals, recent);
        // The farthest place that a match leads to.
        let mut last = 0;
        let mut i = 0;
        let mut long = None;
        loop {
            let at = start + i;
            if i > 0 {
                let (here, before) = (i & (PLACES - 1), (i - 1) & (PLACES - 1));
                let literals = ways.literals[before];
                let price = ways.prices[before]
                    + prices.literals[usize::from(block.byte(at - 1))]
                    + prices.run(literals + 1)
                    - prices.run(literals);
                if price <= ways.prices[here] {
                    ways.prices[here] = price;
                    ways.steps[here] = Found::NONE;
                    ways.literals[here] = literals + 1;
                    ways.recent[here] = ways.recent[before];
                } else {
                    let step = ways.steps[here];
                    let from = i.wrapping_sub(step.len()) & (PLACES - 1);
                    ways.recent[here] = ways.recent[from].after(step.offset() as u32);
                    ways.literals[here] = 0;
                }
                if i >= last || at >= limit || i >= WINDOW {
                    break;
                }
            }
            let here = i & (PLACES - 1);
            let price = ways.prices[here] + prices.runs[0];
            let coded = ways.recent[here].coded(ways.literals[here] == 0 && at > 0);
            let three = block.three(at);
            let mut longest = LEAST - 1;
            let mut longest_offset = 0;
            for k in 0..3 {
                let offset = coded.get(k);
                if offset == 0 || offset > at || block.three(at - offset) != three {
                    continue;
                }
                let len = block.common(at - offset, at);
                if len > longest {
                    let to = len.min(LENS - 1);
                    last = last.max(i + to);
                    let code = usize::from(k > 0);
                    ways.offer(i, LEAST..=to, price + prices.offsets[code], offset, prices);
                    (longest, longest_offset) = (len, offset);
                }
            }
            let mut from = LEAST;
            for found in finder.at(at) {
                let (len, offset) = (found.len(), found.offset());
                let to = len.min(LENS - 1);
                last = last.max(i + to);
                let code = (offset as u32 + 3).ilog2() as usize % OFFSET_CODES;
                ways.offer(i, from..=to, price + prices.offsets[code], offset, prices);
                from = to + 1;
                if len > longest {
                    (longest, longest_offset) = (len, offset);
                }
            }
            if longest >= self.enough {
                long = Some((block.common(at - longest_offset, at), longest_offset));
                break;
            }
            if last == 0 {
                return None;
            }
            i += 1;
        }
        ways.prices[..=last.max(i)].fill(UNREACHED);
        Some((i, long))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_frequent_is_cheap_and_everything_has_a_price() {
        let mut counts: Counts = [0; OFFSETS.end];
        counts[LITERALS.start + usize::from(b'a')] = 1000;
        counts[LITERALS.start + usize::from(b'b')] = 1;
        counts[LITERALS_LENGTHS.start] = 500;
        counts[LITERALS_LENGTHS.start + 2] = 20;
        counts[LENGTHS.start + len_code(4)] = 500;
        counts[LENGTHS.start + len_code(9)] = 20;
        counts[OFFSETS.start + 10] = 500;
        counts[OFFSETS.start + 12] = 20;
        let prices = Prices::new(&counts);
        assert!(prices.literals[usize::from(b'a')] < prices.literals[usize::from(b'b')]);
        assert!(prices.literals.iter().all(|price| (1..=11 * BIT).contains(price)));
        assert!(
            prices.run(0) < prices.run(2) && prices.run(2) < prices.run(3) && prices.run(100_000) > 16 * BIT
        );
        assert!(prices.lens[4] < prices.lens[9] && prices.lens[9] < prices.lens[10]);
        // No quick choice has them, but they are as good as the next.
        assert_eq!(prices.lens[3], prices.lens[4]);
        // Bits that follow are in the price.
        assert_eq!(prices.lens[63] - prices.lens[10], len_bits(len_code(63)) * BIT);
        assert!(prices.offsets[10] < prices.offsets[12] && prices.offsets[14] - prices.offsets[13] == BIT);
    }
}
