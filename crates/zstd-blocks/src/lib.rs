//! zstd for the blocks of an image: libzstd's levels, but for those that matter most, whose sequences we find ourselves.
//!
//! A block is 128 KiB, so that every place in it is near: a table with the last few places by the hash of what follows them, which
//! wouldn't do for libzstd's large windows, is all that's needed here. Two things are better than in libzstd (figures are in
//! docs/decisions/0075-zstd-sequences.md): codes are renewed where the symbols change, and the thorough choice of sequences
//! knows from a quick one what the symbols will cost. Codes and frames are libzstd's.
//!
//! In reading order: `sequence` and `block` are what is talked about; `quick` finds sequences for level 6; `find` and
//! `thorough` for levels 12 to 15; `split` tells where codes are renewed; `sys` writes frames.

use std::io;

use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, ParamSwitch, Strategy as Codes};

mod sequence;

mod block;
mod entropy;

mod quick;

mod find;
mod thorough;

mod split;
mod sys;

use block::{Block, LONGEST};
use entropy::BIT;
use find::Finder;
use quick::Quick;
use sequence::Sequence;
use split::{OFFSETS, Part};
use sys::Coder;
use thorough::Thorough;

/// The level of [`Quick`].
const QUICK: u32 = 6;

/// Levels of [`Thorough`], and the length of a match that is enough for each.
const THOROUGH: [(u32, usize); 4] = [(12, 8), (13, 12), (14, 16), (15, 24)];

/// From this level on, libzstd itself looks where to renew its codes.
const SPLITTING: u32 = 16;

/// From this level on, a block that looks like noise is given a short try first.
const SLOW: u32 = 12;

/// Parts of a bit a byte. Noise has 8 bits; programs have 6, what is compressed already has 7.9 and more.
const NOISE: u64 = 79 * BIT as u64 / 10;

/// Bytes after which codes are renewed in that try.
const SHORT_MAX: u32 = 16 << 10;

/// Compresses blocks, one at a time. Keeps its tables for the next block.
pub struct Zstd {
    way: Way,
    /// For what may be noise.
    short: Option<Compressor<'static>>,
}

enum Way {
    Library(Compressor<'static>),
    Ours(Box<Ours>),
}

/// Finds the sequences of a block and has them written. Everything is kept for the next block.
struct Ours {
    search: Search,
    block: Block,
    sequences: Vec<Sequence>,
    coder: Coder,
}

enum Search {
    Quick { quick: Quick, parts: Vec<Part<256>> },
    Thorough { finder: Finder, enough: usize, thorough: Thorough, parts: Vec<Part<{ OFFSETS.end }>> },
}

impl std::fmt::Debug for Zstd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zstd").finish_non_exhaustive()
    }
}

impl Zstd {
    /// Makes a compressor for blocks of up to `block_size` bytes at `level`, 1 to 22.
    ///
    /// # Errors
    /// libzstd has no memory for it, or doesn't know the level.
    pub fn new(level: u32, block_size: u32) -> io::Result<Self> {
        let way = match Ours::new(level, block_size)? {
            Some(ours) => Way::Ours(Box::new(ours)),
            None => Way::Library(library(level)?),
        };
        let short = (level >= SLOW).then(|| -> io::Result<_> {
            let mut short = Compressor::new(1)?;
            // Text in a corner of the block isn't to be lost in the noise.
            short.set_parameter(CParameter::MaxBlockSize(SHORT_MAX))?;
            Ok(short)
        });
        Ok(Zstd { way, short: short.transpose()? })
    }

    /// Compresses a block into a frame. The frame may be longer than `block`.
    ///
    /// # Errors
    /// libzstd refuses the sequences, which would be a defect of this crate.
    pub fn compress(&mut self, block: &[u8]) -> io::Result<Vec<u8>> {
        if let Some(short) = &mut self.short
            && bits_a_byte(block) > NOISE
        {
            let tried = short.compress(block)?;
            if tried.len() >= block.len() {
                return Ok(tried);
            }
        }
        match &mut self.way {
            Way::Library(library) => library.compress(block),
            Way::Ours(ours) => ours.compress(block),
        }
    }
}

impl Ours {
    /// None if libzstd is better at it.
    fn new(level: u32, block_size: u32) -> io::Result<Option<Self>> {
        let (search, strategy) = match THOROUGH.iter().find(|(l, _)| *l == level) {
            _ if block_size as usize > LONGEST => return Ok(None),
            Some(&(_, enough)) => {
                let thorough = Thorough::new(enough);
                let search = Search::Thorough { finder: Finder::new(), enough, thorough, parts: Vec::new() };
                (search, Codes::ZSTD_btopt)
            }
            None if level == QUICK => {
                (Search::Quick { quick: Quick::new(), parts: Vec::new() }, Codes::ZSTD_lazy)
            }
            None => return Ok(None),
        };
        let coder = Coder::new(strategy)?;
        Ok(Some(Ours { search, block: Block::new(), sequences: Vec::new(), coder }))
    }

