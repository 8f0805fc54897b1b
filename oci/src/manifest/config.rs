//! Image configs. image-spec, config.md.

use std::collections::BTreeMap;

use super::{ManifestError, wire};
use crate::{Digest, Platform};

/// What an image says about itself and about the process to run in it. Empty for sources that have no config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// What it runs on, if it says so.
    pub platform: Option<Platform>,
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// The command's first words.
    pub entrypoint: Vec<String>,
    /// The command's other words, or the default of them.
    pub cmd: Vec<String>,
    /// Where the command starts; empty for `/`.
    pub working_dir: String,
    /// `USER[:GROUP]`, names or numbers; empty for root.
    pub user: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Digests of the inflated layers, the lowest first.
    pub diff_ids: Vec<Digest>,
}

impl Config {
    /// Reads a config.
    ///
    /// # Errors
    /// Not a config, or one without a `rootfs` of layers.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        const WHAT: &str = "config";
        let raw: wire::Config = wire::parse(WHAT, bytes)?;
        if raw.layers.is_some()
            || raw.manifests.is_some()
            || raw.schema_version.is_some()
            || raw.fs_layers.is_some()
        {
            let why = "it has the fields of a manifest".into();
            return Err(ManifestError::Ambiguous { what: WHAT, why });
        }
        let rootfs = raw.rootfs.ok_or_else(|| ManifestError::Config("has no rootfs".into()))?;
        if rootfs.kind != "layers" {
            let kind = crate::digest::shorten(&rootfs.kind);
            return Err(ManifestError::Config(format!("has rootfs.type {kind:?}, expected \"layers\"")));
        }
        let diff_ids = rootfs.diff_ids.unwrap_or_default();
        super::check_layer_count(WHAT, diff_ids.len())?;
        let process = raw.config.unwrap_or_default();
        for variable in process.env.iter().flatten() {
            // execve(2) would refuse or misread them much later.
            if !variable.contains('=') || variable.starts_with('=') || variable.contains('\0') {
                let shown = crate::digest::shorten(variable);
                return Err(ManifestError::Config(format!("has Env entry {shown:?}, expected NAME=VALUE")));
            }
        }
        let platform = (!raw.architecture.is_empty())
            .then(|| Platform::new(&raw.os, &raw.architecture, raw.variant.as_deref()));
        Ok(Config {
            platform,
            env: process.env.unwrap_or_default(),
            entrypoint: process.entrypoint.map(Into::into).unwrap_or_default(),
            cmd: process.cmd.map(Into::into).unwrap_or_default(),
            working_dir: process.working_dir.unwrap_or_default(),
            user: process.user.unwrap_or_default(),
            labels: process.labels.unwrap_or_default(),
            diff_ids: diff_ids.iter().map(|d| d.parse()).collect::<Result<_, _>>()?,
        })
    }
}
