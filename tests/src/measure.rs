//! Wall time and peak memory of programs.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{Account, Program};

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Wall time.
    pub time: Duration,
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
    let mut run: Program = by.program("/usr/bin/time").args(["-f", "%M", "-o"]).arg(&said).args(argv);
    for (name, value) in env {
        run = run.env(name, value);
    }
    let before = std::time::Instant::now();
    run.run()?;
    let time = before.elapsed();
    let text = std::fs::read_to_string(&said)?;
    let kib: u64 = text.trim().parse().with_context(|| format!("/usr/bin/time said {text:?}"))?;
    Ok(Sample { time, memory: kib * 1024 })
}

/// The median time and the largest memory of some samples.
pub fn summary(samples: &[Sample]) -> Option<Sample> {
    let mut times: Vec<Duration> = samples.iter().map(|s| s.time).collect();
    times.sort();
    let memory = samples.iter().map(|s| s.memory).max()?;
    Some(Sample { time: *times.get(times.len() / 2)?, memory })
}
