//! The user's configuration: `bakery/config.toml`.
//!
//! ```toml
//! jobs = 4                                  # downloads at once
//! cache-dir = "/var/cache/bakery"
//! ca-files = ["/etc/ssl/our-ca.pem"]
//!
//! [mirrors]                                 # the longest prefix of a URL counts
//! "https://github.com/" = "https://mirror.example.org/github/"
//! "https://dl.k8s.io/" = ["https://a.example.org/k8s/", "https://dl.k8s.io/"]   # in this order
//! ```

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use store::Environment;

/// Downloads at once, unless the user says otherwise.
const JOBS: usize = 4;

/// What the user and the administrator want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Prefixes of URLs, and what is asked in their place, in this order.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Downloads at once.
    pub jobs: usize,
    /// Where the cache is, unless it has its usual place.
    pub cache_dir: Option<PathBuf>,
    /// Files with certificate authorities to trust besides the system's.
    pub ca_files: Vec<PathBuf>,
    /// How long a small document may take, if other than usual.
    pub document_timeout: Option<Duration>,
    /// Bytes a second that a download has to have, if other than usual.
    pub min_rate: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            mirrors: BTreeMap::new(),
            jobs: JOBS,
            cache_dir: None,
            ca_files: Vec::new(),
            document_timeout: None,
            min_rate: None,
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ConfigFile {
    #[serde(default)]
    mirrors: BTreeMap<String, Places>,
    jobs: Option<NonZeroUsize>,
    cache_dir: Option<PathBuf>,
    #[serde(default)]
    ca_files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected a URL or a list of URLs")]
enum Places {
    One(String),
    Several(Vec<String>),
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ConfigError {
    /// The file can't be read.
    #[error("{path:?}: {source}")]
    Io {
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no TOML, or has keys or values that don't belong there.
    #[error("{path:?}: {message}")]
    Syntax {
        path: PathBuf,
        /// With line and column.
        message: String,
    },
    /// A prefix or a place that can't be put together with the rest of a URL.
    #[error(
        "{path:?}: mirror {url:?} is invalid, expected http:// or https:// at its start and / at its end"
    )]
    Mirror { path: PathBuf, url: String },
}

impl Config {
    /// Reads `file`, or the one that `BAKERY_CONFIG` names, or the user's and the system's: what the user says counts, and
    /// mirrors of both are there. That neither exists is fine.
    ///
    /// # Errors
    /// A file that can't be read or understood.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Config, ConfigError> {
        let named = file.map(Path::to_owned).or_else(|| environment.get("BAKERY_CONFIG").map(PathBuf::from));
        if let Some(path) = named {
            return Config::parse(&read(&path)?.ok_or_else(|| missing(&path))?, &path);
        }
        let user = environment.config_home().map(|dir| dir.join("bakery/config.toml"));
        let mut config = Config::default();
        for path in [Some(PathBuf::from("/etc/bakery/config.toml")), user].into_iter().flatten() {
            if let Some(text) = read(&path)? {
                config = config.overlaid(&text, &path)?;
            }
        }
        Ok(config)
    }

    /// One file's.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] and [`ConfigError::Mirror`]; `path` is for them.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        Config::default().overlaid(text, path)
    }

    fn overlaid(mut self, text: &str, path: &Path) -> Result<Config, ConfigError> {
        let syntax = |e: toml::de::Error| {
            let message = e.to_string().trim_end().to_owned();
            ConfigError::Syntax { path: path.to_owned(), message }
        };
        let file: ConfigFile = toml::from_str(text).map_err(syntax)?;
        for (prefix, places) in file.mirrors {
            let places = match places {
                Places::One(place) => vec![place],
                Places::Several(places) => places,
            };
            let bad = std::iter::once(&prefix).chain(&places).find(|url| !is_prefix(url));
            if let Some(url) = bad {
                return Err(ConfigError::Mirror { path: path.to_owned(), url: url.clone() });
            }
            self.mirrors.insert(prefix, places);
        }
        self.jobs = file.jobs.map_or(self.jobs, NonZeroUsize::get);
        self.cache_dir = file.cache_dir.or(self.cache_dir);
        self.ca_files.extend(file.ca_files);
        Ok(self)
    }

    /// Where to ask for a URL, in this order: the places of the longest prefix, or the URL itself.
    pub(crate) fn locations(&self, url: &str) -> Vec<String> {
        let longest =
            self.mirrors.iter().filter(|(p, _)| url.starts_with(p.as_str())).max_by_key(|(p, _)| p.len());
        match longest {
            // An empty list is a way to say that nothing else should be asked, either.
            Some((prefix, places)) => places.iter().map(|p| format!("{p}{}", &url[prefix.len()..])).collect(),
            None => vec![url.to_owned()],
        }
    }
}

