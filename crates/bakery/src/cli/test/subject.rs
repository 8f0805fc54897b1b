//! What is tested: images with their recipes' tests, and what these require.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use sysext::ExtensionName;
use tree::Arch;

use super::Args;
use crate::{
    cli::{SettingsArgs, build::plain_options, inspect},
    release::Contents,
};
use image::read;
use recipes::Catalogue;
use recipes::build::BuildPlan;
use recipes::context::BuildContext;
use recipes::lock::{Key, Lock, LockError};
use recipes::recipe::instance::{Instance, Requirement};
use recipes::recipe::{Recipe, Settings};
use recipes::version::Version;
use sysext::merge_test::Test;

/// An image that is tested.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub name: ExtensionName,
    pub version: Option<Version>,
    pub arch: Arch,
    pub image: PathBuf,
    /// Whether there is a recipe of its name.
    pub known: bool,
    pub tests: Vec<Test>,
    pub conflicts: Vec<String>,
    /// Images that have to be merged, too.
    pub required: Vec<(ExtensionName, PathBuf)>,
}

impl Subject {
    /// For people: `nebula v1.9.5`.
    pub(super) fn title(&self) -> String {
        match &self.version {
            Some(version) => format!("{} {version}", self.name),
            None => self.name.to_string(),
        }
    }

    pub(super) fn requires(&self) -> impl Iterator<Item = (&ExtensionName, &PathBuf)> {
        self.required.iter().map(|(name, path)| (name, path))
    }
}

/// What a user typed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    File(PathBuf),
    Recipe(String),
}

/// Finds or builds images.
pub(super) struct Finder<'a> {
    pub args: &'a Args,
    pub catalogue: &'a Catalogue,
    pub lock: &'a Lock,
    pub arch: Arch,
    pub context: BuildContext<'a>,
}

