//! A quick choice of matches: the last two places with the same four bytes, and one look ahead.

use crate::{
    block::{Block, PLACE, PLACE_BITS, table},
    sequence::{Recent, Sequence},
};

/// A table of 256 KiB, which a processor core has near with the block itself. Twice as much makes Debian's image 0.12 % smaller.
const SLOT_BITS: u32 = 15;

/// Bits of a block's number, which is in each entry: those of other blocks count as none.
const EPOCH_BITS: u32 = 4;
pub(crate) const EPOCHS: u32 = 1 << EPOCH_BITS;

/// The shortest match that is looked for.
const SHORTEST: usize = 4;

/// Where nothing is found for long, every second place is tried after so many bytes, every third after twice as many.
const PATIENCE: u32 = 8;

/// So many places at the end of a match are all put in.
const DENSE: usize = 4;

/// Finds sequences, as libzstd's lazy parser does, but from a table that has both candidates in one place.
pub(crate) struct Quick {
    /// Two entries each, the last one low; an entry is a place, the block's number and, above, bits of the hash that the slot
    /// doesn't tell.
    slots: Box<[u64; 1 << SLOT_BITS]>,
    /// The block's number, 1 or more. Clearing all slots for each block would take longer than looking at a short one.
    epoch: u32,
}

#[derive(Clone, Copy)]
struct Match {
    start: usize,
    len: usize,
    /// 0 is the offset used last.
    offset: usize,
}

impl Match {
    /// What it saves, roughly: in quarters of a byte.
    #[inline(always)]
    fn gain(self, a_byte: i32) -> i32 {
        let offset = if self.offset == 0 { 0 } else { (self.offset as u32 + 3).ilog2() as i32 };
        self.len as i32 * a_byte - offset
    }
}

impl Quick {
    pub(crate) fn new() -> Self {
        Quick { slots: table(0), epoch: 0 }
    }

    /// Puts the place in, and gives what was there and its own entry.
    #[inline(always)]
    fn insert(&mut self, block: &Block, at: usize) -> (u64, u32) {
        let hash = block.four(at).wrapping_mul(2_654_435_761);
        let rest = hash >> (PLACE_BITS + EPOCH_BITS - SLOT_BITS) << (PLACE_BITS + EPOCH_BITS);
        let entry = rest | self.epoch << PLACE_BITS | at as u32;
        let slot = &mut self.slots[(hash >> (32 - SLOT_BITS)) as usize];
        let before = *slot;
        *slot = before << 32 | u64::from(entry);
        (before, entry)
    }

    /// The longest match at a place, of `least` bytes or more; its offset is 0 if there is none. The place is put in.
    #[inline(always)]
    fn search(&mut self, block: &Block, at: usize, least: usize) -> Match {
        let (slot, entry) = self.insert(block, at);
        let mut best = Match { start: at, len: least - 1, offset: 0 };
        for candidate in [slot as u32, (slot >> 32) as u32] {
            let before = candidate as usize & PLACE;
            // What is longer than the best has these bytes, too.
            if (candidate ^ entry) >> PLACE_BITS == 0
                && block.four(before + best.len - 3) == block.four(at + best.len - 3)
            {
                let len = block.common(before, at);
                if len > best.len {
                    best = Match { start: at, len, offset: at - before };
                }
            }
        }
        best
    }

    #[inline(always)]
    fn repeated(block: &Block, at: usize, offset: usize) -> Option<Match> {
        let same = offset <= at && block.four(at) == block.four(at - offset);
        same.then(|| Match { start: at, len: block.common(at - offset, at), offset: 0 })
    }

    /// Puts the sequences of a block into `out`; what is left are literals.
    pub(crate) fn parse(&mut self, block: &Block, out: &mut Vec<Sequence>) {
        out.clear();
        self.epoch += 1;
        if self.epoch == EPOCHS {
            self.slots.fill(0);
            self.epoch = 1;
        }
        let limit = block.limit();
        let mut recent = Recent::START;
        // Where the last match ended, and what is put in next.
        let (mut anchor, mut next) = (0, 0);
        let mut at = 1;
        while at < limit {
            for place in next..at {
                self.insert(block, place);
            }
            let mut best = self.search(block, at, SHORTEST);
            next = at + 1;
            if let Some(repeated) = Self::repeated(block, at + 1, recent.get(0))
                && repeated.len >= best.len
            {
                best = repeated;
            }
            if best.len < SHORTEST {
                at += ((at - anchor) >> PATIENCE) + 1;
                continue;
            }
            while at + 1 < limit {
                at += 1;
                if best.offset != 0
                    && let Some(repeated) = Self::repeated(block, at, recent.get(0))
                    && repeated.gain(3) > best.gain(3) + 3
                {
                    best = repeated;
                }
                for place in next..at {
                    self.insert(block, place);
                }
                let found = self.search(block, at, best.len);
                next = at + 1;
                if found.offset == 0 || found.gain(4) <= best.gain(4) + 2 {
                    break;
                }
                best = found;
            }
            if best.offset != 0 {
                while best.start > anchor
                    && best.start > best.offset
                    && block.byte(best.start - 1) == block.byte(best.start - 1 - best.offset)
                {
                    best.start -= 1;
                    best.len += 1;
                }
                recent = recent.after(best.offset as u32);
            }
            let offset = recent.get(0) as u32;
            out.push(Sequence { literals: (best.start - anchor) as u32, offset, len: best.len as u32 });
            at = best.start + best.len;
            while at < limit
                && let Some(repeated) = Self::repeated(block, at, recent.get(1))
            {
                recent = recent.after(recent.get(1) as u32);
                out.push(Sequence { literals: 0, offset: recent.get(0) as u32, len: repeated.len as u32 });
                at += repeated.len;
            }
            anchor = at;
            // Of the places in a match every second one, but for the last few: they say little that the first doesn't.
            let end = at.min(limit);
            while next < end {
                self.insert(block, next);
                next += if end - next > DENSE { 2 } else { 1 };
            }
        }
    }
}
