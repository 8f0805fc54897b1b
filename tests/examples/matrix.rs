//! `cargo xtask bench --matrix`: the matrix of real roots, by flix and by patchelf, as a Markdown page on stdout.
// A program for people at a terminal: printing is what it's for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::matrix::{ALL, Cell, Kind, Matrix, Row, Verdict};

/// One of the two ways, over all cells.
#[derive(Default)]
struct Sum {
    runs: usize,
    refused: usize,
    fails: usize,
    /// Of the cells that run by both ways.
    time: Duration,
}

struct Line {
    title: String,
    cells: Vec<(Kind, Cell, Cell)>,
}

const HEAD: &str = "# The matrix of real roots

Made by `cargo xtask bench --matrix > docs/matrix.md`: release build, one run. Each cell is a program taken out of a root by `flix`, merged by
systemd-sysext (arm64: laid over /usr in the same way, with qemu) onto a host that has busybox and no C library, and used: it has to
say there what it says in its own root. Beside it is `tests/programs/matrix-steps.sh`, which does the same with patchelf, cp and mksquashfs.
Times are those of making the image from the unpacked root.

Debian's roots are made by mmdebstrap, C++, Rust and Go programs compiled for each. The layouts of other distributions are
Debian 12's files moved, with the folders that are compiled into them (`tests/programs/matrix-layout.sh`, `matrix-nix.sh`).
curl fetches a page over TLS, on Alpine busybox's wget with ssl_client does. For musl, the program in the column of C++ is one of C.
";

fn main() -> Result<()> {
    let only = std::env::args().nth(1);
    let matrix = Matrix::new()?;
    let mut lines = Vec::new();
    for row in Row::all(true) {
        if only.as_deref().is_some_and(|only| !row.name().contains(only)) {
            continue;
        }
        eprintln!("{}", row.name());
        let root = row.root(matrix.work()).with_context(|| row.name())?;
        let mut cells = Vec::new();
        for kind in row.kinds() {
            let job = root.job(kind)?;
            matrix.at_home(root, &job).with_context(|| format!("{} {}", row.name(), kind.name()))?;
            let (ours, peer) = (matrix.flix(root, &job)?, matrix.patchelf(root, &job)?);
            for (by, cell) in [("flix", &ours), ("patchelf", &peer)] {
                eprintln!(
                    "    {} by {by}, {:.2} s: {}",
                    kind.name(),
                    cell.time.as_secs_f64(),
                    cell.verdict.short()
                );
            }
            cells.push((kind, ours, peer));
        }
        lines.push(Line { title: root.title.clone(), cells });
    }
    print(&lines);
    Ok(())
}

fn print(lines: &[Line]) {
    println!("{HEAD}");
    let (mut ours, mut peers) = (Sum::default(), Sum::default());
    for line in lines {
        for (_, our, peer) in &line.cells {
            let both = our.verdict.runs() && peer.verdict.runs();
            ours.add(our, both);
            peers.add(peer, both);
        }
    }
    println!("| | runs | refused with a word | fails | time, where both run |");
    println!("|---|---|---|---|---|");
    for (by, sum) in [("flix", &ours), ("patchelf", &peers)] {
        println!(
            "| {by} | {} | {} | {} | {:.1} s |",
            sum.runs,
            sum.refused,
            sum.fails,
            sum.time.as_secs_f64()
        );
    }
    println!("\nflix / patchelf:\n");
    let head: Vec<&str> = ALL.iter().map(|k| k.name()).collect();
    println!("| | {} |", head.join(" | "));
    println!("|---|{}", "---|".repeat(head.len()));
    for line in lines {
        let of = |kind: Kind| line.cells.iter().find(|(k, ..)| *k == kind);
        let cells = ALL.map(|kind| match of(kind) {
            Some((_, our, peer)) => format!("{} / {}", mark(our), mark(peer)),
            None => String::new(),
        });
        println!("| {} | {} |", line.title, cells.join(" | "));
    }
    println!("\nWhat doesn't run:\n");
    for line in lines {
        for (kind, our, peer) in &line.cells {
            for (by, cell) in [("flix", our), ("patchelf", peer)] {
                if !cell.verdict.runs() {
                    println!("- {}, {} by {by}: {}", line.title, kind.name(), cause(&cell.verdict));
                }
            }
        }
    }
}

fn mark(cell: &Cell) -> String {
    match cell.verdict {
        Verdict::Runs => format!("{:.2} s", cell.time.as_secs_f64()),
        Verdict::Refused(_) => "refused".into(),
        Verdict::Fails(_) => "**FAILS**".into(),
    }
}

/// The last line that was said, which is what the program or its loader complained of.
fn cause(verdict: &Verdict) -> String {
    let text = verdict.short();
    let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default();
    format!("`{}`", last.trim())
}

impl Sum {
    fn add(&mut self, cell: &Cell, both: bool) {
        match cell.verdict {
            Verdict::Runs => self.runs += 1,
            Verdict::Refused(_) => self.refused += 1,
            Verdict::Fails(_) => self.fails += 1,
        }
        if both {
            self.time += cell.time;
        }
    }
}