impl Finder<'_> {
    /// All that the arguments name. `scratch` takes what has to be built.
    pub(super) fn subjects(&self, scratch: &Path) -> anyhow::Result<Vec<Subject>> {
        if self.args.all {
            let keys = self.lock.iter().map(|(key, _)| key).filter(|key| key.arch == self.arch);
            let subjects: Vec<Subject> =
                keys.map(|key| self.pinned(key, scratch)).collect::<anyhow::Result<_>>()?;
            return match subjects.is_empty() {
                true => Err(self.not_pinned(format!("anything for {}", self.arch), None).into()),
                false => Ok(subjects),
            };
        }
        let words = words(&self.args.what, |word| self.catalogue.has(word))?;
        let settings = self.settings(&words)?;
        // Found first, so that nothing is built before a wrong word is reported.
        let mut keys = Vec::new();
        for (word, version) in &words {
            let Word::Recipe(name) = word else {
                keys.push(None);
                continue;
            };
            let recipe = self.catalogue.recipe(name)?;
            if !recipe.architectures().contains(&self.arch) {
                bail!("{name} is not for {}", self.arch);
            }
            let name = recipe.name().as_str();
            let newest = || self.lock.newest(name, self.arch, &settings).cloned();
            let version = version.as_ref().map(|version| recipe.in_form(version)).or_else(newest);
            let version =
                version.ok_or_else(|| self.not_pinned(format!("{name} {}", self.arch), Some(name)))?;
            let key = Key { name: name.to_owned(), version, arch: self.arch, settings: settings.clone() };
            self.lock.expect(&key, &self.args.work.lock)?;
            keys.push(Some(key));
        }
        let subject = |((word, version), key): (&(Word, Option<Version>), Option<Key>)| match (word, key) {
            (Word::File(path), _) => self.file(path, version.as_ref(), &settings, scratch),
            (_, Some(key)) => self.pinned(&key, scratch),
            (Word::Recipe(name), None) => bail!("{name}: is not pinned"),
        };
        words.iter().zip(keys).map(subject).collect()
    }

    fn settings(&self, words: &[(Word, Option<Version>)]) -> anyhow::Result<Settings> {
        let (set, without) = (self.args.set.clone(), self.args.without.clone());
        if words.len() > 1 && !(set.is_empty() && without.is_empty()) {
            bail!("--set and --without go with one extension, got {}", words.len());
        }
        let name = words.first().and_then(|(word, _)| match word {
            Word::Recipe(name) => Some(name.clone()),
            Word::File(_) => None,
        });
        let args = SettingsArgs { name, version: None, set, without, update: false };
        args.settings(|name| std::env::var(name).ok())
    }

    fn not_pinned(&self, what: String, name: Option<&str>) -> LockError {
        let keys = self.lock.iter().map(|(k, _)| k).filter(|k| name.is_none_or(|n| k.name == n));
        let path = self.args.work.lock.clone();
        LockError::NotPinned { what, path, pinned: keys.map(Key::to_string).collect() }
    }

    /// What is pinned, built unless it is there.
    fn pinned(&self, key: &Key, scratch: &Path) -> anyhow::Result<Subject> {
        let recipe = self.catalogue.recipe(&key.name)?;
        let (image, instance) = self.build(&recipe, key, scratch)?;
        self.subject(
            recipe.name().clone(),
            Some(key.version.clone()),
            image,
            Some((&recipe, &instance)),
            scratch,
        )
    }

    fn build(&self, recipe: &Recipe, key: &Key, scratch: &Path) -> anyhow::Result<(PathBuf, Instance)> {
        let pins = self.lock.expect(key, &self.args.work.lock)?;
        let options = plain_options;
        let here = self.args.images.as_deref().unwrap_or(Path::new("."));
        let options_here = options(here)?;
        let plan = BuildPlan::new(recipe, key, pins, &options_here)?;
        if self.args.report.dry_run {
            return Ok((plan.output().to_owned(), plan.instance().clone()));
        }
        if let Ok(Some(built)) = self.context.built(&plan, &options_here) {
            return Ok((built.path, plan.instance().clone()));
        }
        let (plan, options) = match &self.args.images {
            Some(_) => (plan, options_here),
            None => {
                // One extension may be pinned in two forms, which have one file name.
                let dir = tempfile::Builder::new().prefix("built-").tempdir_in(scratch);
                let options = options(&dir.with_context(|| format!("{scratch:?}"))?.keep())?;
                (BuildPlan::new(recipe, key, pins, &options)?, options)
            }
        };
        let built = self.context.build(&plan, &options)?;
        Ok((built.path, plan.instance().clone()))
    }

    /// Somebody's image. The recipe of its name, if there is one, has the tests.
    fn file(
        &self,
        path: &Path,
        version: Option<&Version>,
        settings: &Settings,
        scratch: &Path,
    ) -> anyhow::Result<Subject> {
        let contents = read(path, self.context.cache())?;
        let name = inspect::name_of(path, &contents.tree)?;
        if !self.catalogue.has(name.as_str()) {
            return self.subject(name, version.cloned(), path.to_owned(), None, scratch);
        }
        let recipe = self.catalogue.recipe(name.as_str())?;
        // A released image has its settings beside it.
        let released =
            Contents::record_beside(path)?.filter(|r| r.image.name == name.as_str()).map(|r| r.choices());
        let chosen = *settings != Settings::default();
        let settings = released.as_ref().filter(|_| !chosen).unwrap_or(settings);
        let (of_name, without) = inspect::numbered(path, &name).unzip();
        let mut settings = settings.clone();
        if released.is_none() && !chosen {
            settings.without.extend(without.unwrap_or_default());
        }
        let version = match version.cloned().or(of_name).map(|version| recipe.in_form(&version)) {
            Some(version) => version,
            None => bail!(
                "{path:?}: has no version in its name, expected {name}-VERSION-ARCH.raw, or the version behind it"
            ),
        };
        let key = Key {
            name: name.to_string(),
            version: version.clone(),
            arch: self.arch,
            settings: settings.clone(),
        };
        let instance = match self.lock.get(&key) {
            Some(pins) => {
                let options = plain_options(scratch)?;
                BuildPlan::new(&recipe, &key, pins, &options)?.instance().clone()
            }
            None => recipe.at(&version, self.arch, &settings)?,
        };
        self.subject(name, Some(version), path.to_owned(), Some((&recipe, &instance)), scratch)
    }

    fn subject(
        &self,
        name: ExtensionName,
        version: Option<Version>,
        image: PathBuf,
        recipe: Option<(&Recipe, &Instance)>,
        scratch: &Path,
    ) -> anyhow::Result<Subject> {
        let mut required = Vec::new();
        if let Some((_, instance)) = recipe {
            self.require(&instance.requires, &mut required, scratch)?;
        }
        Ok(Subject {
            name,
            version,
            arch: self.arch,
            image,
            known: recipe.is_some(),
            tests: recipe.map(|(_, instance)| instance.tests.clone()).unwrap_or_default(),
            conflicts: recipe.map(|(recipe, _)| recipe.conflicts().to_vec()).unwrap_or_default(),
            required,
        })
    }

    /// What is required, and what that requires in its turn.
    fn require(
        &self,
        requires: &[Requirement],
        found: &mut Vec<(ExtensionName, PathBuf)>,
        scratch: &Path,
    ) -> anyhow::Result<()> {
        for other in requires {
            if found.iter().any(|(name, _)| name.as_str() == other.extension) {
                continue;
            }
            let recipe = self.catalogue.recipe(&other.extension)?;
            let fits = |key: &&Key| {
                let version = other.version.as_deref().is_none_or(|v| v == key.version.as_str());
                key.name == recipe.name().as_str() && key.arch == self.arch && version
            };
            let pinned: Vec<&Key> = self.lock.iter().map(|(key, _)| key).filter(fits).collect();
            // As few settings as there may be, then the newest.
            let best = pinned.into_iter().min_by(|a, b| {
                let plain = a.settings.cmp(&b.settings);
                plain.then_with(|| recipes::version::compare(b.version.as_str(), a.version.as_str()))
            });
            let key = best.cloned().ok_or_else(|| {
                let version = other.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
                self.not_pinned(format!("{}{version} {}", other.extension, self.arch), Some(&other.extension))
            })?;
            let (image, instance) = self.build(&recipe, &key, scratch)?;
            found.push((recipe.name().clone(), image));
            self.require(&instance.requires, found, scratch)?;
        }
        Ok(())
    }
}

