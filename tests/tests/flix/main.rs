//! The program as a user runs it: images from a registry, extensions that merge and run.

mod b3sum;
mod command_line;
mod installed;
mod interrupted;
mod narrow;
mod nginx;
mod packages;
mod readme;
mod reproducible;
mod verity;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::{Outcome, Program};

/// The content of a squashfs image, below `dir`.
fn unsquash(image: &Path, dir: &Path) -> Result<PathBuf> {
    let to = dir.join("unsquashed");
    if to.exists() {
        fs::remove_dir_all(&to)?;
    }
    Program::new("unsquashfs").args(["-quiet", "-no-progress", "-d"]).arg(&to).arg(image).run()?;
    Ok(to)
}

/// The files in a directory, by name.
fn names(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("{dir:?}"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Fails unless the text has the words, whatever their case.
#[track_caller]
fn assert_says(outcome: &Outcome, words: &[&str]) {
    let text = format!("{}{}", outcome.stdout, outcome.stderr).to_lowercase();
    for word in words {
        assert!(text.contains(&word.to_lowercase()), "{}: doesn't say {word:?}:\n{text}", outcome.line);
    }
}
