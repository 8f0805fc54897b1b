//! `release.toml`: what a catalogue offers.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tree::Arch;

use crate::sysupdate::{self, BASE_URL};
use recipes::recipe::Settings;
use recipes::version::Version;

/// The file's name, unless the user has another.
pub(crate) const FILE_NAME: &str = "release.toml";

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ReleaseFile {
    title: Option<String>,
    base_url: Option<String>,
    architectures: Option<Vec<String>>,
    best_before_days: Option<NonZeroU16>,
    #[serde(default)]
    extensions: BTreeMap<String, Offer>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected a list of versions, or { versions = […], set = {…}, without = […] }")]
enum Offer {
    Versions(Vec<String>),
    Table(OfferTable),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfferTable {
    versions: Vec<String>,
    #[serde(default)]
    set: BTreeMap<String, String>,
    #[serde(default)]
    without: BTreeSet<String>,
}

/// What a catalogue offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReleaseConfig {
    pub title: String,
    /// Where the release is going to be hosted.
    pub base_url: String,
    /// Days until hosts reject the manifests. None: never.
    pub best_before_days: Option<NonZeroU16>,
    /// None: all that a recipe has.
    pub architectures: Option<Vec<Arch>>,
    /// By name; none: the whole catalogue, its latest versions.
    pub extensions: Option<BTreeMap<String, ExtensionSelection>>,
}

/// The versions of an extension.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExtensionSelection {
    /// Whether the latest are among them.
    pub latest: bool,
    pub versions: Vec<Version>,
    pub settings: Settings,
}

/// Why a release file is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConfigError {
    /// It can't be read.
    #[error("{path:?}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    /// It isn't what it should be.
    #[error("{path:?}: {message}")]
    Syntax { path: PathBuf, message: String },
}

impl Default for ReleaseConfig {
    fn default() -> Self {
        ReleaseConfig {
            title: "System extensions".into(),
            base_url: BASE_URL.into(),
            best_before_days: None,
            architectures: None,
            extensions: None,
        }
    }
}

impl ReleaseConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// It can't be read or understood.
    pub(crate) fn read(path: &Path) -> Result<ReleaseConfig, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|message| ConfigError::Syntax { path: path.to_owned(), message })
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<ReleaseConfig, String> {
        let file: ReleaseFile = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        let default = ReleaseConfig::default();
        let arch = |word: &String| word.parse::<Arch>().map_err(|e| format!("architectures: {e}"));
        let architectures = file.architectures.as_ref().map(|list| list.iter().map(arch).collect());
        let mut extensions = BTreeMap::new();
        for (name, offer) in file.extensions {
            let table = match offer {
                Offer::Versions(versions) => {
                    OfferTable { versions, set: BTreeMap::new(), without: BTreeSet::new() }
                }
                Offer::Table(table) => table,
            };
            let mut wanted = ExtensionSelection {
                settings: Settings { parameters: table.set, without: table.without },
                ..ExtensionSelection::default()
            };
            for word in table.versions {
                match word.as_str() {
                    "latest" => wanted.latest = true,
                    _ => wanted.versions.push(word.parse().map_err(|e| format!("extensions: {name}: {e}"))?),
                }
            }
            if !wanted.latest && wanted.versions.is_empty() {
                return Err(format!("extensions: {name}: has no versions"));
            }
            extensions.insert(name, wanted);
        }
        let base_url = sysupdate::base_url(&file.base_url.unwrap_or(default.base_url));
        let base_url = base_url.map_err(|e| format!("base-url: {e}"))?;
        Ok(ReleaseConfig {
            title: file.title.unwrap_or(default.title),
            base_url,
            best_before_days: file.best_before_days,
            architectures: architectures.transpose()?,
            extensions: (!extensions.is_empty()).then_some(extensions),
        })
    }
}
