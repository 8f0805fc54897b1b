//! Deciding what a release lacks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tree::Event;

use super::super::hint;
use super::failures::Failures;
use super::{Only, WhatArgs};
use crate::{
    release::Contents,
    release::Record,
    release::check_forms,
    release::config::{self, ExtensionSelection, ReleaseConfig},
    release::plan::{images, word},
};
use recipes::build::{BuildOptions, Destination};
use recipes::catalogue::Catalogue;
use recipes::context::BuildContext;
use recipes::lock::{Key, Lock};
use recipes::recipe::{ParameterValue, Recipe, Settings};
use recipes::version::{Version, compare};
use recipes::versions::{self, VersionsError};
use store::Digest;
use tree::parallel;

/// What is wanted, and what there is.
pub(super) struct Plan {
    pub(super) config: ReleaseConfig,
    pub(super) recipes: BTreeMap<String, Recipe>,
    pub(super) lock: Lock,
    /// To be built, in order.
    pub(super) missing: Vec<Key>,
    /// How many are there.
    pub(super) there: usize,
    /// What the existing release has, if one was named.
    pub(super) hosted: Option<Contents>,
    /// What couldn't be found out, in words: an extension, or a build that can't be pinned.
    pub(super) failed: Vec<String>,
}

/// What a plan is made for.
#[derive(Debug, Clone)]
pub(super) struct Aim {
    /// Whether upstream is asked; if it isn't, what isn't pinned isn't wanted.
    pub(super) asks: bool,
    /// Whether what isn't pinned is pinned.
    pub(super) pins: bool,
    /// Digest of the options that images have to be written with; none if any will do.
    pub(super) options: Option<Digest>,
}

impl Aim {
    /// Whether an image was written with other options. Older statements lack the digest; their images have default options.
    fn is_other(&self, record: &Record) -> bool {
        let default = || BuildOptions::new(Destination::Directory(PathBuf::new())).digest();
        self.options.is_some_and(|wanted| record.options.unwrap_or_else(default) != wanted)
    }
}

/// A recipe and the versions of it that are wanted.
type Versions<'r> = Vec<(&'r Recipe, Vec<Version>)>;

impl WhatArgs {
    fn config(&self) -> anyhow::Result<ReleaseConfig> {
        let usual = Path::new(config::FILE_NAME);
        Ok(match &self.file {
            Some(path) => ReleaseConfig::read(path)?,
            None if usual.exists() => ReleaseConfig::read(usual)?,
            None => ReleaseConfig::default(),
        })
    }

