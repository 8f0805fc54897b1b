//! `bakery`, run against a mirror.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use e2e::{Program, Upstream, Work, place};

/// Name, version, parameters: each extension once, with small programs.
pub(crate) const CATALOGUE: &[(&str, &str, &[&str])] = &[
    ("btop", "1.4.6", &[]),
    ("cilium", "v0.19.6", &[]),
    ("cloud-hypervisor", "v53.0", &[]),
    ("coder", "v2.35.2", &[]),
    ("consul", "2.0.2", &[]),
    ("containerd", "2.1.4", &[]),
    ("containerd", "1.7.29", &[]),
    ("crio", "v1.32.0", &[]),
    ("dataplaneapi", "v3.4.0", &[]),
    ("docker", "27.5.1", &[]),
    ("docker-buildx", "0.35.0", &[]),
    ("docker-compose", "2.33.1", &[]),
    ("falco", "0.40.0", &[]),
    ("ig", "v0.54.1", &[]),
    ("k3s", "v1.32.2+k3s1", &[]),
    ("kata-containers", "4.0.0", &[]),
    ("kubernetes", "v1.32.2", &[]),
    ("llamaedge", "0.16.8", &["wasmedge-version=0.14.1"]),
    ("nebula", "v1.9.5", &[]),
    ("nerdctl", "v2.3.5", &["cni-version=v1.6.2"]),
    ("nomad", "2.0.4", &[]),
    ("nvidia-runtime", "v1.17.4", &[]),
    ("ollama", "v0.14.0", &[]),
    ("ollama", "v0.13.2", &[]),
    ("opkssh", "v0.16.0", &[]),
    ("rke2", "v1.32.2+rke2r1", &[]),
    ("tailscale", "v1.80.2", &[]),
    ("vault", "2.0.3", &[]),
    ("wasmcloud", "v2.0.0", &["nats-version=v2.10.25"]),
    ("wasmcloud", "v1.6.1", &["nats-version=v2.10.25"]),
    ("wasmedge", "0.14.1", &[]),
    ("wasmtime", "v30.0.2", &[]),
];

/// A directory with a configuration, a lock and a cache.
#[derive(Debug)]
pub(crate) struct Kitchen {
    pub work: Work,
}

impl Kitchen {
    /// One that asks this mirror.
    pub(crate) fn new(upstream: &Upstream) -> Result<Kitchen> {
        let work = Work::new()?;
        fs::write(work.path().join("config.toml"), upstream.config())?;
        upstream.trust(&work.dir("trusted")?)?;
        Ok(Kitchen { work })
    }

    /// A command of bakery's, in the directory.
    pub(crate) fn bakery(&self, args: &[&str]) -> Result<Program> {
        let program = Program::new(place::bakery()?).clean_env().env("HOME", self.work.path());
        Ok(program
            .env("BAKERY_CONFIG", self.work.path().join("config.toml"))
            .env("BAKERY_RECIPES", self.work.path().join("trusted"))
            .dir(self.work.path())
            .args(args))
    }

    /// Pins an extension for both architectures.
    pub(crate) fn lock(&self, name: &str, version: &str, set: &[&str]) -> Result<()> {
        let set: Vec<&str> = set.iter().flat_map(|s| ["--set", s]).collect();
        self.bakery(&["lock", name, version])?.args(set).run().map(drop)
    }

    /// The image of an extension, after a build of all into `images`.
    pub(crate) fn image(&self, images: &str, name: &str, version: &str, arch: &str) -> PathBuf {
        self.work.path().join(images).join(format!("{name}-{version}-{arch}.raw"))
    }
}
