//! Time and peak memory of programs.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{Account, Program};

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Wall time.
    pub time: Duration,
    /// Processor time, in user mode and in the kernel, to 10 ms.
    pub processor: Duration,
    /// The largest resident set among the program and the children it waited for. Bytes. getrusage(2), ru_maxrss.
    pub memory: u64,
}

/// Runs a program by GNU time (package `time`), which has to succeed.
///
/// # Errors
/// It can't be run, or fails.
pub fn once<S: AsRef<std::ffi::OsStr>>(
    by: &Account,
    env: &[(&str, &Path)],
    argv: impl IntoIterator<Item = S>,
) -> Result<Sample> {
    let said = by.home().join("time.said");
    let mut run: Program = by.program("/usr/bin/time").args(["-f", "%M %U %S", "-o"]).arg(&said).args(argv);
    for (name, value) in env {
        run = run.env(name, value);
    }
    let before = std::time::Instant::now();
    run.run()?;
    let time = before.elapsed();
    let text = std::fs::read_to_string(&said)?;
    let numbers = || -> Option<(u64, Duration)> {
        let mut words = text.split_whitespace();
        let kib: u64 = words.next()?.parse().ok()?;
        let seconds = words.map(|word| word.parse::<f64>().ok()).sum::<Option<f64>>()?;
        Some((kib, Duration::try_from_secs_f64(seconds).ok()?))
    };
    let (kib, processor) = numbers().with_context(|| format!("/usr/bin/time said {text:?}"))?;
    Ok(Sample { time, processor, memory: kib * 1024 })
}

/// The median times and the largest memory of some samples.
pub fn summary(samples: &[Sample]) -> Option<Sample> {
    let median = |time: fn(&Sample) -> Duration| {
        let mut times: Vec<Duration> = samples.iter().map(time).collect();
        times.sort();
        times.get(times.len() / 2).copied()
    };
    let memory = samples.iter().map(|s| s.memory).max()?;
    Some(Sample { time: median(|s| s.time)?, processor: median(|s| s.processor)?, memory })
}
