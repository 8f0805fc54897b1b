//! Small input that could unfold to much: what it costs.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use e2e::registry::digest;
use e2e::{Account, Program, Work, place};
use serde_json::{Value, json};

/// Bytes and seconds that are fine for an input that is accepted.
const MEMORY: u64 = 256 << 20;
const SECONDS: f64 = 10.0;

/// One bomb: how its layer's tar is made, and by what it is packed.
struct Bomb {
    name: &'static str,
    layer: Layer,
}

enum Layer {
    /// By a command of the shell that prints the tar, and one that packs it.
    Shell(&'static str, &'static str),
    /// Of bytes, packed by zstd.
    Tar(fn() -> Vec<u8>),
    /// None, but an index, a manifest or a config that is changed.
    Index(fn(&mut Value)),
    Manifest(fn(&mut Value)),
    Config(fn(&mut Value)),
    /// A document of these bytes instead of the index.
    Document(fn() -> Vec<u8>),
    /// A squashfs image, for `bakery inspect`.
    Squashfs(&'static str),
}

/// A tar of a file of as many bytes: 1 stands for the first kind of byte.
const ZEROS_4G: &str = "truncate -s 4G x && tar -cf - x";
const LETTERS_1G: &str = "head -c 1G /dev/zero | tr '\\0' a > x && tar -cf - x";

const ALL: &[Bomb] = &[
    Bomb { name: "4 GiB of zeros in gzip", layer: Layer::Shell(ZEROS_4G, "gzip -1") },
    Bomb { name: "4 GiB of zeros in zstd", layer: Layer::Shell(ZEROS_4G, "zstd -1") },
    Bomb { name: "1 GiB of letters in gzip", layer: Layer::Shell(LETTERS_1G, "gzip -9") },
    Bomb { name: "1 GiB of letters in zstd", layer: Layer::Shell(LETTERS_1G, "zstd -1") },
    Bomb { name: "1 GiB of letters in bzip2", layer: Layer::Shell(LETTERS_1G, "bzip2") },
    Bomb { name: "1 GiB of letters in xz", layer: Layer::Shell(LETTERS_1G, "xz -0") },
    Bomb {
        name: "zstd with a window of 2 GiB",
        layer: Layer::Shell("head -c 300M /dev/zero | tr '\\0' a", "zstd -1 --long=31"),
    },
    Bomb { name: "six sparse files of 60 GiB", layer: Layer::Tar(sparse) },
    Bomb { name: "a sparse file in 100,000 pieces", layer: Layer::Tar(pieces) },
    Bomb { name: "500,000 empty files", layer: Layer::Tar(files) },
    Bomb { name: "500,000 hard links of one file", layer: Layer::Tar(hard_links) },
    Bomb { name: "500,000 whiteouts", layer: Layer::Tar(whiteouts) },
    Bomb { name: "attributes of 600 MiB", layer: Layer::Tar(attributes) },
    Bomb { name: "names of 600 MiB", layer: Layer::Tar(names) },
    Bomb { name: "700,000 directories that no entry makes", layer: Layer::Tar(implied) },
    Bomb { name: "1,000 pairs of long symlinks and files behind them", layer: Layer::Tar(pairs) },
    Bomb { name: "a long name of 2 GiB", layer: Layer::Tar(long_name) },
    Bomb { name: "a config of 3 MiB of variables", layer: Layer::Config(variables) },
    Bomb { name: "a manifest of 5,000 layers", layer: Layer::Manifest(layers) },
    Bomb { name: "an index of 20,000 images", layer: Layer::Index(images) },
    Bomb { name: "JSON that is nested a million times", layer: Layer::Document(nested) },
    Bomb { name: "squashfs: 2 GiB of zeros", layer: Layer::Squashfs("truncate -s 2G root/x") },
    Bomb {
        name: "squashfs: 100,000 files",
        layer: Layer::Squashfs("seq 1 100000 | (cd root && xargs touch)"),
    },
];

/// A header of a tar, and its data.
fn entry(out: &mut Vec<u8>, name: &str, flag: u8, link: &str, data: &[u8]) {
    sized(out, name, flag, link, data.len());
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(512), 0);
}

