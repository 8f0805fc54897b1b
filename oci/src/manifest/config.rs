//! Image configs. image-spec, config.md.

use std::collections::BTreeMap;

use super::{ManifestError, wire};
use crate::Platform;
use store::Digest;

/// What an image says about itself and about the process to run in it. Empty for sources that have no config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// What it runs on, if it says so; without the variant that it doesn't say, as most configs for arm don't.
    pub platform: Option<Platform>,
    /// `NAME=VALUE`, each name once: the last counts, as for the container engines.
    pub env: Vec<String>,
    /// Entries of `Env` that are no `NAME=VALUE`. Engines pass them on or leave them out; no program gets anything from them.
    pub invalid_env: Vec<String>,
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
        // Old builders leave the type out; there never was another one.
        let kind = rootfs.kind.unwrap_or_default();
        if !matches!(kind.as_str(), "" | "layers") {
            let kind = store::digest::shorten(&kind);
            return Err(ManifestError::Config(format!("has rootfs.type {kind:?}, expected \"layers\"")));
        }
        let diff_ids = rootfs.diff_ids.unwrap_or_default();
        super::layers::check_count(WHAT, diff_ids.len())?;
        let mut process = raw.config.unwrap_or_default();
        let (env, invalid_env) = environment(process.env.take().unwrap_or_default());
        let labels = process.labels();
        let architecture = raw.architecture.unwrap_or_default();
        let variant = raw.variant.filter(|v| !v.is_empty());
        let platform = (!architecture.is_empty()).then(|| {
            let named = Platform::new(&raw.os.unwrap_or_default(), &architecture, variant.as_deref());
            Platform { variant: variant.and(named.variant.clone()), ..named }
        });
        Ok(Config {
            platform,
            env,
            invalid_env,
            entrypoint: process.entrypoint.map(Into::into).unwrap_or_default(),
            cmd: process.cmd.map(Into::into).unwrap_or_default(),
            working_dir: process.working_dir.unwrap_or_default(),
            user: process.user.unwrap_or_default(),
            labels,
            diff_ids: diff_ids.iter().map(|d| d.parse()).collect::<Result<_, _>>()?,
        })
    }

    /// The platform, if the image isn't for `wanted`. A config without a variant says nothing against what an index says.
    pub(crate) fn mismatch(&self, wanted: &Platform) -> Option<&Platform> {
        let got = self.platform.as_ref()?;
        let silent =
            got.variant.is_none() && (&wanted.os, &wanted.architecture) == (&got.os, &got.architecture);
        let fits = silent || wanted.rank(got).is_some();
        (!fits).then_some(got)
    }
}

/// Sorts out what execve(2) would refuse or misread much later.
fn environment(entries: Vec<Option<String>>) -> (Vec<String>, Vec<String>) {
    let (mut env, mut odd): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for entry in entries.into_iter().flatten() {
        let name = match entry.split_once('=') {
            Some((name, _)) if !name.is_empty() && !entry.contains('\0') => name.to_owned(),
            _ => {
                odd.push(entry);
                continue;
            }
        };
        match places.get(&name) {
            Some(&place) => env[place] = entry,
            None => {
                places.insert(name, env.len());
                env.push(entry);
            }
        }
    }
    (env, odd)
}
