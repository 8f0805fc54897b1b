//! `mutate TARGET SECONDS [FILE…]`: the targets without a nightly compiler. Files (else the target's own) are changed at
//! random, from a fixed seed, for so many seconds. An input that panics is kept as `TARGET.crash`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// xorshift64*, which is random enough here.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n.max(1)
    }

    fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut data = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(6) {
            let len = data.len();
            let at = self.below(len);
            match self.below(8) {
                _ if data.is_empty() => data.push(self.below(256) as u8),
                0 => data[at] ^= 1 << self.below(8),
                1 => data[at] = [0, 1, 0x7f, 0x80, 0xff, b'0', b'7', b'/'][self.below(8)],
                2 => data.truncate(at),
                3 => data.insert(at, self.below(256) as u8),
                4 => _ = data.remove(at),
                5 => {
                    // Numbers of files are mostly at their beginnings.
                    let at = self.below(len.min(512));
                    data[at] = self.below(256) as u8;
                }
                6 => {
                    let end = (at + 1 + self.below(64)).min(len);
                    let part = data[at..end].to_vec();
                    let to = self.below(len);
                    data.splice(to..to, part);
                }
                _ => {
                    let end = (at + 8).min(len);
                    let value = [0u64, 1, 1 << 31, 1 << 32, 1 << 63, u64::MAX, len as u64][self.below(7)];
                    data[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
                }
            }
        }
        data
    }
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (name, seconds) = (words.next().unwrap_or_default(), words.next().and_then(|s| s.parse().ok()));
    let (Some(target), Some(seconds)) = (fuzz::target(&name), seconds) else {
        let names: Vec<&str> = fuzz::TARGETS.iter().map(|t| t.name).collect();
        eprintln!("usage: mutate TARGET SECONDS [FILE…]; targets: {}", names.join(", "));
        return ExitCode::FAILURE;
    };
    let mut seeds = Vec::new();
    for path in words {
        match std::fs::read(&path) {
            Ok(bytes) => seeds.push(bytes),
            Err(e) => {
                eprintln!("{path:?}: {e}");
                return ExitCode::FAILURE;
            }
        }
    }
    if seeds.is_empty() {
        seeds = (target.seeds)();
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut count, mut slowest) = (0u64, Duration::ZERO);
    while Instant::now() < end {
        let data = random.mutate(&seeds);
        let start = Instant::now();
        if catch_unwind(|| (target.run)(&data)).is_err() {
            let path = format!("{name}.crash");
            match std::fs::write(&path, &data) {
                Ok(()) => eprintln!("{name}: panic after {count} inputs, kept as {path}"),
                Err(e) => eprintln!("{path:?}: {e}"),
            }
            return ExitCode::FAILURE;
        }
        slowest = slowest.max(start.elapsed());
        count += 1;
    }
    println!("{name}: {count} inputs, the slowest took {} ms", slowest.as_millis());
    ExitCode::SUCCESS
}
