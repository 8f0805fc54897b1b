//! zstd for the blocks of an image: libzstd's levels, tuned for blocks of 128 KiB.
//!
//! Two things were measured (docs/decisions/0034-squashfs-writer.md): codes of symbols that are renewed every 32 KiB or less,
//! which costs no time and makes programs smaller by more than a level does; and, for the levels at which the time goes, parameters
//! between libzstd's own. The higher the level, the longer it takes and the smaller the image, as everywhere.

use std::io;

use zstd::bulk::Compressor;
use zstd::zstd_safe::{CParameter, ParamSwitch, Strategy};

/// Bytes. What [`TUNED`] is for; larger blocks have libzstd's own parameters.
const TUNED_MAX: u32 = 128 << 10;

/// From this level on, libzstd itself looks where to renew its codes.
const SPLITTING: u32 = 16;

/// From this level on, ours are libzstd's of a lower number.
const SHIFTED: u32 = 17;
const SHIFT: u32 = 2;

/// From this level on, a block that looks like noise is given a short try first.
const SLOW: u32 = 12;

/// Bits a byte. Noise has 8; programs have 6, what is compressed already has 7.9 and more.
const NOISE: f64 = 7.9;

/// Bytes after which codes are renewed in that try.
const SHORT_MAX: u32 = 16 << 10;

struct Parameters {
    level: u32,
    strategy: Strategy,
    hash_log: u32,
    chain_log: u32,
    search_log: u32,
    min_match: u32,
    target_length: u32,
}

const fn lazy(level: u32, search_log: u32) -> Parameters {
    Parameters {
        level,
        strategy: Strategy::ZSTD_lazy,
        hash_log: 17,
        chain_log: 17,
        search_log,
        min_match: 4,
        target_length: 4,
    }
}

const fn optimal(level: u32, search_log: u32, target_length: u32) -> Parameters {
    Parameters {
        level,
        strategy: Strategy::ZSTD_btopt,
        hash_log: 17,
        chain_log: 16,
        search_log,
        min_match: 3,
        target_length,
    }
}

const TUNED: [Parameters; 5] =
    [lazy(6, 2), optimal(13, 1, 32), optimal(14, 2, 12), optimal(15, 3, 14), optimal(16, 3, 64)];

/// Compresses blocks.
pub(crate) struct Zstd {
    thorough: Compressor<'static>,
    /// For what may be noise.
    short: Option<Compressor<'static>>,
}

impl Zstd {
    /// For blocks of up to `block_size` bytes.
    pub(crate) fn new(level: u32, block_size: u32) -> io::Result<Self> {
        let mut thorough = Compressor::new(libzstd_level(level, block_size))?;
        for parameter in parameters(level, block_size) {
            thorough.set_parameter(parameter)?;
        }
        let short = (level >= SLOW).then(|| -> io::Result<_> {
            let mut short = Compressor::new(1)?;
            // Text in a corner of the block isn't to be lost in the noise.
            short.set_parameter(CParameter::MaxBlockSize(SHORT_MAX))?;
            Ok(short)
        });
        Ok(Zstd { thorough, short: short.transpose()? })
    }

    /// The compressed block. May be longer than `block`.
    pub(crate) fn compress(&mut self, block: &[u8]) -> io::Result<Vec<u8>> {
        if let Some(short) = &mut self.short
            && entropy(block) > NOISE
        {
            let tried = short.compress(block)?;
            if tried.len() >= block.len() {
                return Ok(tried);
            }
        }
        self.thorough.compress(block)
    }
}

/// Levels were checked to be at most 22.
fn libzstd_level(level: u32, block_size: u32) -> i32 {
    let shift = if (SHIFTED..22).contains(&level) && block_size <= TUNED_MAX { SHIFT } else { 0 };
    (level - shift) as i32
}

/// Bytes after which codes are renewed. RFC 8878, 3.1.1.2: each block of a frame has its own.
fn block_max(level: u32) -> u32 {
    match level {
        ..SLOW => 32 << 10,
        SLOW..SPLITTING => 24 << 10,
        SPLITTING.. => 64 << 10,
    }
}

fn parameters(level: u32, block_size: u32) -> Vec<CParameter> {
    let mut out = vec![CParameter::MaxBlockSize(block_max(level))];
    if level < SPLITTING {
        out.push(CParameter::UseBlockSplitter(ParamSwitch::Disable));
    }
    let tuned = TUNED.iter().find(|t| t.level == level).filter(|_| block_size <= TUNED_MAX);
    if let Some(tuned) = tuned {
        out.extend([
            CParameter::Strategy(tuned.strategy),
            CParameter::HashLog(tuned.hash_log),
            CParameter::ChainLog(tuned.chain_log),
            CParameter::SearchLog(tuned.search_log),
            CParameter::MinMatch(tuned.min_match),
            CParameter::TargetLength(tuned.target_length),
            // By chains: with few attempts faster than by rows.
            CParameter::UseRowMatchFinder(ParamSwitch::Disable),
        ]);
    }
    out
}

/// Of the bytes, each for itself. Bits a byte, 0 to 8.
fn entropy(block: &[u8]) -> f64 {
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
    let len = block.len() as f64;
    (0..256)
        .map(|byte| f64::from(counts.iter().map(|table| table[byte]).sum::<u32>()))
        .filter(|count| *count > 0.0)
        .map(|count| count / len * (len / count).log2())
        .sum()
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_higher_level_is_not_larger() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let size = |level| {
            let mut zstd = Zstd::new(level, TUNED_MAX).unwrap();
            let blocks = program.chunks(TUNED_MAX as usize).take(24);
            blocks.map(|b| zstd.compress(b).unwrap().len()).sum::<usize>()
        };
        let sizes: Vec<usize> = [3, 6, 9, 13, 16, 19].map(size).to_vec();
        assert!(sizes.is_sorted_by(|a, b| a > b), "{sizes:?}");
    }

    /// What only looks like noise is compressed as thoroughly as the rest.
    #[test]
    fn a_short_try_decides_on_noise_alone() {
        let text: Vec<u8> = (0..2000).flat_map(|i| format!("{} ", i * i % 997).into_bytes()).collect();
        let block = [noise(TUNED_MAX as usize - text.len()), text].concat();
        assert!(entropy(&block) > NOISE);
        for level in [SLOW, 15, 22] {
            let mut zstd = Zstd::new(level, TUNED_MAX).unwrap();
            let mut thorough = Zstd { short: None, ..Zstd::new(level, TUNED_MAX).unwrap() };
            assert!(zstd.compress(&block).unwrap() == thorough.compress(&block).unwrap(), "{level}");
            assert!(zstd.compress(&noise(1 << 17)).unwrap().len() >= 1 << 17, "{level}");
        }
        // Only the one that has to be quick about noise has a second one for it.
        assert!(Zstd::new(SLOW - 1, TUNED_MAX).unwrap().short.is_none());
    }

    #[test]
    fn entropies() {
        assert_eq!(entropy(&[1; 1000]), 0.0);
        assert_eq!(entropy(&[1, 2, 2, 1, 1, 2]), 1.0);
        assert_eq!(entropy(&[1, 2, 3, 4]), 2.0);
        assert!(entropy(&noise(1 << 17)) > 7.99);
        assert!(entropy(b"The quick brown fox jumps over the lazy dog") < 5.0);
    }
}
