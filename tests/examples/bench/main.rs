//! `cargo xtask bench`: flix and flatwrap beside their peers, in one run, as a Markdown page on stdout.
// A program for people at a terminal: printing is what it's for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod floor;
mod partial;
mod wrap;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::layout::{self, Platform};
use e2e::measure::{Sample, once, summary};
use e2e::place::{cached, repository};
use e2e::{Account, Program, Work, World, roots};

const NGINX: [&str; 3] =
    ["/usr/sbin/nginx", "/usr/sbin/start-stop-daemon", "/usr/lib/systemd/system/nginx.service"];
/// Bytes. The limit on memory, whatever the image's size.
const MEMORY: u64 = 96 << 20;
/// Bytes of the one file of the large image.
const LARGE: u64 = 1 << 30;

struct Row {
    work: &'static str,
    flix: Sample,
    peer: Sample,
    peer_is: &'static str,
    goal: f64,
}

/// The goal for a cold conversion: processor time over that of its floor.
const OVER_FLOOR: f64 = 1.25;

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some(floor::WORD) {
        return floor::run(std::env::args().skip(2));
    }
    let runs: usize = match std::env::args().nth(1) {
        Some(n) => n.parse().context("the argument is the number of runs")?,
        None => 5,
    };
    let only = std::env::args().nth(2);
    let asked = |part: &str| only.as_deref().is_none_or(|o| o == part);
    let bench = Bench::new(runs)?;
    print_head(&bench);
    if asked("flix") {
        let (cold, floor) = bench.cold()?;
        let rows = [cold, bench.warm("perl", &["/usr/bin/perl"])?, bench.warm("nginx", &NGINX)?];
        print(&rows, floor, bench.large()?);
    }
    if asked("partial") || asked("flix") {
        partial::print(&bench)?;
    }
    if asked("flatwrap") {
        wrap::Wrap::new(&bench)?.print();
    }
    Ok(())
}

struct Bench {
    runs: usize,
    work: Work,
    world: &'static World,
    nginx_root: PathBuf,
}

impl Bench {
    fn new(runs: usize) -> Result<Bench> {
        eprintln!("images and registry");
        let world = World::get()?;
        let work = Work::new()?;
        let tar = roots::nginx_tar()?;
        let recipe = fs::read_to_string(tar.with_file_name("recipe"))?;
        let oci = cached("debian-nginx-oci", &recipe, |dir| {
            layout::write(dir, "latest", &[Platform { architecture: "amd64", layers: vec![tar.clone()] }])
        })?;
        world.push(&oci, "latest", "library/debian-nginx")?;
        let nginx_root = work.dir("nginx-root")?;
        Program::new("tar").arg("-C").arg(&nginx_root).arg("-xf").arg(&tar).run()?;
        Ok(Bench { runs, work, world, nginx_root })
    }

    fn flix(&self, by: &Account, image: &str, name: &str, paths: &[&str]) -> Result<Sample> {
        let flix = self.world.flix_program().to_str().context("a path that is not UTF-8")?;
        let argv = [flix, image, name].into_iter().chain(paths.iter().copied());
        once(by, &[("CONTAINERS_REGISTRIES_CONF", &self.world.registries_conf())], argv)
    }

    /// From an empty cache to an image, against the peers' way to a mere directory.
    /// Beside it, what inflating and hashing its layer takes.
    fn cold(&self) -> Result<(Row, Sample)> {
        let (mut ours, mut theirs, mut floor) = (Vec::new(), Vec::new(), Vec::new());
        let layer = floor::Layer::debian()?;
        let registry = self.world.registry();
        for run in 0..self.runs {
            eprintln!("cold, run {}", run + 1);
            let home = self.work.root("cold")?;
            ours.push(self.flix(&home, "debian:bookworm", "perl", &["/usr/bin/perl"])?);
            fs::remove_dir_all(home.home())?;
            let home = self.work.root("peer")?;
            let script = format!(
                "skopeo --insecure-policy copy --quiet --src-tls-verify=false \
                 docker://{registry}/library/debian:bookworm oci:layout:bookworm && \
                 umoci unpack --image layout:bookworm unpacked"
            );
            theirs.push(once(&home, &[], ["sh", "-c", &script])?);
            floor.push(layer.measure(&home)?);
            fs::remove_dir_all(home.home())?;
        }
        let row = row(
            "`flix debian:bookworm perl /usr/bin/perl`, empty cache",
            ours,
            "skopeo copy + umoci unpack",
            theirs,
            3.0,
        )?;
        Ok((row, summary(&floor).context("no runs")?))
    }

