//! A registry with images, a package mirror, and people who use them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::Result;

use crate::{
    Account, Program, Work, apk, http, images, place, place_program,
    registry::{Registry, Settings},
};

/// What the tests of one process share: made by the first that asks, gone with the process.
#[derive(Debug)]
pub struct World {
    work: Work,
    registry: Registry,
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
        let work = Work::new()?;
        let made = work.dir("images")?;

        let packages = work.dir("packages")?;
        let key = apk::repository(&packages, &[images::b3sum(&made)?])?;
        let mirror = format!("http://{}", http::serve(packages)?);

        // Statics aren't dropped: the registry takes the directory with it when this process ends.
        let settings = Settings { remove: true, ..Settings::default() };
        let running = Registry::start(work.path(), &settings)?;
        let registry = running.address;
        let debian = images::debian()?;
        push(&debian, "bookworm", registry, "library/debian:bookworm")?;
        push(&debian, "bookworm", registry, "library/debian:latest")?;
        push(&images::little(&made, &mirror)?, "latest", registry, "library/little:latest")?;
        let alpine = images::alpine(&made, &mirror, &key)?;
        if let Some(layout) = &alpine {
            push(layout, "latest", registry, "library/alpine:latest")?;
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
            place_program(&built, &to)?;
            Ok::<PathBuf, anyhow::Error>(to)
        };
        let flix = copy(place::flix()?, "flix")?;
        let flatwrap = copy(place::flatwrap()?, "flatwrap")?;
        Ok(World { work, registry: running, flix, flatwrap, alpine: alpine.is_some() })
    }

    /// The images in Alpine's manner that are here: our own, and the real one where `../shared` is.
    pub fn alpines(&self) -> &'static [&'static str] {
        if self.alpine { &["little:latest", "alpine:latest"] } else { &["little:latest"] }
    }

    /// Where the registry listens.
    pub fn registry(&self) -> SocketAddr {
        self.registry.address
    }

    /// Pushes an image of an OCI layout under a name and the same tag.
    ///
    /// # Errors
    /// skopeo's.
    pub fn push(&self, layout: &Path, tag: &str, name: &str) -> Result<()> {
        push(layout, tag, self.registry.address, &format!("{name}:{tag}"))
    }

    /// A registries.conf(5) that makes the registry docker.io's mirror.
    pub fn registries_conf(&self) -> PathBuf {
        self.work.path().join("registries.conf")
    }

    /// The program, where every user can run it.
    pub fn flix_program(&self) -> &Path {
        &self.flix
    }

    /// The other program, likewise.
    pub fn flatwrap_program(&self) -> &Path {
        &self.flatwrap
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

/// Pushes an image of an OCI layout to a registry.
///
/// # Errors
/// skopeo's.
pub fn push(layout: &Path, tag: &str, registry: SocketAddr, to: &str) -> Result<()> {
    Program::new("skopeo")
        .args(["--insecure-policy", "copy", "--quiet", "--all", "--dest-tls-verify=false"])
        .arg(format!("oci:{}:{tag}", layout.display()))
        .arg(format!("docker://{registry}/{to}"))
        .run()
        .map(drop)
}
