//! What of an image is fetched with `--partial`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::fault_proxy::{Fault, FaultProxy};
use e2e::place::cached;
use e2e::{Program, images};
use serde_json::Value;

use crate::Bench;

/// Of the layer's bytes.
const GOAL: f64 = 0.15;
const ROWS: [(&str, &str); 2] = [("perl", "/usr/bin/perl"), ("perl", "package:perl")];

/// Both ways have to give the same image.
pub(crate) fn print(bench: &Bench) -> Result<()> {
    let layout = images::debian()?;
    let chunked = cached("debian-bookworm-chunked", "skopeo 1", |dir| {
        let plain = dir.join("plain");
        let copy = |option: &str, from: String, to: String| {
            let common = ["--insecure-policy", "copy", "--quiet"];
            Program::new("skopeo").args(common).arg(option).arg(from).arg(to).run()
        };
        // It doesn't compress anew what is compressed.
        let from = format!("oci:{}:bookworm", layout.display());
        copy("--dest-decompress", from, format!("dir:{}", plain.display()))?;
        let to = format!("oci:{}:latest", dir.display());
        copy("--dest-compress-format=zstd:chunked", format!("dir:{}", plain.display()), to)?;
        Ok(fs::remove_dir_all(plain)?)
    })?;
    bench.world.push(&chunked, "latest", "library/chunked")?;
    let (digest, size) = layer(&chunked)?;
    println!(
        "\n| fetched of Debian as zstd:chunked, empty cache | requests | bytes | of the layer | goal | met |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, path) in ROWS {
        eprintln!("partial {path}");
        let proxy = FaultProxy::start(bench.world.registry(), |_| Fault::Pass)?;
        let home = bench.work.root("partial")?;
        let (host, image) = (proxy.address.to_string(), format!("{}/library/chunked", proxy.address));
        let flix = |options: &[&str]| {
            bench.world.flix(&home).args(options).args(["--insecure", &host, &image, name, path]).run()
        };
        flix(&["--partial"])?;
        let (requests, bytes) = (proxy.count(&digest), proxy.asked(&digest, size));
        let made = home.home().join(format!("{name}.raw"));
        let part = fs::read(&made)?;
        fs::remove_dir_all(home.home().join(".cache"))?;
        flix(&[])?;
        ensure!(part == fs::read(&made)?, "{path}: a part gives another image than the whole layer");
        fs::remove_dir_all(home.home())?;
        let ratio = bytes as f64 / size as f64;
        let met = if ratio <= GOAL { "yes" } else { "**no**" };
        println!(
            "| `flix --partial chunked {name} {path}` | {requests} | {bytes} | {:.1} % | ≤ {:.0} % | {met} |",
            ratio * 100.0,
            GOAL * 100.0
        );
    }
    Ok(())
}

/// Digest and size of the only layer.
fn layer(layout: &Path) -> Result<(String, u64)> {
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json"))?)?;
    let digest = index["manifests"][0]["digest"].as_str().context("an index without manifests")?;
    let manifest = layout.join("blobs").join(digest.replace(':', "/"));
    let manifest: Value = serde_json::from_slice(&fs::read(manifest)?)?;
    let layer = &manifest["layers"][0];
    let digest = layer["digest"].as_str().context("a manifest without layers")?;
    Ok((digest.to_owned(), layer["size"].as_u64().context("a layer without a size")?))
}
