//! The bytes of a block, to be read at any place.

/// Bytes of the longest block. Places in it have 17 bits.
pub(crate) const LONGEST: usize = 1 << PLACE_BITS;
pub(crate) const PLACE_BITS: u32 = 17;
/// What a place is cut to before it is read, which lets the compiler see that it is inside.
pub(crate) const PLACE: usize = LONGEST - 1;

/// No match starts this close to the end, so that eight bytes can be read wherever one does.
pub(crate) const MARGIN: usize = 8;

/// An array on the heap, whose length the compiler knows: places that are cut to it need no check.
pub(crate) fn table<T: Clone, const N: usize>(of: T) -> Box<[T; N]> {
    let table = vec![of; N].try_into();
    table.unwrap_or_else(|_| unreachable!("the length is that of the array"))
}

/// A block, with zeros behind it.
pub(crate) struct Block {
    bytes: Box<[u8; LONGEST + MARGIN]>,
    len: usize,
}

impl Block {
    pub(crate) fn new() -> Self {
        Block { bytes: table(0), len: 0 }
    }

    /// `data` has at most [`LONGEST`] bytes.
    pub(crate) fn load(&mut self, data: &[u8]) {
        self.bytes[..data.len()].copy_from_slice(data);
        self.bytes[data.len()..data.len() + MARGIN].fill(0);
        self.len = data.len();
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Where matches may start: before this place.
    pub(crate) fn limit(&self) -> usize {
        self.len.saturating_sub(MARGIN)
    }

    #[inline(always)]
    pub(crate) fn byte(&self, at: usize) -> u8 {
        self.bytes[at & PLACE]
    }

    /// The next four bytes, the first the lowest.
    #[inline(always)]
    pub(crate) fn four(&self, at: usize) -> u32 {
        self.eight(at) as u32
    }

    /// The next three bytes, the first the lowest.
    #[inline(always)]
    pub(crate) fn three(&self, at: usize) -> u32 {
        self.four(at) & 0xff_ffff
    }

    /// The next eight bytes, the first the lowest.
    #[inline(always)]
    pub(crate) fn eight(&self, at: usize) -> u64 {
        let at = at & PLACE;
        let mut out = [0; 8];
        out.copy_from_slice(&self.bytes[at..at + 8]);
        u64::from_le_bytes(out)
    }

    /// How many bytes from `before` on are those from `at` on; `before` is less.
    #[inline(always)]
    pub(crate) fn common(&self, before: usize, at: usize) -> usize {
        let most = self.len - at;
        let mut len = 0;
        while len < most {
            let differing = self.eight(before + len) ^ self.eight(at + len);
            if differing != 0 {
                len += (differing.trailing_zeros() / 8) as usize;
                break;
            }
            len += 8;
        }
        len.min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_common_ends_with_the_block() {
        let mut block = Block::new();
        // What was there before is not seen.
        block.load(&[0; LONGEST]);
        assert_eq!(block.common(0, 1), LONGEST - 1);
        block.load(b"abcdabcdab");
        assert_eq!((block.common(0, 4), block.common(0, 9), block.common(1, 9)), (6, 0, 1));
        block.load(b"\0\0\0\0");
        assert_eq!((block.common(0, 1), block.common(2, 3)), (3, 1));
        assert_eq!((block.bytes(), block.limit()), (&[0; 4][..], 0));
    }
}
