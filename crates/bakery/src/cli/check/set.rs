//! A fleet's set in a file.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// What `--set` names. Paths are relative to its own directory.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct SetFile {
    /// As `--host`.
    #[serde(default)]
    pub(super) hosts: Vec<String>,
    /// Images, directories and names of recipes.
    #[serde(default)]
    pub(super) extensions: Vec<PathBuf>,
    /// As `--from`.
    pub(super) from: Option<String>,
    /// As `--allow`.
    #[serde(default)]
    pub(super) allow: Vec<String>,
}

impl SetFile {
    /// Reads it.
    pub(super) fn read(path: &Path) -> anyhow::Result<SetFile> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{path:?}"))?;
        let set: SetFile = toml::from_str(&text).with_context(|| format!("{path:?}"))?;
        if let Some(rule) = set.allow.iter().find(|rule| host_check::rule(rule).is_none()) {
            bail!("{path:?}: rule {rule:?} is unknown; bakery check --rules lists them");
        }
        let dir = path.parent().unwrap_or(Path::new(""));
        // A name that isn't a file there may be a recipe's, or an image's in a registry.
        let placed = |name: PathBuf| Some(dir.join(&name)).filter(|p| p.exists()).unwrap_or(name);
        let host = |name: String| match name.strip_prefix("dir:") {
            Some(rest) => format!("dir:{}", dir.join(rest).display()),
            None => placed(name.clone().into()).to_str().map_or(name, str::to_owned),
        };
        Ok(SetFile {
            hosts: set.hosts.into_iter().map(host).collect(),
            extensions: set.extensions.into_iter().map(placed).collect(),
            from: set.from,
            allow: set.allow,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("a.raw"), "").unwrap();
        std::fs::write(at("host.tar"), "").unwrap();
        let text = "hosts = [\"host.tar\", \"dir:/\", \"dir:root\", \"debian:13\"]\nextensions = [\"a.raw\", \"docker\"]\n";
        std::fs::write(at("set.toml"), text).unwrap();
        let set = SetFile::read(&at("set.toml")).unwrap();
        let here = dir.path().display();
        let hosts =
            [format!("{here}/host.tar"), "dir:/".into(), format!("dir:{here}/root"), "debian:13".into()];
        assert_eq!(set.hosts, hosts);
        assert_eq!(set.extensions, [at("a.raw"), "docker".into()]);
        for wrong in ["allow = [\"no-such-rule\"]\n", "host = \"x\"\n", "="] {
            std::fs::write(at("set.toml"), wrong).unwrap();
            assert!(SetFile::read(&at("set.toml")).is_err(), "{wrong}");
        }
    }
}
