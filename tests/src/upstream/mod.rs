//! What upstream's servers have, on the loopback interface: the same tree of URLs, archives of the same layout.
//!
//! Programs are Debian's own where it has them ([`debian`]), else small ones that say what they are ([`programs`]).

pub mod debian;
mod kubernetes;
pub mod programs;
mod projects;
mod runtimes;
mod signed;
pub mod site;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};

use crate::place::{cached, repository};
use crate::{Program, http};
use programs::Programs;
use site::Site;

/// What decides how the tree looks: another one is made when any of these changes.
const RECIPE: &str = concat!(
    include_str!("mod.rs"),
    include_str!("debian.rs"),
    include_str!("kubernetes.rs"),
    include_str!("programs.rs"),
    include_str!("projects.rs"),
    include_str!("runtimes.rs"),
    include_str!("signed.rs"),
    include_str!("site.rs"),
    include_str!("../../programs/stand-in.c"),
);

/// The hosts that recipes name.
const HOSTS: [&str; 15] = [
    "api.github.com",
    "bird.nic.cz",
    "chrony-project.org",
    "dl.k8s.io",
    "download.docker.com",
    "download.falco.org",
    "github.com",
    "gitlab.com",
    "packages.debian.org",
    "pkgs.tailscale.com",
    "raw.githubusercontent.com",
    "releases.hashicorp.com",
    "storage.googleapis.com",
    "www.haproxy.org",
    "www.keepalived.org",
];

/// A server with such a tree.
#[derive(Debug)]
pub struct Upstream {
    dir: PathBuf,
    /// Of what it signs.
    keys: PathBuf,
    address: SocketAddr,
}

impl Upstream {
    /// The one that all tests of this process share. Don't change its files.
    ///
    /// # Errors
    /// A part of it can't be made.
    pub fn get() -> Result<&'static Upstream> {
        static UPSTREAM: OnceLock<Upstream> = OnceLock::new();
        static MAKING: Mutex<()> = Mutex::new(());
        let _one = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(upstream) = UPSTREAM.get() {
            return Ok(upstream);
        }
        let dir = cached("upstream", RECIPE, fill)?;
        let upstream = Upstream::serve(dir.join("site"), dir.join("keys"))?;
        Ok(UPSTREAM.get_or_init(|| upstream))
    }

    fn serve(dir: PathBuf, keys: PathBuf) -> Result<Upstream> {
        Ok(Upstream { address: http::serve(dir.clone())?, dir, keys })
    }

    /// Another server with links to the same files, in a directory of the caller's, to be changed by
    /// [`replace`](Self::replace) and [`remove`](Self::remove).
    ///
    /// # Errors
    /// It can't be made.
    pub fn copy(&self, dir: &Path) -> Result<Upstream> {
        // Another file system takes copies; the build directory may be on one.
        let copy = r#"cp -a --link "$1" "$2" 2>/dev/null || { rm -rf "$2"; cp -a "$1" "$2"; }"#;
        Program::new("sh").args(["-euc", copy, "copy"]).args([&self.dir, dir]).run()?;
        Upstream::serve(dir.to_owned(), self.keys.clone())
    }

    /// Other content for a URL.
    ///
    /// # Errors
    /// It can't be written.
    pub fn replace(&self, url: &str, content: impl AsRef<[u8]>) -> Result<()> {
        // Not written in place: the original may be a link to the same file. There may be none.
        let site = Site::new(&self.dir);
        let _ = fs::remove_file(site.path(url)?);
        site.put(url, content)
    }

    /// Nothing for a URL.
    ///
    /// # Errors
    /// There was nothing.
    pub fn remove(&self, url: &str) -> Result<()> {
        let path = Site::new(&self.dir).path(url)?;
        fs::remove_file(&path).with_context(|| format!("{path:?}"))
    }

    /// What a URL has.
    ///
    /// # Errors
    /// Nothing.
    pub fn read(&self, url: &str) -> Result<Vec<u8>> {
        let path = Site::new(&self.dir).path(url)?;
        fs::read(&path).with_context(|| format!("{path:?}"))
    }

    /// Copies recipes that verify signatures into a directory, with keys that this server's files are signed by: for
    /// `--recipes`.
    ///
    /// # Errors
    /// They can't be written.
    pub fn trust(&self, dir: &Path) -> Result<()> {
        signed::trust(&self.keys, &repository().join("recipes/catalogue"), dir)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `bakery`'s configuration: everything is asked for here.
    pub fn config(&self) -> String {
        self.config_at(self.address)
    }

    /// The same, by way of a proxy.
    pub fn config_at(&self, address: SocketAddr) -> String {
        let mirror = |host: &&str| format!("\"https://{host}/\" = \"http://{address}/{host}/\"\n");
        format!("[mirrors]\n{}", HOSTS.iter().map(mirror).collect::<String>())
    }
}

fn fill(dir: &Path) -> Result<()> {
    let scratch = tempfile::tempdir_in(dir)?;
    let programs = Programs::make(scratch.path())?;
    let site = Site::new(&dir.join("site"));
    let real = debian::packages(scratch.path())?;
    let signers = signed::Signers::make(dir.join("keys"))?;
    let maker = Maker { site, programs, scratch: scratch.path().to_owned(), real, signers };
    maker.runtimes()?;
    maker.kubernetes()?;
    maker.projects()?;
    maker.signed()
}

/// What the tree is made from.
struct Maker {
    site: Site,
    programs: Programs,
    scratch: PathBuf,
    real: debian::Unpacked,
    signers: signed::Signers,
}
