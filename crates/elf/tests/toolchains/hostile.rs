//! Damaged files: an error or a file that parses, never a panic and never a walk out of bounds.

use elf::{Edit, Elf, rewrite};
use proptest::prelude::*;
use tree::Content;

use super::bench::{Bench, HOST, content};

fn edit() -> Edit {
    Edit {
        interpreter: Some(b"/usr/lib/flix/a-program/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2".to_vec()),
        runpath: Some(b"/usr/lib/flix/a-program/usr/lib/x86_64-linux-gnu".repeat(4)),
        nodeflib: true,
        ..Edit::default()
    }
}

/// Both operations; what they return is of no interest.
fn try_both(bytes: Vec<u8>) {
    let content = Content::from(bytes);
    let _ = Elf::parse(&content);
    if let Ok(new) = rewrite(&content, &edit()) {
        assert!(Elf::parse(&new).unwrap().unwrap().flags_1 & 0x800 != 0);
        assert!(new.len() < content.len() + (32 << 20));
    }
    let _ = rewrite(&content, &Edit { interpreter: None, ..edit() });
}

fn specimens() -> Vec<Vec<u8>> {
    let variants: &[&[&str]] =
        &[&["-s"], &["-s", "-fuse-ld=lld"], &["-s", "-fuse-ld=gold", "-Wl,--rosegment"]];
    let benches = variants.iter().map(|flags| Bench::new(HOST, flags, flags));
    benches
        .flat_map(|b| ["program", "libfar.so"].map(|n| content(&b.path(n)).read(1 << 20).unwrap()))
        .collect()
}

#[test]
fn damaged_headers() {
    let specimens = specimens();
    // Where the tables are that the code reads: headers at the start, .dynamic and section headers near the end.
    let change = (0..specimens.len(), any::<prop::sample::Index>(), 0..3usize, any::<u8>());
    let interesting =
        prop::sample::select(vec![0u64, 1, 0xff, 0xffff, 0x7fff_ffff, u64::MAX, 1 << 63, 0x1000]);
    let changes = (change, prop::collection::vec((any::<prop::sample::Index>(), interesting), 1..4));
    proptest!(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() },
        |(((which, place, _, byte), words) in changes)| {
        let mut bytes = specimens[which].clone();
        let at = place.index(bytes.len());
        bytes[at] ^= byte;
        let tables = tables(&bytes);
        for (place, value) in &words {
            let at = tables[place.index(tables.len())];
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        try_both(bytes);
    });
}

/// Offsets of the words of the headers and of .dynamic.
fn tables(bytes: &[u8]) -> Vec<usize> {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let mut out: Vec<usize> = (16..64).step_by(8).collect();
    let phnum = usize::from(bytes[56]);
    for p in (0..phnum).map(|i| 64 + 56 * i).filter(|p| p + 56 <= bytes.len()) {
        out.extend((p..p + 56).step_by(8));
        if bytes[p] == 2 && bytes[p + 1..p + 4] == [0, 0, 0] {
            let (start, size) = (word(p + 8), word(p + 32).min(1024));
            out.extend((start..start.saturating_add(size)).step_by(8).filter(|a| a + 8 <= bytes.len()));
        }
    }
    let sections = word(40);
    out.extend((sections..bytes.len().saturating_sub(8)).step_by(8));
    out.retain(|at| at + 8 <= bytes.len());
    out
}

#[test]
fn cut_off_files() {
    for bytes in specimens() {
        for len in (0..bytes.len()).step_by(7) {
            try_both(bytes[..len].to_vec());
        }
    }
}