    /// `data` has at most [`LONGEST`] bytes.
    fn compress(&mut self, data: &[u8]) -> io::Result<Vec<u8>> {
        let Ours { search, block, sequences, coder } = self;
        block.load(data);
        match search {
            Search::Quick { quick, parts } => {
                quick.parse(block, sequences);
                split::by_bytes(block, parts);
                push(sequences, parts, data.len(), coder);
            }
            Search::Thorough { finder, enough, thorough, parts } => {
                finder.run(block, *enough);
                finder.rough(block, sequences);
                split::by_sequences(block, sequences, parts);
                thorough.parse(block, finder, parts, sequences);
                push(sequences, parts, data.len(), coder);
            }
        }
        coder.finish(data)
    }
}

/// Hands the sequences of `len` bytes on, and ends blocks with the first sequence that reaches the end of a part.
fn push<const N: usize>(sequences: &[Sequence], parts: &[Part<N>], len: usize, coder: &mut Coder) {
    let mut ends = parts.iter().map(|part| part.end).peekable();
    let mut at = 0;
    for sequence in sequences {
        let mut ended = false;
        while ends.next_if(|end| *end <= at).is_some() {
            ended = true;
        }
        if ended {
            coder.end_block(0);
        }
        coder.push(*sequence);
        at += (sequence.literals + sequence.len) as usize;
    }
    coder.end_block((len - at) as u32);
}

/// Levels were checked to be at most 22.
fn library(level: u32) -> io::Result<Compressor<'static>> {
    let mut library = Compressor::new(level as i32)?;
    // RFC 8878, 3.1.1.2: each block of a frame has its own codes.
    library.set_parameter(CParameter::MaxBlockSize(match level {
        ..SPLITTING => 32 << 10,
        SPLITTING.. => 64 << 10,
    }))?;
    if level < SPLITTING {
        library.set_parameter(CParameter::UseBlockSplitter(ParamSwitch::Disable))?;
    }
    Ok(library)
}

