//! `cargo xtask bench --images`: our squashfs writer beside its peers, in one run, as a Markdown page on stdout.
// A program for people at a terminal: printing is what it's for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::measure::{Sample, once, summary};
use e2e::place::cached;
use e2e::{Account, Program, Work, roots};

/// Bytes of the one file of the large tree.
const LARGE: u64 = 1 << 30;

/// What takes less is repeated so often: the disk's delays would be a large part of it.
const SHORT: Duration = Duration::from_secs(3);
const REPEATS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Maker {
    Ours,
    Mksquashfs,
    TrixieMksquashfs,
    Gensquashfs,
    Backhand,
}

impl Maker {
    fn name(self) -> &'static str {
        match self {
            Maker::Ours => "ours",
            Maker::Mksquashfs => "mksquashfs of bookworm",
            Maker::TrixieMksquashfs => "mksquashfs of trixie",
            Maker::Gensquashfs => "gensquashfs",
            Maker::Backhand => "backhand",
        }
    }
}

/// Codec, level, and who makes it. The scripts' way is gzip at mksquashfs's default level, 9; its zstd default is 15.
const ROWS: [(&str, &str, &[Maker]); 3] = [
    ("gzip", "9", &ALL),
    ("zstd", "15", &ALL),
    // The default.
    ("zstd", "6", &[Maker::Ours]),
];
const ALL: [Maker; 5] =
    [Maker::Mksquashfs, Maker::Ours, Maker::TrixieMksquashfs, Maker::Gensquashfs, Maker::Backhand];

/// Levels of ours for the choice of the default.
const LEVELS: [&str; 8] = ["1", "3", "4", "5", "6", "7", "8", "9"];

/// What one maker made of one tree.
struct Made {
    sample: Sample,
    bytes: u64,
}

fn main() -> Result<()> {
    let runs: usize = match std::env::args().nth(1) {
        Some(n) => n.parse().context("the argument is the number of runs")?,
        None => 3,
    };
    let squash = std::env::var_os("SQUASH_BIN").context("SQUASH_BIN names the example squash of image")?;
    let work = Work::new()?;
    let bench = Bench { runs, squash: squash.into(), account: work.root("bench")?, trixie: trixie()? };
    let trees = trees(&work)?;
    bench.page(&trees)
}

/// A trixie root with its mksquashfs, run by its own loader.
fn trixie() -> Result<PathBuf> {
    let dir = cached("trixie-squashfs-tools", "1", |dir| {
        let debstrap = Program::new("mmdebstrap").args(["--quiet", "--mode=root", "--variant=extract"]);
        debstrap.args(["--include=squashfs-tools", "trixie"]).arg(dir.join("root")).run().map(drop)
    })?;
    Ok(dir.join("root"))
}

fn trees(work: &Work) -> Result<Vec<(&'static str, PathBuf)>> {
    let unpack = |name: &str, tar: &Path| -> Result<PathBuf> {
        let dir = work.dir(name)?;
        Program::new("tar").arg("-C").arg(&dir).arg("-xf").arg(tar).run()?;
        Ok(dir)
    };
    let debian = unpack("debian", &roots::debian_tar()?)?;
    let nginx = unpack("nginx", &roots::nginx_uncleaned_tar()?)?;
    let toolchain = toolchain(work)?;
    let packages = packages(work)?;
    let large = work.dir("large")?;
    fs::create_dir(large.join("usr"))?;
    mixed(&large.join("usr/large"), &[&debian, &toolchain, &packages])?;
    let mut trees = vec![
        ("Debian", debian),
        ("Debian with nginx, as apt leaves it", nginx),
        ("one file of 1 GiB", large),
    ];
    let alpine = e2e::place::shared("images/alpine-minirootfs-3.20.3-x86_64.tar.gz");
    if let Some(alpine) = alpine {
        trees.push(("Alpine", unpack("alpine", &alpine)?));
    }
    trees.push(("programs: the Rust compiler", toolchain));
    trees.push(("packages: already compressed", packages));
    Ok(trees)
}

