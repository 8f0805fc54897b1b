//! Where codes are renewed. RFC 8878, 3.1.1.2: each block of a frame may have its own.

use std::ops::Range;

use crate::{
    block::Block,
    entropy::{BIT, bits},
    sequence::{LEN_CODES, LITERALS_CODES, OFFSET_CODES, Recent, Sequence, len_code, literals_code},
};

/// Bytes that are taken together or apart.
const CHUNK: usize = 4 << 10;

/// Part of a frame with its own codes, and how often it has which symbol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part<const N: usize> {
    /// Place after the last byte.
    pub(crate) end: usize,
    pub(crate) counts: [u32; N],
}

/// Takes neighbours together as long as codes of their own save less than `price` (parts of a bit), which is what it takes to
/// write them down. The symbols of each range of `alphabets` have a code.
fn split<const N: usize>(
    chunks: impl Iterator<Item = Part<N>>,
    alphabets: &[Range<usize>],
    price: u64,
    out: &mut Vec<Part<N>>,
) {
    let size = |part: &Part<N>| alphabets.iter().map(|a| bits(&part.counts[a.clone()])).sum::<u64>();
    out.clear();
    let mut before = 0;
    for chunk in chunks {
        let alone = size(&chunk);
        if let Some(last) = out.last_mut() {
            let mut both = chunk;
            both.counts.iter_mut().zip(&last.counts).for_each(|(sum, count)| *sum += count);
            let together = size(&both);
            if together <= before + alone + price {
                *last = both;
                before = together;
                continue;
            }
        }
        out.push(chunk);
        before = alone;
    }
}

/// One of so many bytes is looked at, and what is saved there has to be so many bits.
const SAMPLE: usize = 4;
const SAMPLE_PRICE: u64 = 600 * BIT as u64;

/// By the bytes alone: matches follow the same borders, mostly.
pub(crate) fn by_bytes(block: &Block, out: &mut Vec<Part<256>>) {
    let chunks = block.bytes().chunks(CHUNK).enumerate().map(|(number, chunk)| {
        // Two tables, since equal bytes in a row would wait for each other.
        let (mut counts, mut others) = ([0; 256], [0; 256]);
        for samples in chunk.chunks_exact(2 * SAMPLE) {
            counts[usize::from(samples[0])] += 1;
            others[usize::from(samples[SAMPLE])] += 1;
        }
        counts.iter_mut().zip(&others).for_each(|(sum, count)| *sum += count);
        Part { end: number * CHUNK + chunk.len(), counts }
    });
    split(chunks, &[LITERALS], SAMPLE_PRICE, out);
}

/// Where the symbols of sequences are in [`Counts`].
pub(crate) const LITERALS: Range<usize> = 0..256;
pub(crate) const LITERALS_LENGTHS: Range<usize> = LITERALS.end..LITERALS.end + LITERALS_CODES;
pub(crate) const LENGTHS: Range<usize> = LITERALS_LENGTHS.end..LITERALS_LENGTHS.end + LEN_CODES;
pub(crate) const OFFSETS: Range<usize> = LENGTHS.end..LENGTHS.end + OFFSET_CODES;
pub(crate) type Counts = [u32; OFFSETS.end];

const PRICE: u64 = 800 * BIT as u64;

/// By the symbols of the sequences.
pub(crate) fn by_sequences(block: &Block, sequences: &[Sequence], out: &mut Vec<Part<{ OFFSETS.end }>>) {
    let mut rest = sequences.iter();
    let mut recent = Recent::START;
    let mut at = 0;
    let chunks = std::iter::from_fn(|| {
        if at >= block.len() {
            return None;
        }
        let mut counts: Counts = [0; OFFSETS.end];
        let literals = |range: Range<usize>, counts: &mut Counts| {
            block.bytes()[range].iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        };
        let start = at;
        while at - start < CHUNK {
            let Some(sequence) = rest.next() else {
                literals(at..block.len(), &mut counts);
                at = block.len();
                break;
            };
            literals(at..at + sequence.literals as usize, &mut counts);
            let value = recent.value(sequence.offset, sequence.literals == 0);
            recent = recent.after(sequence.offset);
            counts[LITERALS_LENGTHS.start + literals_code(sequence.literals)] += 1;
            counts[LENGTHS.start + len_code(sequence.len)] += 1;
            counts[OFFSETS.start + value.ilog2() as usize] += 1;
            at += (sequence.literals + sequence.len) as usize;
        }
        Some(Part { end: at, counts })
    });
    split(chunks, &[LITERALS, LITERALS_LENGTHS, LENGTHS, OFFSETS], PRICE, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_renewed_where_the_bytes_change() {
        let mut block = Block::new();
        let letters = |from: u8, n: usize| (0..n).map(move |i| from + (i * i % 23) as u8);
        let data: Vec<u8> =
            letters(b'a', 40_960).chain(letters(b'A', 20_480)).chain(letters(b'a', 9)).collect();
        block.load(&data);
        let mut parts = Vec::new();
        by_bytes(&block, &mut parts);
        assert_eq!(parts.iter().map(|p| p.end).collect::<Vec<_>>(), [40_960, 61_449]);
        let mut parts = Vec::new();
        by_sequences(&block, &[], &mut parts);
        assert_eq!(parts.iter().map(|p| p.end).collect::<Vec<_>>(), [61_449]);
        let sequences = vec![Sequence { literals: 1021, offset: 23, len: 3 }; 60];
        by_sequences(&block, &sequences, &mut parts);
        assert_eq!(parts.iter().map(|p| p.end).collect::<Vec<_>>(), [40_960, 61_449]);
        let lengths: u32 = parts.iter().flat_map(|p| &p.counts[LENGTHS]).sum();
        assert_eq!(lengths, 60);
    }

    #[test]
    fn an_empty_block_has_no_parts() {
        let block = Block::new();
        let mut parts = Vec::new();
        by_bytes(&block, &mut parts);
        assert!(parts.is_empty());
        let mut parts = Vec::new();
        by_sequences(&block, &[], &mut parts);
        assert!(parts.is_empty());
    }
}
