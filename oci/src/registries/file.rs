//! One registries.conf as typed, then checked.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::RegistriesError;

/// As typed. Keys that aren't listed belong to other tools.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Typed {
    unqualified_search_registries: Option<Vec<String>>,
    short_name_mode: Option<String>,
    credential_helpers: Option<Vec<String>>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    #[serde(default)]
    registry: Vec<TypedRegistry>,
    /// Version 1.
    registries: Option<toml::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct TypedRegistry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<TypedMirror>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct TypedMirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<String>,
}

pub(super) struct File {
    pub search: Option<Vec<String>>,
    pub(crate) short_name_mode: Option<ShortNameMode>,
    pub(crate) helpers: Option<Vec<String>>,
    pub(crate) aliases: BTreeMap<String, String>,
    pub registries: Vec<RegistryEntry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShortNameMode {
    Enforcing,
    Other,
}

#[derive(Debug, Clone)]
pub(super) struct RegistryEntry {
    /// `HOST[:PORT][/PATH]`, or `*.DOMAIN[/PATH]`.
    pub prefix: String,
    /// What stands in the prefix's place; none with a wildcard that names no location: the name stays.
    pub location: Option<String>,
    pub insecure: bool,
    pub(crate) blocked: bool,
    pub(crate) mirror_by_digest_only: bool,
    pub mirrors: Vec<MirrorEntry>,
}

#[derive(Debug, Clone)]
pub(super) struct MirrorEntry {
    pub location: String,
    pub insecure: bool,
    pub pull: PullFromMirror,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PullFromMirror {
    All,
    DigestOnly,
    TagOnly,
}

impl File {
    pub(super) fn parse(path: &Path, text: &str) -> Result<File, RegistriesError> {
        let typed: Typed = toml::from_str(text)
            .map_err(|e| RegistriesError::Syntax { path: path.into(), message: one_line(&e.to_string()) })?;
        if typed.registries.is_some() {
            return Err(RegistriesError::Version1 { path: path.into() });
        }
        let mode = match typed.short_name_mode.as_deref() {
            None => None,
            Some("enforcing") => Some(ShortNameMode::Enforcing),
            Some("permissive" | "disabled") => Some(ShortNameMode::Other),
            Some(other) => {
                let expected = "expected enforcing, permissive or disabled";
                return Err(value(path, "short-name-mode", other, expected));
            }
        };
        let search = typed
            .unqualified_search_registries
            .map(|list| list.iter().map(|l| place(path, "unqualified-search-registries", l)).collect())
            .transpose()?;
        let registries = typed.registry.into_iter().map(|r| registry(path, r)).collect::<Result<_, _>>()?;
        Ok(File {
            search,
            short_name_mode: mode,
            helpers: typed.credential_helpers,
            aliases: typed.aliases,
            registries,
        })
    }
}

fn registry(path: &Path, typed: TypedRegistry) -> Result<RegistryEntry, RegistriesError> {
    let location = match typed.location.as_str() {
        "" => None,
        l => Some(place(path, "location", l)?),
    };
    let prefix = match (typed.prefix.as_str(), &location) {
        ("", None) => return Err(value(path, "registry", "", "expected a prefix or a location")),
        ("", Some(location)) => location.clone(),
        (prefix, _) => match prefix.strip_prefix("*.") {
            Some(domain) => format!("*.{}", place(path, "prefix", domain)?),
            None => place(path, "prefix", prefix)?,
        },
    };
    let mut mirrors = Vec::new();
    for m in typed.mirror {
        let pull = match m.pull_from_mirror.as_deref() {
            Some(how) if typed.mirror_by_digest_only => {
                let expected = "expected none beside mirror-by-digest-only";
                return Err(value(path, "pull-from-mirror", how, expected));
            }
            None | Some("all" | "") => PullFromMirror::All,
            Some("digest-only") => PullFromMirror::DigestOnly,
            Some("tag-only") => PullFromMirror::TagOnly,
            Some(other) => {
                return Err(value(path, "pull-from-mirror", other, "expected all, digest-only or tag-only"));
            }
        };
        let location = place(path, "location", &m.location)?;
        mirrors.push(MirrorEntry { location, insecure: m.insecure, pull });
    }
    Ok(RegistryEntry {
        prefix,
        location,
        insecure: typed.insecure,
        blocked: typed.blocked,
        mirror_by_digest_only: typed.mirror_by_digest_only,
        mirrors,
    })
}

/// `HOST[:PORT][/PATH]` without a scheme or a slash at its end.
fn place(path: &Path, what: &'static str, text: &str) -> Result<String, RegistriesError> {
    let trimmed = text.trim_end_matches('/');
    if trimmed.contains("://") {
        return Err(value(path, what, text, "expected no scheme"));
    }
    let host = trimmed.split('/').next().unwrap_or_default();
    if !store::http::is_domain(host) {
        return Err(value(path, what, text, "expected HOST[:PORT][/PATH]"));
    }
    Ok(trimmed.into())
}

fn value(path: &Path, what: &'static str, value: &str, expected: &'static str) -> RegistriesError {
    RegistriesError::Value { path: path.into(), what, value: value.into(), expected }
}

/// The TOML parser draws a picture of the place; messages here have one line.
fn one_line(message: &str) -> String {
    let mut lines = message.lines().filter(|l| !l.is_empty());
    let first = lines.next().unwrap_or_default();
    match lines.next_back() {
        Some(last) => format!("{first}: {last}"),
        None => first.into(),
    }
}