/// A tree of large ELF files.
fn toolchain(work: &Work) -> Result<PathBuf> {
    let dir = work.dir("toolchain")?;
    let root = Program::new("rustc").args(["--print", "sysroot"]).run()?.stdout;
    let lib = Path::new(root.trim()).join("lib");
    for entry in fs::read_dir(&lib).with_context(|| format!("{lib:?}"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let to = dir.join("usr/lib");
            fs::create_dir_all(&to)?;
            _ = fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(dir)
}

/// A tree of files that don't compress.
fn packages(work: &Work) -> Result<PathBuf> {
    let dir = work.dir("packages")?;
    let to = dir.join("usr/share/packages");
    fs::create_dir_all(&to)?;
    let kernel = "$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p')";
    let script = format!("cd \"$1\" && apt-get -q download git perl-base libc6 {kernel}");
    Program::new("sh").args(["-euc", &script, "sh"]).arg(&to).run()?;
    Ok(dir)
}

/// One file of what these trees' files hold, in the order of their paths, again and again.
fn mixed(path: &Path, trees: &[&PathBuf]) -> Result<()> {
    let list = "for d; do find \"$d\" -type f -size +0 | LC_ALL=C sort; done";
    let files = Program::new("sh").args(["-euc", list, "sh"]).args(trees).run()?.stdout;
    let mut out = fs::File::create(path).with_context(|| format!("{path:?}"))?;
    let mut left = LARGE;
    for file in files.lines().cycle() {
        let file = fs::File::open(file).with_context(|| file.to_owned())?;
        left -= std::io::copy(&mut std::io::Read::take(file, left), &mut out)?;
        if left == 0 {
            break;
        }
    }
    Ok(())
}

struct Bench {
    runs: usize,
    squash: PathBuf,
    account: Account,
    trixie: PathBuf,
}

impl Bench {
    fn make(&self, maker: Maker, codec: &str, level: &str, tree: &Path) -> Result<Made> {
        let image = self.account.home().join("image.raw");
        _ = fs::remove_file(&image);
        let mut argv: Vec<OsString> = ["nice", "-n", "-5"].map(OsString::from).to_vec();
        let path = |p: &Path| p.as_os_str().to_owned();
        let mksquashfs = |argv: &mut Vec<OsString>| {
            argv.extend([path(tree), path(&image)]);
            let options = ["-noappend", "-quiet", "-no-progress", "-all-root", "-comp", codec];
            argv.extend(options.map(OsString::from));
            argv.extend(["-Xcompression-level", level].map(OsString::from));
        };
        match maker {
            Maker::Ours | Maker::Backhand => {
                let codec = if maker == Maker::Ours { codec.to_owned() } else { format!("backhand:{codec}") };
                argv.extend([path(&self.squash), codec.into(), level.into(), path(tree), path(&image)]);
            }
            Maker::Mksquashfs => {
                argv.push("mksquashfs".into());
                mksquashfs(&mut argv);
            }
            Maker::TrixieMksquashfs => {
                argv.push(path(&self.trixie.join("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")));
                argv.push("--library-path".into());
                argv.push(path(&self.trixie.join("usr/lib/x86_64-linux-gnu")));
                argv.push(path(&self.trixie.join("usr/bin/mksquashfs")));
                mksquashfs(&mut argv);
            }
            Maker::Gensquashfs => {
                argv.extend(
                    ["gensquashfs", "--quiet", "--all-root", "--compressor", codec, "--comp-extra"]
                        .map(Into::into),
                );
                argv.extend([format!("level={level}").into(), "--pack-dir".into(), path(tree), path(&image)]);
            }
        }
        // Nobody pays for what the one before left to be written.
        Program::new("sync").run()?;
        let sample = once(&self.account, &[], &argv)?;
        let bytes = fs::metadata(&image).with_context(|| format!("{image:?}"))?.len();
        fs::remove_file(&image)?;
        Ok(Made { sample, bytes })
    }

    /// Median time, largest memory, bytes; all of one tree take turns.
    fn measure(&self, rows: &[(&str, &str, Maker)], tree: &Path, runs: usize) -> Result<Vec<Made>> {
        let mut samples: Vec<(Vec<Sample>, u64)> = rows.iter().map(|_| (Vec::new(), 0)).collect();
        for run in 0..runs {
            for ((codec, level, maker), (samples, bytes)) in rows.iter().zip(&mut samples) {
                eprintln!("{}, run {}: {} {codec}:{level}", tree.display(), run + 1, maker.name());
                let made = self.make(*maker, codec, level, tree)?;
                let repeats = if made.sample.time < SHORT { REPEATS } else { 0 };
                samples.push(made.sample);
                for _ in 0..repeats {
                    samples.push(self.make(*maker, codec, level, tree)?.sample);
                }
                *bytes = made.bytes;
            }
        }
        let summary = |(samples, bytes): (Vec<Sample>, u64)| {
            Ok(Made { sample: summary(&samples).context("no runs")?, bytes })
        };
        samples.into_iter().map(summary).collect()
    }

    fn page(&self, trees: &[(&'static str, PathBuf)]) -> Result<()> {
        println!("# Benchmarks of the image writer\n");
        println!(
            "Made by `cargo xtask bench --images --runs {} > docs/benchmarks-images.md`: release build, ours with sync, \
             median of the runs, which take turns and are five times as many where one takes less than 3 s; memory is the largest of \
             them. Trees are directories in the page cache.",
            self.runs
        );
        for (name, tree) in trees.iter().take(3) {
            self.peers(name, tree)?;
        }
        self.levels(trees)?;
        self.memory()
    }

    fn peers(&self, name: &str, tree: &Path) -> Result<()> {
        let rows: Vec<(&str, &str, Maker)> = ROWS
            .iter()
            .flat_map(|(codec, level, makers)| makers.iter().map(move |maker| (*codec, *level, *maker)))
            .collect();
        let results = self.measure(&rows, tree, self.runs)?;
        println!("\n## {name}\n");
        println!("| codec | writer | time | of mksquashfs's | bytes | of mksquashfs's | peak memory, MiB |");
        println!("|---|---|---|---|---|---|---|");
        for ((codec, level, maker), result) in rows.iter().zip(&results) {
            // The default is beside the scripts' gzip, the first row.
            let same = rows.iter().position(|(c, l, m)| (c, l, *m) == (codec, level, Maker::Mksquashfs));
            let base = &results[same.unwrap_or(0)];
            let time = result.sample.time.as_secs_f64();
            println!(
                "| {codec} {level} | {} | {time:.2} s | {:.3} | {} | {:.4} | {:.0} |",
                maker.name(),
                time / base.sample.time.as_secs_f64(),
                result.bytes,
                result.bytes as f64 / base.bytes as f64,
                mib(result.sample.memory)
            );
        }
        Ok(())
    }

    /// The default level: not larger than the scripts' gzip on any tree.
    fn levels(&self, trees: &[(&'static str, PathBuf)]) -> Result<()> {
        println!(
            "\n## The default level\n\nSize and time of zstd's levels, each divided by those of mksquashfs's gzip.\n"
        );
        println!("| tree | {} |", LEVELS.join(" | "));
        println!("|---|{}", "---|".repeat(LEVELS.len()));
        for (name, tree) in trees {
            let mut rows = vec![("gzip", "9", Maker::Mksquashfs)];
            rows.extend(LEVELS.map(|level| ("zstd", level, Maker::Ours)));
            let results = self.measure(&rows, tree, 1)?;
            let (base, ours) = results.split_first().context("no rows")?;
            let cells: Vec<String> = ours
                .iter()
                .map(|r| {
                    let time = r.sample.time.as_secs_f64() / base.sample.time.as_secs_f64();
                    format!("{:.3} / {time:.3}", r.bytes as f64 / base.bytes as f64)
                })
                .collect();
            println!("| {name} | {} |", cells.join(" | "));
        }
        Ok(())
    }

    /// What the writer adds to the memory that the tree takes.
    fn memory(&self) -> Result<()> {
        println!(
            "\n## Memory\n\nTrees made in memory, two threads at the default level. The goal is 64 MiB and 4 MiB a thread.\n"
        );
        println!("| tree | time | the tree itself, MiB | the writer's addition, MiB |");
        println!("|---|---|---|---|");
        for (kind, what) in [
            ("entries", "2 million files in 2,000 directories"),
            ("wide", "20 directories of 100,000 files"),
            ("names", "200,000 names of 255 bytes"),
            ("sparse", "a sparse file of 10 GiB"),
        ] {
            eprintln!("{what}");
            let image = self.account.home().join("image.raw");
            let before = std::time::Instant::now();
            let said = Program::new(&self.squash)
                .args(["zstd", "6", &format!("made:{kind}")])
                .arg(&image)
                .run()?
                .stdout;
            let time = before.elapsed().as_secs_f64();
            fs::remove_file(&image)?;
            let numbers: Vec<u64> = said.split_whitespace().filter_map(|n| n.parse().ok()).collect();
            let [tree, writer] = numbers[..] else { anyhow::bail!("squash said {said:?}") };
            println!("| {what} | {time:.1} s | {:.0} | {:.0} |", mib(tree), mib(writer));
        }
        Ok(())
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
