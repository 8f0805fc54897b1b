//! A registry with images, a package mirror, and people who use them.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{Account, Program, Work, apk, http, images, place};

/// What the tests of one process share: made by the first that asks, gone with the process.
#[derive(Debug)]
pub struct World {
    work: Work,
    registry: SocketAddr,
    flix: PathBuf,
    flatwrap: PathBuf,
    alpine: bool,
}

impl World {
    /// The world of this process.
    ///
    /// # Errors
    /// A part of it can't be made.
    pub fn get() -> Result<&'static World> {
        static WORLD: OnceLock<World> = OnceLock::new();
        static MAKING: Mutex<()> = Mutex::new(());
        let _one = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(world) = WORLD.get() {
            return Ok(world);
        }
        let world = World::new()?;
        Ok(WORLD.get_or_init(|| world))
    }

    fn new() -> Result<World> {
        sweep()?;
        let work = Work::new()?;
        fs::write(work.path().join("owner"), std::process::id().to_string())?;
        let made = work.dir("images")?;

        let packages = work.dir("packages")?;
        let key = apk::repository(&packages, &[images::b3sum(&made)?])?;
        let mirror = format!("http://{}", http::serve(packages)?);

        let registry = start_registry(&work)?;
        push(&images::debian()?, "bookworm", registry, "library/debian")?;
        push(&images::little(&made, &mirror)?, "latest", registry, "library/little")?;
        let alpine = images::alpine(&made, &mirror, &key)?;
        if let Some(layout) = &alpine {
            push(layout, "latest", registry, "library/alpine")?;
        }
        fs::remove_dir_all(&made)?;
        fs::write(
            work.path().join("registries.conf"),
            format!(
                "[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n\
                 [[registry.mirror]]\nlocation = \"{registry}\"\ninsecure = true\n"
            ),
        )?;
        // A copy, since the build directory may be where other users can't reach.
        let bin = work.dir("bin")?;
        let copy = |built: PathBuf, name: &str| {
            let to = bin.join(name);
            fs::copy(&built, &to).with_context(|| format!("{built:?}"))?;
            Ok::<PathBuf, anyhow::Error>(to)
        };
        let flix = copy(place::flix()?, "flix")?;
        let flatwrap = copy(place::flatwrap()?, "flatwrap")?;
        Ok(World { work, registry, flix, flatwrap, alpine: alpine.is_some() })
    }

    /// The images in Alpine's manner that are here: our own, and the real one where `../shared` is.
    pub fn alpines(&self) -> &'static [&'static str] {
        if self.alpine { &["little:latest", "alpine:latest"] } else { &["little:latest"] }
    }

    /// Where the registry listens.
    pub fn registry(&self) -> SocketAddr {
        self.registry
    }

    /// Pushes an image of an OCI layout under a name and the same tag.
    ///
    /// # Errors
    /// skopeo's.
    pub fn push(&self, layout: &Path, tag: &str, name: &str) -> Result<()> {
        push(layout, tag, self.registry, name)
    }

    /// A registries.conf(5) that makes the registry docker.io's mirror.
    pub fn registries_conf(&self) -> PathBuf {
        self.work.path().join("registries.conf")
    }

    /// The program, where every user can run it.
    pub fn flix_program(&self) -> &Path {
        &self.flix
    }

    /// `flatwrap`, run by somebody, with the registry as docker.io's mirror.
    pub fn flatwrap(&self, by: &Account) -> Program {
        by.program(&self.flatwrap).env("CONTAINERS_REGISTRIES_CONF", self.registries_conf())
    }

    /// `flix`, run by somebody, with the registry as docker.io's mirror.
    pub fn flix(&self, by: &Account) -> Program {
        by.program(&self.flix).env("CONTAINERS_REGISTRIES_CONF", self.registries_conf())
    }
}

/// Removes what a run left whose watching shell was killed too.
fn sweep() -> Result<()> {
    let base = PathBuf::from(std::env::var_os("TMPDIR").unwrap_or_else(|| "/var/tmp".into()));
    for entry in fs::read_dir(&base)?.flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with("flix-e2e-");
        let Ok(owner) = fs::read_to_string(path.join("owner")) else { continue };
        if ours && !Path::new("/proc").join(owner).exists() {
            fs::remove_dir_all(&path).with_context(|| format!("{path:?}"))?;
        }
    }
    Ok(())
}

/// Debian's docker-registry on a free port, for as long as this process lives.
fn start_registry(work: &Work) -> Result<SocketAddr> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let storage = work.dir("registry")?;
    let config = work.path().join("registry.yml");
    let text = format!(
        "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nhttp:\n  addr: {address}\n\
         storage:\n  filesystem:\n    rootdirectory: {}\n",
        storage.display()
    );
    fs::write(&config, text)?;
    // The shell reads from a pipe whose other end is ours: when this process goes, however, so does the registry, and
    // then the directory that a static never drops.
    let script = r#"docker-registry serve "$1" >"$1.log" 2>&1 & read -r _; kill $!; wait; rm -r "$2""#;
    let mut shell = Program::new("sh").args(["-c", script, "registry"]).arg(&config).arg(work.path());
    shell.command().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    std::mem::forget(shell.start()?);
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        if Instant::now() > deadline {
            let log = fs::read_to_string(config.with_extension("yml.log")).unwrap_or_default();
            bail!("docker-registry doesn't listen on {address} (package docker-registry)\n{log}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(address)
}

fn push(layout: &Path, tag: &str, registry: SocketAddr, name: &str) -> Result<()> {
    Program::new("skopeo")
        .args(["--insecure-policy", "copy", "--quiet", "--all", "--dest-tls-verify=false"])
        .arg(format!("oci:{}:{tag}", layout.display()))
        .arg(format!("docker://{registry}/{name}:{tag}"))
        .run()
        .map(drop)
}
