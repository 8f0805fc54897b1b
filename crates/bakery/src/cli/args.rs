//! Arguments that several commands share.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use cli::SourceArgs;
use store::Cache;
use tree::Arch;

use recipes::config::Config;
use recipes::context::BoxedError;
use recipes::fetch::Fetcher;
use recipes::lock::{FILE_NAME, Lock};
use recipes::recipe::{Recipe, Settings};
use recipes::version::Version;
use recipes::{Catalogue, template};

/// Which recipes there are.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Recipes")]
pub struct CatalogueArgs {
    /// Add recipes to the built-in ones, or replace those: a directory of recipes, or one recipe; repeatable
    #[arg(long = "recipes", value_name = "DIR", env = "BAKERY_RECIPES", hide_env_values = true)]
    pub recipes: Vec<PathBuf>,
}

impl CatalogueArgs {
    /// The recipes.
    ///
    /// # Errors
    /// A directory that can't be read.
    pub fn catalogue(&self) -> anyhow::Result<Catalogue> {
        let mut catalogue = Catalogue::embedded();
        for dir in &self.recipes {
            catalogue.add_directory(dir)?;
        }
        Ok(catalogue)
    }
}

/// What work with upstream's files takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct WorkArgs {
    /// Read configuration, such as mirrors, from this file [default: /etc/bakery/config.toml and ~/.config/bakery/config.toml]
    #[arg(
        long,
        value_name = "FILE",
        env = "BAKERY_CONFIG",
        hide_env_values = true,
        help_heading = "Recipes"
    )]
    pub config: Option<PathBuf>,

    /// Lock file that pins all inputs of builds
    #[arg(long, value_name = "FILE", default_value = FILE_NAME, help_heading = "Recipes")]
    pub lock: PathBuf,

    /// Number of parallel builds, and of parallel downloads of each [default: 4 downloads, one build per processor]
    #[arg(short, long, value_name = "N", help_heading = "Recipes")]
    pub jobs: Option<NonZeroUsize>,

    #[allow(missing_docs)] // they would become help
    #[command(flatten)]
    pub source: SourceArgs,
}

impl WorkArgs {
    /// Opens the cache and reads the configuration.
    ///
    /// # Errors
    /// What can't be read or understood.
    pub fn fetcher(&self) -> anyhow::Result<Fetcher> {
        let environment = cli::environment();
        let mut config = Config::load(self.config.as_deref(), &environment)?;
        config.ca_files.extend(self.source.ca_file.iter().cloned());
        if let Some(jobs) = self.jobs {
            config.jobs = jobs.get();
        }
        let dir = self.source.cache_dir.clone().or_else(|| config.cache_dir.clone());
        config.document_timeout = self.source.patience.document_timeout();
        config.min_rate = self.source.patience.min_rate;
        let cache = Cache::open_or_default(dir.as_deref(), &environment)?.verifying(self.source.verify_cache);
        Ok(Fetcher::new(config, cache, environment, self.source.offline))
    }

    /// Opens images for an architecture, in the fetcher's cache.
    pub fn images<'a>(
        &'a self,
        fetcher: &'a Fetcher,
    ) -> impl Fn(Arch) -> Result<oci::Context, BoxedError> + Sync + 'a {
        |arch| {
            let mut source = self.source.clone();
            source.arch = Some(arch.oci().to_owned());
            source.cache_dir = Some(fetcher.cache().dir().to_owned());
            source.offline = fetcher.is_offline();
            Ok(source.context()?)
        }
    }

    /// The lock, by the names and forms of versions that the recipes have.
    ///
    /// # Errors
    /// It can't be read, or makes no sense.
    pub fn read_lock(&self, catalogue: &Catalogue) -> anyhow::Result<Lock> {
        Ok(Lock::read(&self.lock)?.in_form(catalogue))
    }

    /// Builds at once.
    pub fn builds(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.jobs.map_or_else(|| processors().min(4), NonZeroUsize::get)
    }

    /// The architectures meant: those of `--arch`, or else `default`.
    ///
    /// # Errors
    /// Words that name none.
    pub fn architectures(&self, recipe: &Recipe, default: Default) -> anyhow::Result<Vec<Arch>> {
        let word = self.source.arch.as_deref().filter(|a| !a.is_empty());
        match (word, default) {
            (Some("all"), _) | (None, Default::All) => Ok(recipe.architectures().to_vec()),
            (Some(word), _) => Ok(vec![word.parse::<Arch>()?]),
            (None, Default::Host) => {
                Ok(vec![Arch::host().context("this machine's architecture is unknown: pass --arch")?])
            }
        }
    }
}

/// The architectures of a command without `--arch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// This machine's.
    Host,
    /// All that upstream has.
    All,
}

/// What is to be built.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SettingsArgs {
    /// Name of the recipe
    pub name: Option<String>,

    /// Version [default: the newest one; without --update, the newest one in the lock file]
    #[arg(requires = "name")]
    pub version: Option<Version>,

    /// Set a parameter of the recipe; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair, requires = "name", help_heading = "Recipes")]
    pub set: Vec<(String, String)>,

    /// Omit a component of the recipe; repeatable
    #[arg(long, value_name = "COMPONENT", requires = "name", help_heading = "Recipes")]
    pub without: Vec<String>,

    /// Look up versions and files upstream, and update the lock file
    #[arg(long, help_heading = "Recipes")]
    pub update: bool,
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    if template::is_word(name) {
        Ok((name.to_owned(), value.to_owned()))
    } else {
        Err("expected NAME=VALUE".into())
    }
}

impl SettingsArgs {
    /// A recipe, as it is pinned.
    pub(crate) fn of(name: &str) -> SettingsArgs {
        let name = Some(name.to_owned());
        SettingsArgs { name, version: None, set: Vec::new(), without: Vec::new(), update: false }
    }

    /// What the user chose, by flags or by the variables that the shell scripts read.
    ///
    /// # Errors
    /// A parameter that is set twice; variables that leave nothing.
    pub(crate) fn settings(&self, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Settings> {
        let mut parameters = BTreeMap::new();
        for (name, value) in &self.set {
            if parameters.insert(name.clone(), value.clone()).is_some() {
                bail!("parameter {name} is set twice");
            }
        }
        let mut without: std::collections::BTreeSet<String> = self.without.iter().cloned().collect();
        if self.name.as_deref() == Some("docker") {
            let is_set = |name: &str| variable(name).is_some_and(|v| v == "1");
            for (name, component) in [("ONLY_DOCKER", "containerd"), ("ONLY_CONTAINERD", "docker")] {
                if is_set(name) {
                    without.insert(component.to_owned());
                }
            }
        }
        Ok(Settings { parameters, without })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_flags_and_variables() {
        let args = |name: &str| SettingsArgs {
            name: Some(name.into()),
            version: None,
            set: vec![("a".into(), "b".into())],
            without: vec!["x".into()],
            update: false,
        };
        let only = |name: &str| (name == "ONLY_DOCKER").then(|| "1".to_owned());
        let without = |name: &str| args(name).settings(only).unwrap().without.into_iter().collect::<Vec<_>>();
        assert_eq!(without("docker"), ["containerd", "x"]);
        assert_eq!(without("crio"), ["x"]);
        let mut twice = args("x");
        twice.set.push(("a".into(), "c".into()));
        assert_eq!(twice.settings(|_| None).unwrap_err().to_string(), "parameter a is set twice");
        assert!(pair("a").is_err() && pair("=b").is_err());
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
    }
}