    /// Decides. An extension whose upstream can't be reached is reported and doesn't stop the others.
    pub(super) fn plan(&self, aim: &Aim, context: BuildContext<'_>) -> anyhow::Result<Plan> {
        let config = self.config()?;
        let catalogue = self.catalogue.catalogue()?;
        let mut wanted = wanted(&config, &catalogue)?;
        let chosen: Vec<Only> = self.only.iter().map(|only| only.known_as(&catalogue)).collect();
        let recipes: Vec<Recipe> =
            wanted.keys().map(|name| catalogue.recipe(name)).collect::<Result<_, _>>()?;
        for only in &chosen {
            if !wanted.contains_key(&only.name) {
                bail!("--only {}: the release doesn't offer it", only.name);
            }
        }
        let hosted = self.hosted(&wanted, context)?;
        if !self.only.is_empty() {
            // Nobody is asked about what isn't meant.
            wanted.retain(|name, _| chosen.iter().any(|o| o.name == *name));
        }
        let mut lock = self.work.read_lock(&catalogue)?;
        let mut failed = Vec::new();
        let versions = self.versions(&recipes, &wanted, &lock, aim.asks, context, &mut failed);
        let mut keys = keys(&config, &wanted, versions);
        if !self.only.is_empty() {
            keys.retain(|(_, key)| chosen.iter().any(|o| o.fits(key)));
            let unknown = |name: &String| failed.contains(name);
            let none = |o: &&Only| !unknown(&o.name) && !keys.iter().any(|(_, key)| o.fits(key));
            if let Some(only) = chosen.iter().find(none) {
                let version = only.version.as_ref().map(|v| format!("@{v}")).unwrap_or_default();
                bail!("--only {}{version}: the release doesn't offer it", only.name);
            }
        }
        let all = keys.len();
        if let Some(hosted) = &hosted {
            let there = |key: &Key| hosted.records.get(&key.image_file().to_string());
            let others = keys.iter().filter(|(_, key)| there(key).is_some_and(|r| aim.is_other(r))).count();
            if others > 0 {
                let text = format!("{} are published with other options and aren't rebuilt", images(others));
                context.events.event(Event::Warning(text.into()));
            }
            keys.retain(|(_, key)| there(key).is_none());
        }
        let mut there = all - keys.len();
        if let Some(shard) = self.shard {
            // Before one's own folder is looked at: a share that is resumed is the same share.
            let own = |(i, key)| (i % shard.count == shard.index).then_some(key);
            keys = keys.into_iter().enumerate().filter_map(own).collect();
        }
        let (mine, own) = (keys.len(), Contents::of_folder(&self.to)?.records);
        // Before anything is built: of what is there, and of what will be.
        let records = own.values().chain(hosted.iter().flat_map(|hosted| hosted.records.values()));
        let images = records.map(|record| (record.image.name.as_str(), &record.image.version));
        let images = images.chain(keys.iter().map(|(_, key)| (key.name.as_str(), &key.version)));
        check_forms(images, |name| recipes.iter().find(|recipe| recipe.name().as_str() == name))?;
        // Other options were asked for: the images here are written again.
        let is_done = |key: &Key| own.get(&key.image_file().to_string()).is_some_and(|r| !aim.is_other(r));
        keys.retain(|(_, key)| !is_done(key));
        there += mine - keys.len();
        if aim.asks && aim.pins {
            self.pin(&mut keys, &mut lock, context, &mut failed)?;
        }
        let missing = keys.into_iter().map(|(_, key)| key).collect();
        // The folder may have others, too.
        let all = catalogue.recipes()?.into_iter().chain(recipes);
        let recipes = all.map(|r| (r.name().to_string(), r)).collect();
        Ok(Plan { config, recipes, lock, missing, there, hosted, failed })
    }

    fn hosted(
        &self,
        wanted: &BTreeMap<String, ExtensionSelection>,
        context: BuildContext<'_>,
    ) -> anyhow::Result<Option<Contents>> {
        let Some(place) = &self.place else { return Ok(None) };
        if !place.contains("://") {
            if !self.empty_place && !Path::new(place).is_dir() {
                bail!("{place:?}: is no folder");
            }
            if self.verify_key.is_some() {
                bail!(
                    "--verify-key: got a folder as --place, expected a URL: a folder's statements are taken as they are"
                );
            }
            return Ok(Some(Contents::of_folder_with_sums(Path::new(place))?));
        }
        let key = match &self.verify_key {
            Some(path) => Some(std::fs::read(path).with_context(|| format!("{path:?}"))?),
            None => None,
        };
        let names = wanted.keys().map(String::as_str);
        Ok(Some(Contents::of_url(
            place,
            names,
            key.as_deref(),
            self.empty_place,
            context.fetcher,
            context.events,
        )?))
    }