fn sized(out: &mut Vec<u8>, name: &str, flag: u8, link: &str, size: usize) {
    let mut block = [0u8; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\x000000000\x000000000\0");
    put(124, format!("{size:011o}\x0000000000000\0        ").as_bytes());
    put(156, &[flag]);
    put(157, link.as_bytes());
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.extend_from_slice(&block);
}

fn pax(out: &mut Vec<u8>, records: &[(&str, &str)]) {
    let mut text = String::new();
    for (key, value) in records {
        let body = key.len() + value.len() + 3;
        let mut len = body + 1;
        while len.to_string().len() + body != len {
            len += 1;
        }
        let _ = writeln!(text, "{len} {key}={value}");
    }
    entry(out, "pax", b'x', "", text.as_bytes());
}

fn sparse() -> Vec<u8> {
    let mut out = Vec::new();
    for n in 0..6 {
        let size = (60u64 << 30).to_string();
        pax(&mut out, &[("GNU.sparse.size", &size), ("GNU.sparse.numblocks", "0"), ("GNU.sparse.map", "")]);
        entry(&mut out, &format!("f{n}"), b'0', "", b"");
    }
    out
}

fn pieces() -> Vec<u8> {
    let mut map = String::from("100000\n");
    for n in 0..100_000 {
        let _ = write!(map, "{}\n1\n", n * 2);
    }
    let mut data = map.into_bytes();
    data.resize(data.len().next_multiple_of(512), 0);
    data.extend(vec![b'x'; 100_000]);
    let mut out = Vec::new();
    pax(
        &mut out,
        &[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.realsize", "200000"),
            ("GNU.sparse.name", "f"),
        ],
    );
    entry(&mut out, "f", b'0', "", &data);
    out
}

/// Half a million entries of one kind.
fn many(out: &mut Vec<u8>, prefix: &str, flag: u8, link: &str) {
    (0..500_000).for_each(|n| entry(out, &format!("{prefix}{n}"), flag, link, b""));
}

fn files() -> Vec<u8> {
    let mut out = Vec::new();
    many(&mut out, "d/", b'0', "");
    out
}

fn hard_links() -> Vec<u8> {
    let mut out = Vec::new();
    entry(&mut out, "f", b'0', "", b"x");
    many(&mut out, "d/", b'1', "f");
    out
}

fn whiteouts() -> Vec<u8> {
    let mut out = Vec::new();
    many(&mut out, "d/.wh.", b'0', "");
    out
}

fn attributes() -> Vec<u8> {
    let mut out = Vec::new();
    let value = "v".repeat(60_000);
    for n in 0..700 {
        let records: Vec<(String, &str)> =
            (0..15).map(|i| (format!("SCHILY.xattr.user.{n}.{i}"), value.as_str())).collect();
        let records: Vec<(&str, &str)> = records.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        pax(&mut out, &records);
        entry(&mut out, &format!("f{n}"), b'0', "", b"");
    }
    out
}

fn names() -> Vec<u8> {
    let mut out = Vec::new();
    let component = format!("{}/", "n".repeat(200));
    for n in 0..150_000 {
        pax(&mut out, &[("path", &format!("{}{n}", component.repeat(20)))]);
        entry(&mut out, "f", b'0', "", b"");
    }
    out
}

fn implied() -> Vec<u8> {
    let mut out = Vec::new();
    for n in 0..350 {
        pax(&mut out, &[("path", &format!("{n}{}/f", "/a".repeat(2000)))]);
        entry(&mut out, "f", b'0', "", b"");
    }
    out
}

fn pairs() -> Vec<u8> {
    let mut out = Vec::new();
    for n in 0..1000 {
        pax(&mut out, &[("linkpath", &format!("x{n}{}", "/x".repeat(2000)))]);
        entry(&mut out, &format!("l{n}"), b'2', "x", b"");
        entry(&mut out, &format!("l{n}/y"), b'0', "", b"");
    }
    out
}

fn long_name() -> Vec<u8> {
    let mut out = Vec::new();
    sized(&mut out, "L", b'L', "", 2 << 30);
    out.extend(vec![b'n'; 1 << 20]);
    out
}

fn variables(config: &mut Value) {
    config["config"]["Env"] = (0..100_000).map(|n| format!("VARIABLE_{n}={n:020}")).collect();
}

fn layers(manifest: &mut Value) {
    let layer = manifest["layers"][0].clone();
    manifest["layers"] = vec![layer; 5000].into();
}

fn images(index: &mut Value) {
    let one = index["manifests"][0].clone();
    let other = |n: usize| {
        let mut one = one.clone();
        one["digest"] = digest(n.to_string().as_bytes()).into();
        one
    };
    index["manifests"] = (0..20_000).map(other).collect();
}

fn nested() -> Vec<u8> {
    [b"{\"schemaVersion\":2,\"manifests\":".as_slice(), &b"[".repeat(1_000_000)].concat()
}

/// Writes an OCI layout of one layer; what is in `dir` as `layer` is packed, `tar` is its plain form's digest.
fn layout(dir: &Path, layer: &[u8], diff_id: &str, bomb: &Layer) -> Result<()> {
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let blob = |media_type: &str, bytes: &[u8]| -> Result<Value> {
        let digest = digest(bytes);
        fs::write(blobs.join(&digest[7..]), bytes)?;
        let media_type = format!("application/vnd.oci.image.{media_type}");
        Ok(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }))
    };
    let arch = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let mut config = json!({
        "architecture": arch, "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": [diff_id] },
    });
    if let Layer::Config(change) = bomb {
        change(&mut config);
    }
    let config = blob("config.v1+json", config.to_string().as_bytes())?;
    let layer = blob("layer.v1.tar", layer)?;
    let mut manifest = json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
    if let Layer::Manifest(change) = bomb {
        change(&mut manifest);
    }
    let manifest = blob("manifest.v1+json", manifest.to_string().as_bytes())?;
    let mut index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    if let Layer::Index(change) = bomb {
        change(&mut index);
    }
    let index = match bomb {
        Layer::Document(bytes) => bytes(),
        _ => index.to_string().into_bytes(),
    };
    fs::write(dir.join("index.json"), index)?;
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(())
}

