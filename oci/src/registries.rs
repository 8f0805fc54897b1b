//! Where a reference is to be looked for: registries.conf(5), version 2, with its drop-ins.
//!
//! [`Registries::candidates`] turns a short name into full ones, [`Registries::endpoints`] a full one into the places to
//! ask, mirrors first.

mod file;
use file::{File, MirrorEntry, PullFromMirror, RegistryEntry, ShortNameMode};

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::reference::{Reference, ReferenceError};
use store::Environment;
use store::http::is_domain;

/// The rules of the machine for registries.
#[derive(Debug, Clone, Default)]
pub struct Registries {
    rules: Vec<RegistryEntry>,
    /// `None`: no file names any, so that docker.io is asked.
    search: Option<Vec<String>>,
    aliases: BTreeMap<String, String>,
    enforce_short_names: bool,
    helpers: Vec<String>,
    insecure: Vec<String>,
}

/// One place to ask for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port.
    pub host: String,
    /// The repository there.
    pub repository: String,
    /// Plain HTTP and unverified TLS are allowed.
    pub insecure: bool,
    /// Whether it stands in for another place, so that its failure is no surprise.
    pub mirror: bool,
}

/// What is wrong with the configuration, or what it forbids.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum RegistriesError {
    /// The file can't be read.
    #[error("{path:?}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML, or not of the expected shape.
    #[error("{path:?}: {message}")]
    Syntax {
        path: PathBuf,
        /// What the parser said.
        message: String,
    },
    /// Version 1 of the format, which knows no mirrors and is gone from the container tools, too.
    #[error("{path:?} is in version 1 of the format, expected version 2 ([[registry]] tables)")]
    Version1 { path: PathBuf },
    /// A value that makes no sense.
    #[error("{path:?}: {what} {value:?} is not valid, {expected}")]
    Value {
        path: PathBuf,
        what: &'static str,
        /// As it stands there.
        value: String,
        /// What it should look like.
        expected: &'static str,
    },
    /// `blocked = true`.
    #[error("registry of {image} is blocked by the rule for {prefix:?} in registries.conf")]
    Blocked { image: String, prefix: String },
    /// `short-name-mode = "enforcing"` and nobody to ask.
    #[error(
        "short name {name:?} could be in {places}, expected the full name (short-name-mode is enforcing)"
    )]
    Ambiguous { name: String, places: String },
    /// An alias, a location or a search registry gives no valid name.
    #[error("registries.conf: {0}")]
    Reference(#[from] ReferenceError),
}