/// Sorts what was typed: a word behind a name or a file may be its version.
fn words(typed: &[String], is_recipe: impl Fn(&str) -> bool) -> anyhow::Result<Vec<(Word, Option<Version>)>> {
    let mut out: Vec<(Word, Option<Version>)> = Vec::new();
    for word in typed {
        // A path is a file even if it isn't there: the error names it.
        let path = Path::new(word);
        if is_recipe(word) {
            out.push((Word::Recipe(word.clone()), None));
            continue;
        }
        if word.contains('/') || word.ends_with(".raw") || path.exists() {
            out.push((Word::File(path.to_owned()), None));
            continue;
        }
        let number = word.strip_prefix('v').unwrap_or(word).starts_with(|c: char| c.is_ascii_digit());
        match out.last_mut() {
            Some((_, version @ None)) if number => *version = Some(word.parse()?),
            // The catalogue knows what to suggest.
            _ => out.push((Word::Recipe(word.clone()), None)),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_name_or_a_file_or_a_version() {
        let sort = |typed: &str| {
            let typed: Vec<String> = typed.split(' ').map(str::to_owned).collect();
            let words = words(&typed, |w| ["docker", "nebula"].contains(&w)).unwrap();
            let tell = |(word, version): &(Word, Option<Version>)| {
                let version = version.as_ref().map(|v| format!(" at {v}")).unwrap_or_default();
                match word {
                    Word::File(path) => format!("file {}{version}", path.display()),
                    Word::Recipe(name) => format!("{name}{version}"),
                }
            };
            words.iter().map(tell).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(sort("docker 27.5.1 nebula v1.9.5"), "docker at 27.5.1, nebula at v1.9.5");
        assert_eq!(sort("docker nebula"), "docker, nebula");
        assert_eq!(sort("x.raw 1.2 ./y docker"), "file x.raw at 1.2, file ./y, docker");
        assert_eq!(sort("nebulla 1.2 1.3"), "nebulla at 1.2, 1.3");
    }
}