    /// The versions that the release wants of each recipe, sorted.
    fn versions<'r>(
        &self,
        recipes: &'r [Recipe],
        wanted: &BTreeMap<String, ExtensionSelection>,
        lock: &Lock,
        asks: bool,
        context: BuildContext<'_>,
        failed: &mut Vec<String>,
    ) -> Versions<'r> {
        let ask = |url: &str| context.ask(url);
        let found = parallel::map(self.work.builds().max(4), recipes, |recipe| {
            let Some(wanted) = wanted.get(recipe.name().as_str()) else { return Ok(Vec::new()) };
            let mut found: Vec<Version> = wanted.versions.iter().map(|v| recipe.in_form(v)).collect();
            let own = lock.iter().map(|(key, _)| key);
            let own = own.filter(|k| k.name == recipe.name().as_str() && k.settings == wanted.settings);
            let pinned: Vec<Version> = own.map(|k| k.version.clone()).collect();
            if wanted.latest && asks && (self.update || pinned.is_empty()) {
                found.extend(super::super::lock::latest(recipe, &ask, context.events)?);
            } else if wanted.latest {
                if pinned.is_empty() && self.locked {
                    let text = format!("{}: no version is pinned", recipe.name());
                    context.events.event(Event::Warning(text.into()));
                }
                found.extend(versions::latest_pinned(recipe, pinned));
            }
            found.sort_by(|a, b| compare(a.as_str(), b.as_str()));
            found.dedup();
            Ok::<_, VersionsError>(found)
        });
        let (mut out, mut failures) = (Vec::new(), Failures::default());
        for (result, recipe) in found.into_iter().zip(recipes) {
            match result {
                Ok(versions) => out.push((recipe, versions)),
                Err(error) => failures.add(recipe.name().to_string(), error.into()),
            }
        }
        failed.extend(failures.tell(context));
        out
    }

    /// Pins what isn't, and leaves out what can't be.
    fn pin(
        &self,
        keys: &mut Vec<(&Recipe, Key)>,
        lock: &mut Lock,
        context: BuildContext<'_>,
        failed: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let unpinned: Vec<(&Recipe, Key)> =
            keys.iter().filter(|(_, k)| lock.get(k).is_none()).cloned().collect();
        let results = parallel::map(self.work.builds(), &unpinned, |(recipe, key)| context.pin(recipe, key));
        let (mut new, mut failures) = (false, Failures::default());
        for (result, (_, key)) in results.into_iter().zip(&unpinned) {
            match result {
                Ok(pins) => {
                    lock.insert(key.clone(), pins);
                    new = true;
                }
                Err(error) => {
                    failures.add(word(key), error.into());
                    keys.retain(|(_, k)| k != key);
                }
            }
        }
        failed.extend(failures.tell(context));
        if new {
            lock.write(&self.work.lock)?;
        }
        Ok(())
    }
}

/// Reports a problem with one extension of many.
pub(super) fn tell(error: &anyhow::Error, context: BuildContext<'_>) {
    let hint = error.chain().find_map(hint).map(|h| format!("; {h}")).unwrap_or_default();
    context.events.event(Event::Warning(format!("{}{hint}", cli::reasons(error.as_ref())).into()));
}

/// All builds that the release wants, sorted.
fn keys<'r>(
    config: &ReleaseConfig,
    wanted: &BTreeMap<String, ExtensionSelection>,
    versions: Versions<'r>,
) -> Vec<(&'r Recipe, Key)> {
    let mut out = Vec::new();
    for (recipe, versions) in versions {
        let settings = wanted.get(recipe.name().as_str()).map(|w| w.settings.clone()).unwrap_or_default();
        for version in versions {
            for &arch in recipe.architectures() {
                if config.architectures.as_ref().is_none_or(|list| list.contains(&arch)) {
                    let name = recipe.name().to_string();
                    let key = Key { name, version: version.clone(), arch, settings: settings.clone() };
                    out.push((recipe, key));
                }
            }
        }
    }
    out
}

/// What the release offers: what its file says, or the whole catalogue except recipes that need a parameter.
fn wanted(
    config: &ReleaseConfig,
    catalogue: &Catalogue,
) -> anyhow::Result<BTreeMap<String, ExtensionSelection>> {
    if let Some(extensions) = &config.extensions {
        let mut out = BTreeMap::new();
        for (name, wanted) in extensions {
            let name = catalogue.recipe(name)?.name().to_string();
            if out.insert(name.clone(), wanted.clone()).is_some() {
                bail!("the release file has {name} twice, once by a former name");
            }
        }
        return Ok(out);
    }
    let mut out = BTreeMap::new();
    for recipe in catalogue.recipes()? {
        let needs = recipe.parameters().values().any(|p| matches!(p.value, ParameterValue::Required));
        if !needs {
            let wanted =
                ExtensionSelection { latest: true, versions: Vec::new(), settings: Settings::default() };
            out.insert(recipe.name().to_string(), wanted);
        }
    }
    Ok(out)
}
