//! Rewrites every ELF file below directories, or as named, in memory and says what came of it: how many of which kind, how much they grew,
//! and each file that was refused with its reason.
//!
//! `cargo run --release --example corpus -- /usr`
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use elf::{Edit, Elf, ElfKind, RewriteError, rewrite};
use tree::{Blob, Content};

const SYSROOT: &str = "/usr/lib/flix/some-program/usr/lib";

fn files(dir: &Path, out: &mut Vec<PathBuf>) -> Result<()> {
    if dir.is_file() {
        out.push(dir.to_path_buf());
        return Ok(());
    }
    let mut entries: Vec<_> =
        fs::read_dir(dir).with_context(|| format!("{dir:?}"))?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files(&entry.path(), out)?;
        } else if kind.is_file() {
            out.push(entry.path());
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut growth = Vec::new();
    for dir in std::env::args_os().skip(1) {
        let mut paths = Vec::new();
        files(Path::new(&dir), &mut paths)?;
        for path in paths {
            let len = path.metadata()?.len();
            let content = Content::in_blob(Blob::at_path(&path), 0, len);
            let elf = match Elf::parse(&content) {
                Ok(Some(elf)) => elf,
                Ok(None) => continue,
                Err(e) => {
                    println!("{path:?}: unreadable: {e}");
                    *counts.entry("unreadable".to_owned()).or_default() += 1;
                    continue;
                }
            };
            *counts.entry(format!("{:?}", elf.kind)).or_default() += 1;
            if matches!(elf.kind, ElfKind::Loader | ElfKind::StaticPie) {
                println!("{path:?}: {:?}", elf.kind);
            }
            for defect in &elf.defects {
                println!("{path:?}: {defect}");
            }
            let edit = Edit {
                interpreter: elf
                    .interpreter
                    .as_ref()
                    .map(|_| format!("{SYSROOT}/ld-linux.so.2").into_bytes()),
                runpath: Some(format!("{SYSROOT}/x86_64-linux-gnu:{SYSROOT}").into_bytes()),
                nodeflib: true,
                ..Edit::default()
            };
            match rewrite(&content, &edit) {
                Ok(new) => {
                    if new.len() - len > 64 << 10 {
                        println!("{path:?}: grew by {}", new.len() - len);
                    }
                    growth.push(new.len() - len);
                }
                Err(RewriteError::LeftAlone(_)) => {}
                Err(e) => {
                    println!("{path:?}: refused: {e}");
                    *counts.entry("refused".to_owned()).or_default() += 1;
                }
            }
        }
    }
    growth.sort_unstable();
    for (what, n) in counts {
        println!("{what}: {n}");
    }
    let at = |part: usize| growth.get(growth.len() * part / 100).or(growth.last()).copied().unwrap_or(0);
    println!(
        "rewritten: {}; growth in bytes: median {}, p95 {}, most {}, sum {}; {} did not grow",
        growth.len(),
        at(50),
        at(95),
        at(100),
        growth.iter().sum::<u64>(),
        growth.iter().filter(|&&g| g == 0).count()
    );
    Ok(())
}