impl Registries {
    /// Reads the configuration. `file`, or `CONTAINERS_REGISTRIES_CONF`, is all that counts if it is given; otherwise it is
    /// the user's registries.conf and its drop-ins, or else the system's file with the system's and the user's drop-ins.
    ///
    /// # Errors
    /// A file that is there but can't be read or understood, or an explicit one that is missing.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, RegistriesError> {
        let explicit = file.or_else(|| environment.get("CONTAINERS_REGISTRIES_CONF").map(Path::new));
        if let Some(path) = explicit {
            let mut out = Registries::default();
            out.add(path, &read(path)?)?;
            return Ok(out);
        }
        let user = environment.config_home().map(|c| c.join("containers"));
        Self::load_from(user.as_deref(), Path::new("/etc/containers"))
    }

    fn load_from(user: Option<&Path>, system: &Path) -> Result<Self, RegistriesError> {
        let mut out = Registries::default();
        let name = Path::new("registries.conf");
        let user_file = user.map(|u| u.join(name)).filter(|f| f.exists());
        let has_user_file = user_file.is_some();
        let main = user_file.unwrap_or_else(|| system.join(name));
        if main.exists() {
            out.add(&main, &read(&main)?)?;
        }
        let system_drop_ins = (!has_user_file).then_some(system);
        for dir in [system_drop_ins, user].into_iter().flatten() {
            let drop_ins = dir.join("registries.conf.d");
            let io = |source| RegistriesError::Io { path: drop_ins.clone(), source };
            for path in store::small_file::list(&drop_ins, "conf").map_err(io)? {
                out.add(&path, &read(&path)?)?;
            }
        }
        Ok(out)
    }

    /// Takes the content of one more file over what is known; `path` is for messages.
    ///
    /// # Errors
    /// The text can't be understood.
    pub fn add(&mut self, path: &Path, text: &str) -> Result<(), RegistriesError> {
        let file = File::parse(path, text)?;
        if let Some(search) = file.search {
            self.search = Some(search);
        }
        if let Some(mode) = file.short_name_mode {
            self.enforce_short_names = mode == ShortNameMode::Enforcing;
        }
        if let Some(helpers) = file.helpers {
            self.helpers = helpers;
        }
        for (name, target) in file.aliases {
            // An empty target takes an alias away.
            match target.is_empty() {
                true => self.aliases.remove(&name),
                false => self.aliases.insert(name, target),
            };
        }
        for rule in file.registries {
            self.rules.retain(|r| r.prefix != rule.prefix);
            self.rules.push(rule);
        }
        Ok(())
    }

    /// Sends short names to another place than docker.io: `quay.io`, `ghcr.io/owner`. Aliases still win.
    ///
    /// # Errors
    /// The text is no registry.
    pub fn set_default_registry(&mut self, registry: &str) -> Result<(), RegistriesError> {
        let registry = registry.trim_end_matches('/');
        // The first component decides whether it is a registry at all.
        let host = registry.split('/').next().unwrap_or_default();
        format!("{registry}/name").parse::<Reference>()?;
        if !is_domain(host) {
            return Err(RegistriesError::Value {
                path: "REGISTRY".into(),
                what: "registry",
                value: registry.into(),
                expected: "expected a host name",
            });
        }
        self.search = Some(vec![registry.into()]);
        Ok(())
    }

    /// Allows plain HTTP and unverified TLS for a host (`HOST[:PORT]`), whatever the files say.
    pub fn allow_insecure(&mut self, host: &str) {
        self.insecure.push(host.trim_end_matches('/').into());
    }

    /// Hosts, `HOST[:PORT]` or `*.DOMAIN`, at which plain HTTP and unverified TLS are allowed as a whole, by option or by a rule
    /// without a path.
    pub fn insecure_hosts(&self) -> Vec<String> {
        let mirrors = self.rules.iter().flat_map(|r| &r.mirrors);
        let mirrors = mirrors.filter(|m| m.insecure).map(|m| &m.location);
        let rules = self.rules.iter().filter(|r| r.insecure && !r.blocked);
        let rules = rules.map(|r| r.location.as_ref().unwrap_or(&r.prefix));
        let whole = rules.chain(mirrors).filter(|place| !place.contains('/'));
        self.insecure.iter().chain(whole).cloned().collect()
    }

    /// The credential helpers that the files name (`credential-helpers`), to be asked for every registry.
    pub fn credential_helpers(&self) -> &[String] {
        &self.helpers
    }

    /// The full names that a reference may stand for, in the order in which they are to be tried.
    ///
    /// # Errors
    /// An alias or a search registry that gives no valid name; an ambiguous short name in enforcing mode.
    pub fn candidates(&self, image: &Reference) -> Result<Vec<Reference>, RegistriesError> {
        if !image.is_short() {
            return Ok(vec![image.clone()]);
        }
        let short = image.short_name();
        if let Some(target) = self.aliases.get(short) {
            return Ok(vec![image.relocated(target)?]);
        }
        let Some(search) = self.search.as_deref().filter(|s| !s.is_empty()) else {
            return Ok(vec![image.relocated(&image.name())?]);
        };
        if self.enforce_short_names && search.len() > 1 {
            return Err(RegistriesError::Ambiguous { name: short.into(), places: search.join(", ") });
        }
        let names = search.iter().map(|registry| {
            // A bare name on Docker Hub is in library/; the parser adds that.
            Ok(image.relocated(&format!("{registry}/{short}"))?)
        });
        names.collect()
    }

    /// The places to ask for a full name: mirrors in their order, then the location itself.
    ///
    /// # Errors
    /// The registry is blocked, or a location gives no valid name.
    pub fn endpoints(&self, image: &Reference) -> Result<Vec<Endpoint>, RegistriesError> {
        let name = image.name();
        let Some((rule, matched)) = self.rule(&name) else {
            return Ok(vec![self.endpoint(&name, false, false)?]);
        };
        if rule.blocked {
            return Err(RegistriesError::Blocked { image: name, prefix: rule.prefix.clone() });
        }
        let rest = &name[matched..];
        let by_digest = image.digest().is_some();
        let wanted = |m: &&MirrorEntry| match m.pull {
            PullFromMirror::All => !rule.mirror_by_digest_only || by_digest,
            PullFromMirror::DigestOnly => by_digest,
            PullFromMirror::TagOnly => !by_digest,
        };
        let mirrors = rule.mirrors.iter().filter(wanted);
        let mut out = Vec::new();
        for mirror in mirrors {
            out.push(self.endpoint(&format!("{}{rest}", mirror.location), mirror.insecure, true)?);
        }
        let own = match &rule.location {
            Some(location) => format!("{location}{rest}"),
            None => name.clone(),
        };
        out.push(self.endpoint(&own, rule.insecure, false)?);
        Ok(out)
    }

    /// The rule that matches the most of a name, and how many bytes of the name it matches.
    fn rule(&self, name: &str) -> Option<(&RegistryEntry, usize)> {
        let matching = self.rules.iter().filter_map(|r| Some((r, matched(&r.prefix, name)?)));
        // More of the name wins; of two that say as much, the one without a wildcard.
        matching.max_by_key(|(r, matched)| (*matched, !r.prefix.starts_with("*.")))
    }

    fn endpoint(&self, name: &str, insecure: bool, mirror: bool) -> Result<Endpoint, RegistriesError> {
        let place: Reference = name.parse()?;
        let by_option = self.insecure.iter().any(|host| host == place.registry());
        // A mirror of its own rule may be marked where it is a registry in its own right.
        let by_rule = mirror && self.rule(&place.name()).is_some_and(|(r, _)| r.insecure);
        Ok(Endpoint {
            host: place.registry().into(),
            repository: place.repository().into(),
            insecure: insecure || by_option || by_rule,
            mirror,
        })
    }
}

