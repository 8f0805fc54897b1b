//! Where signatures stand beside a registry: containers-registries.d(5).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use store::Environment;

use super::PolicyError;
use super::scope::of_reference;
use super::unique::UniqueMap;
use crate::reference::Reference;

/// Where configuration and signatures are found if nobody says otherwise.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Directories of `.yaml` files; what the later ones have of a scope replaces what the earlier ones have.
    directories: Vec<PathBuf>,
    /// The signatures of this machine.
    store: Option<PathBuf>,
}

/// What is configured for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Configured {
    /// The URL of the store: `file:`, `http:` or `https:`.
    pub lookaside: Option<String>,
    /// Whether signatures of cosign's are looked for at the registry.
    pub attachments: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct YamlFile {
    default_docker: Option<Section>,
    docker: Option<UniqueMap<Option<Section>>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Section {
    lookaside: Option<String>,
    /// Its older name.
    sigstore: Option<String>,
    use_sigstore_attachments: Option<bool>,
}

impl Places {
    pub(super) fn new(environment: &Environment, system: &Path) -> Places {
        let user = environment.config_home().map(|config| config.join("containers"));
        let vendor = PathBuf::from("/usr/share/containers");
        let all = [Some(vendor), Some(system.to_owned()), user];
        let directories = all.into_iter().flatten().map(|dir| dir.join("registries.d")).collect();
        let store = match rustix::process::geteuid().is_root() {
            true => Some(PathBuf::from("/var/lib/containers/sigstore")),
            false => {
                let data = environment.dir("XDG_DATA_HOME");
                let data = data.or_else(|| Some(environment.home()?.join(".local/share")));
                data.map(|data| data.join("containers/sigstore"))
            }
        };
        Places { directories, store }
    }

    /// What holds for an image.
    pub(super) fn of(&self, image: &Reference) -> Result<Configured, PolicyError> {
        let (default, sections) = self.read()?;
        let known = of_reference(image).into_iter().find_map(|scope| sections.get(&scope));
        let section = known.or(default.as_ref()).cloned().unwrap_or_default();
        let store = || self.store.as_ref().map(|store| format!("file://{}", store.display()));
        Ok(Configured {
            lookaside: section.lookaside.or(section.sigstore).or_else(store),
            // The other tools only look where this is true, and refuse the image where it isn't said.
            attachments: section.use_sigstore_attachments != Some(false),
        })
    }

    fn read(&self) -> Result<(Option<Section>, BTreeMap<String, Section>), PolicyError> {
        let mut default = None;
        let mut sections = BTreeMap::new();
        for directory in &self.directories {
            let mut own: BTreeMap<String, (PathBuf, Section)> = BTreeMap::new();
            let mut own_default: Option<PathBuf> = None;
            let io = |source| PolicyError::Io { path: directory.clone(), source };
            for path in store::small_file::list(directory, "yaml").map_err(io)? {
                let wrong = |message: String| PolicyError::Syntax { path: path.clone(), message };
                let text = store::small_file::read_text(&path)
                    .map_err(|source| PolicyError::Io { path: path.clone(), source })?;
                // A file of comments is no map.
                let file: Option<YamlFile> =
                    serde_saphyr::from_str(&text).map_err(|e| wrong(e.to_string()))?;
                let Some(file) = file else { continue };
                if let Some(section) = file.default_docker {
                    if let Some(other) = own_default.replace(path.clone()) {
                        return Err(wrong(format!("default-docker is in {other:?}, too")));
                    }
                    default = Some(section);
                }
                for (scope, section) in file.docker.unwrap_or_default().0 {
                    if let Some((other, _)) = own.get(&scope) {
                        return Err(wrong(format!("{scope:?} is in {other:?}, too")));
                    }
                    own.insert(scope, (path.clone(), section.unwrap_or_default()));
                }
            }
            sections.extend(own.into_iter().map(|(scope, (_, section))| (scope, section)));
        }
        Ok((default, sections))
    }
}

/// The place of the `n`th signature of an image, from 1.
pub(crate) fn signature_url(lookaside: &str, image: &Reference, digest: &store::Digest, n: usize) -> String {
    let base = lookaside.trim_end_matches('/');
    format!("{base}/{}@sha256={}/signature-{n}", image.repository(), digest.hex())
}