/// With the slash at the end, `https://github.com` can't be taken for the beginning of `https://github.com.example.org`.
fn is_prefix(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|r| r.len() > 1 && r.ends_with('/') && !r.starts_with('/'))
}

fn missing(path: &Path) -> ConfigError {
    ConfigError::Io { path: path.to_owned(), source: std::io::ErrorKind::NotFound.into() }
}

fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Io { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("c.toml"))
    }

    #[test]
    fn the_longest_prefix_counts() {
        let config = parse(
            "[mirrors]\n\"https://github.com/\" = \"http://m/gh/\"\n\
             \"https://github.com/a/b/\" = [\"http://m/ab/\", \"https://github.com/a/b/\"]\n\
             \"https://none.example/\" = []\n",
        )
        .unwrap();
        for (url, places) in [
            ("https://github.com/x/y", &["http://m/gh/x/y"][..]),
            ("https://github.com/a/b/c?d", &["http://m/ab/c?d", "https://github.com/a/b/c?d"]),
            ("https://github.com/a/bc", &["http://m/gh/a/bc"]),
            ("https://github.com.evil.example/a", &["https://github.com.evil.example/a"]),
            ("http://github.com/a", &["http://github.com/a"]),
            ("https://none.example/a", &[]),
        ] {
            assert_eq!(config.locations(url), places, "{url}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (text, message) in [
            ("[mirror]\n", "unknown field `mirror`, expected one of `mirrors`"),
            ("jobs = 0\n", "line 1"),
            (
                "[mirrors]\n\"https://github.com\" = \"http://m/\"\n",
                "mirror \"https://github.com\" is invalid",
            ),
            ("[mirrors]\n\"https://github.com/\" = \"m/\"\n", "mirror \"m/\" is invalid"),
            ("[mirrors]\n\"https://github.com/\" = 3\n", "expected a URL or a list of URLs"),
            ("x", "line 1, column"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with("\"c.toml\": ") && error.contains(message), "{error}");
        }
    }

    #[test]
    fn files_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join(".config/bakery");
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join("config.toml"), "jobs = 7\n").unwrap();
        let other = dir.path().join("other.toml");
        std::fs::write(&other, "jobs = 8\n").unwrap();
        let home = ("HOME", dir.path().as_os_str());
        let named = ("BAKERY_CONFIG", other.as_os_str());
        let jobs =
            |file, env: Environment| Config::load(file, &env).map(|c| c.jobs).map_err(|e| e.to_string());
        assert_eq!(jobs(None, [home].into_iter().collect()), Ok(7));
        assert_eq!(jobs(None, [home, named].into_iter().collect()), Ok(8));
        assert_eq!(jobs(Some(&other), [home].into_iter().collect()), Ok(8));
        let gone = dir.path().join("gone.toml");
        assert!(jobs(Some(&gone), [home].into_iter().collect()).unwrap_err().contains("gone.toml"));
        assert_eq!(jobs(None, Environment::default()), Ok(JOBS));
    }
}