/// Whether a pattern of [`Registries::insecure_hosts`] means a host.
pub(crate) fn covers_host(pattern: &str, host: &str) -> bool {
    matched(&pattern.to_ascii_lowercase(), host).is_some()
}

/// How many bytes of `name` the prefix covers, if it matches on component boundaries: `quay.io/a` covers `quay.io/a/b`,
/// not `quay.io/ab`; `*.quay.io` covers `x.y.quay.io`.
fn matched(prefix: &str, name: &str) -> Option<usize> {
    match prefix.strip_prefix('*') {
        None => {
            let rest = name.strip_prefix(prefix)?;
            (rest.is_empty() || rest.starts_with('/')).then_some(prefix.len())
        }
        Some(suffix) => {
            let (domain, path) = suffix.split_once('/').map_or((suffix, None), |(d, p)| (d, Some(p)));
            let host = name.split('/').next()?;
            if !host.ends_with(domain) || host.len() == domain.len() {
                return None;
            }
            match path {
                None => Some(host.len()),
                Some(path) => matched(path, &name[host.len() + 1..]).map(|n| host.len() + 1 + n),
            }
        }
    }
}

fn read(path: &Path) -> Result<String, RegistriesError> {
    store::small_file::read_text(path).map_err(|source| RegistriesError::Io { path: path.into(), source })
}