    /// With all in the cache, against a shell script with patchelf, cp and mksquashfs on an unpacked root.
    fn warm(&self, name: &'static str, paths: &[&str]) -> Result<Row> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let home = self.work.root("warm")?;
        self.flix(&home, "debian-nginx", name, paths)?;
        let steps = repository().join("tests/programs/flix-steps.sh");
        for run in 0..self.runs {
            eprintln!("warm {name}, run {}", run + 1);
            ours.push(self.flix(&home, "debian-nginx", name, paths)?);
            let out = home.home().join("peer.raw");
            let argv = [steps.as_path(), &self.nginx_root, Path::new(name), &out];
            theirs.push(once(&home, &[], argv.into_iter().chain(paths.iter().map(Path::new)))?);
            fs::remove_file(&out)?;
        }
        let work = match name {
            "nginx" => "`flix debian-nginx nginx …` (3 paths), warm cache",
            _ => "`flix debian-nginx perl /usr/bin/perl`, warm cache",
        };
        row(work, ours, "cp, patchelf, mksquashfs", theirs, 8.0)
    }

    /// Peak memory with an image whose one layer is 1 GiB, cold.
    fn large(&self) -> Result<Sample> {
        eprintln!("a large image");
        let oci = cached("large-oci", &format!("{LARGE} 1"), |dir| {
            let root = dir.join("root");
            fs::create_dir_all(root.join("usr/bin"))?;
            fs::copy("/bin/busybox", root.join("usr/bin/busybox"))?;
            noise(&root.join("large"))?;
            let tar = dir.join("large.tar");
            Program::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".").run()?;
            layout::write(dir, "latest", &[Platform { architecture: "amd64", layers: vec![tar.clone()] }])?;
            fs::remove_file(tar)?;
            Ok(fs::remove_dir_all(root)?)
        })?;
        self.world.push(&oci, "latest", "library/large")?;
        let home = self.work.root("large")?;
        self.flix(&home, "large", "busybox", &["/usr/bin/busybox"])
    }
}

/// Data that compresses by about a half, always the same.
fn noise(path: &Path) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::BufWriter::new(fs::File::create(path)?);
    let mut state = 1_u64;
    for _ in 0..LARGE / 8 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.write_all(&(state >> 32).to_le_bytes())?;
    }
    Ok(out.flush()?)
}

fn row(
    work: &'static str,
    ours: Vec<Sample>,
    peer_is: &'static str,
    theirs: Vec<Sample>,
    goal: f64,
) -> Result<Row> {
    let flix = summary(&ours).context("no runs")?;
    let peer = summary(&theirs).context("no runs")?;
    Ok(Row { work, flix, peer, peer_is, goal })
}

fn print_head(bench: &Bench) {
    println!("# Benchmarks\n");
    println!(
        "Made by `cargo xtask bench > docs/benchmarks.md`: release build, a registry on the loopback interface,"
    );
    println!(
        "median of {} runs that take turns with the peer's; memory is the largest of them.\n",
        bench.runs
    );
    println!("Machine: {}.", machine());
}

fn print(rows: &[Row], floor: Sample, large: Sample) {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let met = |met: bool| if met { "yes" } else { "**no**" };
    println!("\n## flix\n");
    println!("| work | flix | peer | peer's time | times as fast | goal | met |");
    println!("|---|---|---|---|---|---|---|");
    for r in rows {
        let ratio = r.peer.time.as_secs_f64() / r.flix.time.as_secs_f64();
        println!(
            "| {} | {:.3} s | {} | {:.3} s | {ratio:.1} | {} | {} |",
            r.work,
            r.flix.time.as_secs_f64(),
            r.peer_is,
            r.peer.time.as_secs_f64(),
            r.goal,
            met(ratio >= r.goal)
        );
    }
    if let Some(cold) = rows.first() {
        let (ours, least) = (cold.flix.processor.as_secs_f64(), floor.processor.as_secs_f64());
        let ratio = ours / least;
        println!("\n| processor time, user and system | flix | its floor | ratio | goal | met |");
        println!("|---|---|---|---|---|---|");
        println!(
            "| {} | {ours:.2} s | {least:.2} s | {ratio:.2} | ≤ {OVER_FLOOR} | {} |",
            cold.work,
            met(ratio <= OVER_FLOOR)
        );
        println!(
            "\nThe floor inflates the image's layer and hashes both forms of it, on one thread, with the same libraries."
        );
    }
    println!("\n| peak memory of flix | MiB | peer's MiB | goal | met |");
    println!("|---|---|---|---|---|");
    for r in rows {
        let ok = met(r.flix.memory < MEMORY);
        println!("| {} | {:.1} | {:.1} | < 96 | {ok} |", r.work, mib(r.flix.memory), mib(r.peer.memory));
    }
    let (ok, time) = (met(large.memory < MEMORY), large.time.as_secs_f64());
    println!(
        "| an image with a layer of 1 GiB, empty cache ({time:.1} s) | {:.1} | | < 96 | {ok} |",
        mib(large.memory)
    );
    println!(
        "\nThe peer of the warm rows is `tests/programs/flix-steps.sh` on a root that is unpacked already."
    );
}

/// Processor, cores and kernel.
fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    format!("{cores} cores, {}, Linux {kernel}", model.trim_start_matches([' ', '\t', ':']))
}