/// Makes a bomb, and the command line that meets it.
fn command(by: &Account, dir: &Path, bomb: &Bomb) -> Result<(Vec<PathBuf>, u64)> {
    let shell = |script: &str| Program::new("bash").args(["-euo", "pipefail", "-c", script]).dir(dir).run();
    let mut diff_id = digest(b"");
    match &bomb.layer {
        Layer::Shell(make, pack) => {
            let out = shell(&format!("{{ {make}; }} | tee >({pack} > layer) | sha256sum"))?;
            diff_id = format!("sha256:{}", out.stdout.split_whitespace().next().context("sha256sum")?);
            // The shell doesn't wait for what it substitutes.
            let _ = fs::remove_file(dir.join("x"));
        }
        Layer::Tar(tar) => {
            let mut bytes = tar();
            bytes.extend([0; 1024]);
            fs::File::create(dir.join("tar"))?.write_all(&bytes)?;
            drop(bytes);
            let out = shell("zstd -q -1 tar -o layer; sha256sum tar; rm tar")?;
            diff_id = format!("sha256:{}", out.stdout.split_whitespace().next().context("sha256sum")?);
        }
        Layer::Squashfs(make) => {
            shell(&format!("mkdir -p root/usr; {make}; mksquashfs root bomb.raw -quiet -no-progress"))?;
            let raw = dir.join("bomb.raw");
            let size = raw.metadata()?.len();
            return Ok((vec![place::bakery()?, "inspect".into(), raw], size));
        }
        _ => fs::write(dir.join("layer"), b"")?,
    }
    let layer = fs::read(dir.join("layer"))?;
    let image = dir.join("image");
    layout(&image, &layer, &diff_id, &bomb.layer)?;
    let size = Program::new("du").args(["-sb"]).arg(&image).run()?;
    let size = size.stdout.split_whitespace().next().and_then(|n| n.parse().ok()).context("du")?;
    let image = PathBuf::from(format!("oci:{}", image.display()));
    let cache = by.home().join("cache");
    let flix =
        vec![place::flix()?, "--untrusted".into(), "--dry-run".into(), "--cache-dir".into(), cache, image];
    Ok((flix.into_iter().chain(["bomb".into(), "/f0".into()]).collect(), size))
}

/// Prints a row for each, or for those whose names contain a text.
pub(crate) fn run(only: Option<&str>) -> Result<()> {
    let work = Work::new()?;
    let by = work.root("home")?;
    let mut bad = Vec::new();
    println!("row: | input | bytes | result | peak memory | time |");
    println!("row: |---|---:|---|---:|---:|");
    for (n, bomb) in
        ALL.iter().enumerate().filter(|(_, bomb)| only.is_none_or(|only| bomb.name.contains(only)))
    {
        let dir = work.dir(&format!("bomb{n}"))?;
        let (argv, size) = command(&by, &dir, bomb)?;
        let said = dir.join("time");
        let timed = by.program("/usr/bin/time").args(["-f", "%M", "-o"]).arg(&said);
        let before = Instant::now();
        let done = timed.args(["timeout", "300"]).args(&argv).outcome()?;
        let seconds = before.elapsed().as_secs_f64();
        let text = fs::read_to_string(&said)?;
        let kib: u64 = text.lines().last().and_then(|l| l.trim().parse().ok()).context("/usr/bin/time")?;
        let code = done.status.code();
        ensure!(matches!(code, Some(0 | 1)), "{}: {:?}\n{}", bomb.name, done.status, done.stderr);
        let error = done.stderr.lines().find(|l| l.starts_with("error: ")).unwrap_or_default();
        // The file isn't there, so that what was read as a whole ends with this.
        let accepted = code == Some(0) || error.contains("/f0");
        let result = if accepted { "accepted" } else { "refused" };
        if kib * 1024 > MEMORY || (accepted && seconds > SECONDS) {
            bad.push(bomb.name);
        }
        println!("row: | {} | {size} | {result} | {} MiB | {seconds:.1} s |", bomb.name, kib / 1024);
        if !accepted {
            println!("said: {}: {error}", bomb.name);
        }
        fs::remove_dir_all(&dir)?;
        let _ = fs::remove_dir_all(by.home().join("cache"));
    }
    println!("counted: bombs: {}", ALL.len());
    println!("counted: bombs beyond 256 MiB, or accepted after more than 10 s: {}", bad.len());
    ensure!(bad.is_empty(), "beyond 256 MiB, or accepted after more than 10 s: {}", bad.join(", "));
    Ok(())
}
