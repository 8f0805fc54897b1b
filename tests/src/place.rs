//! Where things are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use rustix::fs::FlockOperation;

/// The repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Cargo's build directory.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => repository().join(dir),
        None => repository().join("target"),
    }
}

/// A file of the `shared` folder beside the repository (`FLIX_SHARED` names another), if it is there. What it holds
/// is a bonus: no behaviour is tested with it alone.
pub fn shared(file: &str) -> Option<PathBuf> {
    let dir = match std::env::var_os("FLIX_SHARED") {
        Some(dir) => PathBuf::from(dir),
        None => repository().join("../shared"),
    };
    let path = dir.join(file);
    path.exists().then_some(path)
}

/// The `flix` program: `FLIX_BIN`, else cargo's own after a build.
pub fn flix() -> Result<PathBuf> {
    static BUILT: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    built(&BUILT, "cli", "flix", "FLIX_BIN")
}

/// The `flatwrap` program: `FLATWRAP_BIN`, else cargo's own after a build.
pub fn flatwrap() -> Result<PathBuf> {
    static BUILT: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    built(&BUILT, "cli", "flatwrap", "FLATWRAP_BIN")
}

/// The `bakery` program: `BAKERY_BIN`, else cargo's own after a build.
pub fn bakery() -> Result<PathBuf> {
    static BUILT: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    built(&BUILT, "bakery", "bakery", "BAKERY_BIN")
}

/// The repository's own tasks: `XTASK_BIN`, else cargo's own after a build.
pub fn xtask() -> Result<PathBuf> {
    static BUILT: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    built(&BUILT, "xtask", "xtask", "XTASK_BIN")
}

fn built(
    once: &OnceLock<std::result::Result<PathBuf, String>>,
    package: &str,
    name: &str,
    variable: &str,
) -> Result<PathBuf> {
    once.get_or_init(|| build(package, name, variable).map_err(|e| format!("{e:#}")))
        .clone()
        .map_err(anyhow::Error::msg)
}

fn build(package: &str, name: &str, variable: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    let status = build.current_dir(repository()).args(["build", "--quiet", "-p", package]).status()?;
    if !status.success() {
        bail!("cargo build -p {package}: {status}");
    }
    Ok(target().join("debug").join(name))
}

/// Something that takes long to make and is kept below `target/e2e`: `make` fills the directory that it is given.
///
/// `recipe` is everything that decides the result; another recipe makes another directory, and the old one goes.
/// Tests in other threads and processes wait.
pub fn cached(name: &str, recipe: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let base = target().join("e2e");
    std::fs::create_dir_all(&base).with_context(|| format!("{base:?}"))?;
    let lock = base.join(format!("{name}.lock"));
    let lock = std::fs::File::create(&lock).with_context(|| format!("{lock:?}"))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;

    let dir = base.join(name);
    let said = dir.join("recipe");
    if std::fs::read_to_string(&said).is_ok_and(|old| old == recipe) {
        return Ok(dir);
    }
    let fresh = base.join(format!("{name}.new"));
    for old in [&fresh, &dir] {
        if old.exists() {
            std::fs::remove_dir_all(old).with_context(|| format!("{old:?}"))?;
        }
    }
    std::fs::create_dir(&fresh).with_context(|| format!("{fresh:?}"))?;
    make(&fresh).with_context(|| format!("making {name}"))?;
    std::fs::write(fresh.join("recipe"), recipe)?;
    std::fs::rename(&fresh, &dir).with_context(|| format!("{dir:?}"))?;
    Ok(dir)
}