/// Of the bytes, each for itself. Parts of a bit a byte.
fn bits_a_byte(block: &[u8]) -> u64 {
    // Four tables, since equal bytes in a row would wait for each other.
    let mut counts = [[0_u32; 256]; 4];
    let mut parts = block.chunks_exact(4);
    for part in &mut parts {
        for (table, byte) in counts.iter_mut().zip(part) {
            table[usize::from(*byte)] += 1;
        }
    }
    for byte in parts.remainder() {
        counts[0][usize::from(*byte)] += 1;
    }
    let counts: [u32; 256] = std::array::from_fn(|byte| counts.iter().map(|table| table[byte]).sum());
    entropy::bits(&counts).checked_div(block.len() as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Bytes that don't compress. Knuth, MMIX.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn blocks_of_all_levels_and_lengths_are_read_again() {
        let text: Vec<u8> = (0..40_000_u32).flat_map(|i| (i % 977).to_le_bytes()).collect();
        for level in 1..=22 {
            for block_size in [4 << 10, 128 << 10, 1 << 20] {
                let mut zstd = Zstd::new(level, block_size).unwrap();
                for data in [&text[..], &noise(200_000), &[0; 100_000], &[7], &[]] {
                    let block = &data[..data.len().min(block_size as usize)];
                    let packed = zstd.compress(block).unwrap();
                    let again = zstd::bulk::decompress(&packed, block_size as usize).unwrap();
                    assert!(again == block, "{level} {block_size} {}", block.len());
                }
            }
        }
    }

    fn program() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    fn size(zstd: &mut Zstd, data: &[u8]) -> usize {
        data.chunks(LONGEST).take(24).map(|block| zstd.compress(block).unwrap().len()).sum()
    }

    #[test]
    fn a_higher_level_is_not_larger() {
        let program = program();
        let levels = [3, 5, 6, 9, 12, 13, 14, 15, 16];
        let sizes: Vec<usize> =
            levels.map(|level| size(&mut Zstd::new(level, 1 << 17).unwrap(), &program)).into();
        assert!(sizes.is_sorted_by(|a, b| a > b), "{sizes:?}");
    }

    /// The sequences are good, not only right. The program is a large one: of small ones without room to spare, as busybox,
    /// level 6 is 0.4 % larger than libzstd's.
    #[test]
    fn our_levels_are_as_small_as_those_of_libzstd() {
        let program = std::fs::read(env!("CARGO")).unwrap();
        for (level, percent) in [(6, 100), (12, 98), (15, 101)] {
            let ours = size(&mut Zstd::new(level, 1 << 17).unwrap(), &program);
            let way = Way::Library(Compressor::new(level as i32).unwrap());
            let theirs = size(&mut Zstd { way, short: None }, &program);
            assert!(ours * 100 <= theirs * percent, "{level}: {ours} {theirs}");
        }
    }

    /// Runs, repeats of what was before, letters and noise, in any order.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            (any::<u8>(), 1..2000_usize).prop_map(|(byte, n)| Piece::Run(byte, n)),
            (1..100_000_usize, 1..3000_usize).prop_map(|(back, n)| Piece::Repeat(back, n)),
            (1..9_u8, vec(any::<u8>(), 1..300)).prop_map(|(of, bytes)| Piece::Letters(of, bytes)),
            vec(any::<u8>(), 1..2000).prop_map(Piece::Noise),
        ];
        let join = |pieces: Vec<Piece>| {
            let mut out: Vec<u8> = Vec::new();
            for piece in pieces {
                match piece {
                    Piece::Run(byte, n) => out.resize(out.len() + n, byte),
                    Piece::Repeat(back, n) => {
                        let from = out.len().saturating_sub(back);
                        (from..from + n).for_each(|i| out.push(out.get(i).copied().unwrap_or(0)));
                    }
                    Piece::Letters(of, bytes) => out.extend(bytes.iter().map(|b| b'a' + b % of)),
                    Piece::Noise(bytes) => out.extend(bytes),
                }
            }
            out.truncate(LONGEST);
            out
        };
        vec(piece, 0..120).prop_map(join)
    }

    #[derive(Debug)]
    enum Piece {
        Run(u8, usize),
        Repeat(usize, usize),
        Letters(u8, Vec<u8>),
        Noise(Vec<u8>),
    }

    proptest! {
        /// Tables and sequences of the block before are left in the compressor, and don't matter.
        #[test]
        fn any_block_is_read_again(blocks in vec(pieces(), 1..4)) {
            for level in [QUICK, 12, 15] {
                let mut zstd = Zstd::new(level, LONGEST as u32).unwrap();
                for block in &blocks {
                    let packed = zstd.compress(block).unwrap();
                    prop_assert!(&zstd::bulk::decompress(&packed, LONGEST).unwrap() == block);
                    let mut other = Zstd::new(level, LONGEST as u32).unwrap();
                    prop_assert!(packed == other.compress(block).unwrap());
                }
            }
        }
    }

    /// Entries of other blocks stay in the table of the quick search until their number comes round again.
    #[test]
    fn what_was_compressed_before_does_not_show() {
        let program = program();
        let mut used = Zstd::new(QUICK, LONGEST as u32).unwrap();
        // So many blocks later a number is used again. Long blocks would overwrite everything before that.
        let again = quick::EPOCHS as usize - 1;
        for number in 0..=2 * again {
            let block = if number % again == 0 { &program[..LONGEST] } else { &program[..100 + number] };
            let mut new = Zstd::new(QUICK, LONGEST as u32).unwrap();
            assert!(used.compress(block).unwrap() == new.compress(block).unwrap(), "{number}");
        }
    }

    /// What only looks like noise is compressed as thoroughly as the rest.
    #[test]
    fn a_short_try_decides_on_noise_alone() {
        let text: Vec<u8> = (0..2000).flat_map(|i| format!("{} ", i * i % 997).into_bytes()).collect();
        let block = [noise(LONGEST - text.len()), text].concat();
        assert!(bits_a_byte(&block) > NOISE);
        for level in [SLOW, 15, 22] {
            let mut zstd = Zstd::new(level, LONGEST as u32).unwrap();
            let mut thorough = Zstd { short: None, ..Zstd::new(level, LONGEST as u32).unwrap() };
            assert!(zstd.compress(&block).unwrap() == thorough.compress(&block).unwrap(), "{level}");
            assert!(zstd.compress(&noise(1 << 17)).unwrap().len() >= 1 << 17, "{level}");
        }
        // Only the one that has to be quick about noise has a second one for it.
        assert!(Zstd::new(SLOW - 1, LONGEST as u32).unwrap().short.is_none());
    }

    #[test]
    fn entropies() {
        let bit = u64::from(BIT);
        assert_eq!((bits_a_byte(&[]), bits_a_byte(&[1; 1000])), (0, 0));
        assert_eq!((bits_a_byte(&[1, 2, 2, 1, 1, 2]), bits_a_byte(&[1, 2, 3, 4])), (bit, 2 * bit));
        assert!(bits_a_byte(&noise(1 << 17)) > 8 * bit - 3);
        assert!(bits_a_byte(b"The quick brown fox jumps over the lazy dog") < 5 * bit);
    }
}
