//! A program of Rust's with a crate of the registry, compiled without a network.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use e2e::{Program, Upstream};

use crate::compiled::TILDE;
use crate::forge::Forge;

const ARCHIVE: &str = "https://github.com/example/hello/archive/refs/tags/v1.0.0.tar.gz";
const RECIPE: &str = r#"
summary = "hello"
[versions]
source = { github-releases = "example/hello" }
[[download]]
id = "hello"
url = "https://github.com/example/hello/archive/refs/tags/{version}.tar.gz"
checksum = "lock-only"
strip = 1
[build]
image = "docker.io/library/debian:trixie"
sources = ["hello"]
crates-of = "hello"
script = "mkdir -p $DESTDIR/usr/share && cp -r /src $DESTDIR/usr/share/hello"
[[install]]
from = "build:**"
to = "/"
"#;

/// A crate that this test program itself was compiled with, as the registry has it.
fn a_crate() -> Result<(String, PathBuf)> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).context("no home directory")?;
    let lock = fs::read_to_string(e2e::place::repository().join("Cargo.lock"))?;
    let (_, rest) = lock.split_once("name = \"cfg-if\"\nversion = \"").context("Cargo.lock has no cfg-if")?;
    let version = rest.split('"').next().unwrap_or_default().to_owned();
    for cache in fs::read_dir(home.join("registry/cache"))? {
        let file = cache?.path().join(format!("cfg-if-{version}.crate"));
        if file.exists() {
            return Ok((version, file));
        }
    }
    anyhow::bail!("cargo's cache has no cfg-if {version}, which these tests are compiled with")
}

/// A source as upstream's archives are laid out, with the Cargo.lock that cargo makes.
fn source(dir: &Path, version: &str) -> Result<Vec<u8>> {
    let top = dir.join("hello-1.0.0");
    fs::create_dir_all(top.join("src"))?;
    let manifest = format!(
        "[package]\nname = \"hello\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[dependencies]\ncfg-if = \"={version}\"\n"
    );
    fs::write(top.join("Cargo.toml"), manifest)?;
    let main = "cfg_if::cfg_if! { if #[cfg(unix)] { fn main() { println!(\"hello, unix\") } } else { fn main() {} } }\n";
    fs::write(top.join("src/main.rs"), main)?;
    Program::new("cargo").args(["generate-lockfile", "--offline"]).dir(&top).run()?;
    Program::new("tar").args(["-czf", "hello.tar.gz", "hello-1.0.0"]).dir(dir).run()?;
    Ok(fs::read(dir.join("hello.tar.gz"))?)
}

fn serve(forge: &Forge, upstream: &Upstream, bytes: &[u8], version: &str) -> Result<()> {
    upstream.replace(&format!("https://crates.io/api/v1/crates/cfg-if/{version}/download"), bytes)?;
    let own = upstream.config().replace(
        "[mirrors]\n",
        &format!("[mirrors]\n\"https://crates.io/\" = \"http://{}/crates.io/\"\n", upstream.address()),
    );
    Ok(fs::write(forge.work.path().join("config.toml"), own)?)
}

#[test]
fn cargo_builds_with_what_cargo_lock_pins() -> Result<()> {
    let forge = Forge::new(&TILDE)?;
    let (version, file) = a_crate()?;
    let good = fs::read(&file)?;
    forge.upstream.replace(ARCHIVE, source(&forge.work.dir("source")?, &version)?)?;
    let home = forge.work.path().join("user");
    let recipe = home.join("mine/hello");
    fs::create_dir_all(&recipe)?;
    fs::write(recipe.join("recipe.toml"), RECIPE)?;

    let mut bad = good.clone();
    bad.push(0);
    serve(&forge, &forge.upstream, &bad, &version)?;
    forge.bakery(&["lock", "hello", "v1.0.0", "--arch", "x86-64", "--recipes", "mine"])?.run()?;
    let build = ["build", "hello", "--recipes", "mine", "--format", "dir", "-o", "out/"];
    let error = forge.bakery(&build)?.outcome()?.failure()?.stderr;
    ensure!(error.contains("source hello: ") && error.contains("/cfg-if/"), "{error}");
    ensure!(
        fs::read_dir(home.join("out")).is_ok_and(|mut dir| dir.next().is_none()),
        "something was written"
    );

    serve(&forge, &forge.upstream, &good, &version)?;
    forge.bakery(&build)?.run()?;
    let built = home.join("out").join("hello-v1.0.0-x86-64/usr/share/hello");
    // cargo finds all that it needs there: its own directory is empty, and it has no network.
    let work = forge.work.dir("cargo")?;
    let cargo = Program::new("cargo").args(["run", "--quiet", "--frozen"]).dir(built.join("hello"));
    let cargo = cargo.env("CARGO_HOME", work.join("home")).env("CARGO_TARGET_DIR", work.join("target"));
    assert_eq!(cargo.run()?.stdout, "hello, unix\n");
    Ok(())
}
