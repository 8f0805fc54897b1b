//! The mirror has what recipes ask for, and hosts are none the wiser.

use anyhow::Result;
use e2e::upstream::site::{sha256, sums};
use e2e::{Program, Upstream, Work};

#[test]
fn files_of_upstream_are_at_their_urls() -> Result<()> {
    let upstream = Upstream::get()?;
    let url = "https://github.com/slackhq/nebula/releases/download/v1.6.1/nebula-linux-amd64.tar.gz";
    let archive = upstream.read(url)?;
    let list = upstream.read("https://github.com/slackhq/nebula/releases/download/v1.6.1/SHASUM256.txt")?;
    let line = sums([("nebula-linux-amd64.tar.gz", archive.as_slice())]);
    assert!(list.starts_with(&line), "{}", String::from_utf8_lossy(&list));
    let api = upstream.read("https://api.github.com/repos/slackhq/nebula/releases/")?;
    assert!(String::from_utf8(api)?.contains(&sha256(&archive)));

    // Debian's program, and one of ours for the other machine.
    let work = Work::new()?;
    std::fs::write(work.path().join("real.tar.gz"), archive)?;
    let wasmtime = "https://github.com/bytecodealliance/wasmtime/releases/download/v30.0.2/wasmtime-v30.0.2-aarch64-linux.tar.xz";
    std::fs::write(work.path().join("ours.tar.xz"), upstream.read(wasmtime)?)?;
    let script = "tar -xf real.tar.gz && ./nebula -version
tar -xf ours.tar.xz && qemu-aarch64-static -L /usr/aarch64-linux-gnu wasmtime-v30.0.2-aarch64-linux/wasmtime";
    let out = Program::new("sh").args(["-euc", script]).dir(work.path()).run()?;
    assert!(out.stdout.contains("1.6.1") && out.stdout.contains("wasmtime 30.0.2"), "{}", out.stdout);
    Ok(())
}
