//! `cargo xtask package`: what people install: a Debian package, an archive for any Linux, and the tools as an extension.
//!
//! The archive and the extension are made by flix itself: the programs with the libraries that they need, relocated, so that they
//! run whatever C library a machine has.

mod deb;
mod stage;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::command::{self, cargo};
use stage::Stage;

/// Where to write.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write the packages to this directory
    #[arg(long, value_name = "DIR", default_value = "target/package")]
    to: PathBuf,
    /// Maintainer of the Debian package [default: the author of the last commit]
    #[arg(long, value_name = "NAME <ADDRESS>")]
    maintainer: Option<String>,
}

/// The programs, and the variables that name ones that are built already.
const PROGRAMS: [(&str, &str); 3] =
    [("flix", "FLIX_BIN"), ("flatwrap", "FLATWRAP_BIN"), ("bakery", "BAKERY_BIN")];

/// What all packages have in common.
#[derive(Debug)]
struct Release {
    version: &'static str,
    /// Seconds since 1970 of all files: `SOURCE_DATE_EPOCH`, or the last commit.
    epoch: u64,
    maintainer: String,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let release = Release::new(args.maintainer.as_deref())?;
    let work = tempfile::Builder::new().prefix("flix-package-").tempdir()?;
    let stage = Stage::new(&work.path().join("stage"), &programs()?)?;
    let to = std::path::absolute(crate::root().join(&args.to))?;
    std::fs::create_dir_all(&to).with_context(|| format!("{to:?}"))?;

    let arch = std::env::consts::ARCH;
    let mut made = vec![deb::write_package(&stage, &release, work.path(), &to)?];
    let archive = to.join(format!("flix-{}-linux-{arch}.tar", release.version));
    relocate(&stage, &release, "flix", &archive, "tar")?;
    command::run(Command::new("gzip").args(["-9", "--no-name", "--force"]).arg(&archive))?;
    made.push(archive.with_extension("tar.gz"));
    let extension = to.join("bakery.raw");
    relocate(&stage, &release, "bakery", &extension, "squashfs")?;
    made.push(extension);

    let names = made.iter().filter_map(|path| path.file_name());
    let sums = command::output(Command::new("sha256sum").current_dir(&to).args(names))?;
    let path = to.join("SHA256SUMS");
    std::fs::write(&path, &sums).with_context(|| format!("{path:?}"))?;
    print!("{sums}");
    println!("in {}", to.display());
    Ok(ExitCode::SUCCESS)
}

/// Where the programs are: those that are named, or else a release build.
fn programs() -> Result<Vec<(&'static str, PathBuf)>> {
    let named = PROGRAMS.map(|(name, variable)| Some((name, PathBuf::from(std::env::var_os(variable)?))));
    if let Some(named) = named.into_iter().collect::<Option<Vec<_>>>() {
        return Ok(named);
    }
    command::run(&mut cargo([
        "build",
        "--release",
        "--locked",
        "--package",
        "cli",
        "--package",
        "bakery",
        "--bins",
    ]))?;
    let built = crate::target().join("release");
    Ok(PROGRAMS.iter().map(|(name, _)| (*name, built.join(name))).collect())
}

impl Release {
    fn new(maintainer: Option<&str>) -> Result<Release> {
        let commit = |format: &str| {
            let mut git = Command::new("git");
            command::output(git.current_dir(crate::root()).args(["log", "-1", &format!("--format={format}")]))
                .map(|text| text.trim().to_owned())
        };
        let epoch = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(epoch) => epoch,
            Err(_) => commit("%ct").context("SOURCE_DATE_EPOCH isn't set, and there is no commit")?,
        };
        let epoch = epoch.parse().with_context(|| format!("SOURCE_DATE_EPOCH: {epoch:?}: not a number"))?;
        let maintainer = match maintainer {
            Some(maintainer) => maintainer.to_owned(),
            None => commit("%an <%ae>").context("pass --maintainer")?,
        };
        if !maintainer.ends_with('>') || !maintainer.contains(" <") || maintainer.contains(['\n', '\r']) {
            bail!("--maintainer: got {maintainer:?}, expected NAME <ADDRESS>");
        }
        Ok(Release { version: env!("CARGO_PKG_VERSION"), epoch, maintainer })
    }
}

/// All of the stage and the libraries of this machine that it needs, by flix.
fn relocate(stage: &Stage, release: &Release, name: &str, to: &Path, format: &str) -> Result<()> {
    let mut flix = Command::new(stage.root().join("usr/bin/flix"));
    flix.args(["dir:/", name]);
    for path in stage.files() {
        let from = stage.root().join(path);
        let from = from.to_str().with_context(|| format!("{from:?}: not UTF-8"))?;
        flix.arg(format!("{from}:/{path}"));
    }
    flix.args(["--no-install", "--quiet", "--format", format, "-o"]).arg(to);
    // Only its own words decide what it writes.
    for variable in ["ARCH", "CMD", "EXTRALIBS", "FORMAT", "OS", "REGISTRY", "RELOAD"] {
        flix.env_remove(variable);
    }
    command::run(flix.env("SOURCE_DATE_EPOCH", release.epoch.to_string()))
}
