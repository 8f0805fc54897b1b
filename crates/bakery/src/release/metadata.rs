//! The metadata of a release: manifests, update configuration, the page and the note. All of it follows from the records.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::directory::{Contents, DirectoryError, MANIFEST, MANIFEST_SIGNATURE, add_sums, list, put};
use super::listing::{self, LISTING};
use super::record::Record;
use super::sbom::timestamp;
use super::sums::Sums;
use super::{ReleaseConfig, notes};
use crate::{
    catalogue_pages,
    site::{self, About, Image, Page, SiteEntry, Snippet},
    snippets::{Machine, Update},
    sysupdate::{Form, NOOP, Stream, Transfer, directory, streams},
};
use recipes::format::Category;
use recipes::recipe::Recipe;
use recipes::verified::{Against, Verified};
use recipes::version::{Version, compare};
use signature::{ReleaseSigner, SignatureError};
use sysext::lint::version_forms;

/// Begins the name of an entry without a file, before a date.
const BEST_BEFORE: &str = "BEST-BEFORE-";
/// Seconds.
const DAY: i64 = 24 * 60 * 60;

/// Why metadata can't be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum MetadataError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error(transparent)]
    Forms(#[from] FormsError),
    /// A day that has no name.
    #[error("best-before-days: {0}")]
    Time(#[from] jiff::Error),
    /// The data of the page.
    #[error("internal error: page: {0}")]
    Page(#[from] serde_json::Error),
}

/// An extension of a release has versions with and without a `v`. systemd considers one that begins with a digit newer, so
/// hosts would go to it and stay.
#[derive(Debug, thiserror::Error)]
#[error("{name} has versions of both forms, {plain} and {with_v}: hosts would consider {plain} newer")]
pub(crate) struct FormsError {
    pub name: String,
    pub plain: String,
    pub with_v: String,
    /// The one that isn't in the recipe's form, if there is a recipe.
    pub old: Option<String>,
}

/// Checks that all versions of an extension have one form. `images` are those of a release.
///
/// # Errors
/// The first extension that has both.
pub(crate) fn check_forms<'a>(
    images: impl IntoIterator<Item = (&'a str, &'a Version)>,
    recipes: impl Fn(&str) -> Option<&'a Recipe>,
) -> Result<(), FormsError> {
    let pairs = images.into_iter().map(|(name, version)| (name, version.as_str()));
    let Some((name, plain, with_v)) = version_forms(pairs).into_iter().next() else { return Ok(()) };
    let is_old = |text: &&str| {
        let version: Option<Version> = text.parse().ok();
        recipes(name).zip(version).is_some_and(|(recipe, version)| recipe.in_form(&version) != version)
    };
    let old = [plain, with_v].into_iter().find(is_old).map(str::to_owned);
    Err(FormsError { name: name.to_owned(), plain: plain.to_owned(), with_v: with_v.to_owned(), old })
}

/// What the metadata of a release is made from, besides its folder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReleaseMetadata<'a> {
    pub config: &'a ReleaseConfig,
    /// Recipes of the extensions; one without a recipe has its name and images alone.
    pub recipes: &'a BTreeMap<String, Recipe>,
    pub signer: Option<&'a ReleaseSigner>,
    /// What is hosted already and not in this folder.
    pub hosted: Option<&'a Contents>,
    /// Seconds since 1970.
    pub now: i64,
    /// The day on which new images are released, in seconds since 1970.
    pub today: i64,
}

impl ReleaseMetadata<'_> {
    /// Writes the metadata of a folder. Returns whether any of it changed.
    ///
    /// # Errors
    /// What can't be read or written.
    pub(crate) fn write(&self, dir: &Path) -> Result<bool, MetadataError> {
        let own = Contents::of_folder(dir)?;
        let mut all = own.records.clone();
        for (file, record) in self.hosted.iter().flat_map(|h| &h.records) {
            all.entry(file.clone()).or_insert_with(|| record.clone());
        }
        let images = all.values().map(|record| (record.image.name.as_str(), &record.image.version));
        check_forms(images, |name| self.recipes.get(name))?;
        let days = self.days(&own, &all)?;
        let mut changed = put(&dir.join("noop.conf"), NOOP.as_bytes())?;
        // Of this folder's own files: systemd-sysupdate refuses a manifest whole that has a name with a slash (systemd #41977).
        let mut whole = Sums::default();
        whole.0.insert("noop.conf".into(), digest(NOOP.as_bytes()));
        let mut extensions: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
        for record in all.values() {
            extensions.entry(&record.image.name).or_default().push(record);
        }
        extensions.values_mut().for_each(|records| newest_first(records));
        let page = self.page(&extensions, &days);
        for entry in &page.entries {
            let records = extensions.get(entry.name.as_str()).map_or(&[][..], Vec::as_slice);
            changed |= self.extension(dir, (&page, entry), records, &own)?;
        }
        changed |= without_images(dir, &extensions)?;
        let sorted: Vec<Record> = extensions.values().flatten().map(|r| (*r).clone()).collect();
        // What is new is only known beside what is old.
        let new: Vec<String> = match self.hosted {
            Some(hosted) => {
                own.records.keys().filter(|f| !hosted.records.contains_key(*f)).cloned().collect()
            }
            None => Vec::new(),
        };
        let ReleaseConfig { title, base_url, .. } = self.config;
        let note = notes::markdown(title, base_url, &sorted, &new);
        let texts =
            [("RELEASE.md", note), (site::INDEX, site::html(&page)?), (site::FEED, site::atom(&page))];
        for (file, text) in texts {
            changed |= put(&dir.join(file), text.as_bytes())?;
            whole.0.insert(file.into(), digest(text.as_bytes()));
        }
        Ok(changed | self.manifest(dir, &whole)?)
    }

    /// The days on which images were released, by file name. Those that were there before keep theirs, also if it isn't known.
    fn days(
        &self,
        own: &Contents,
        all: &BTreeMap<String, Record>,
    ) -> Result<BTreeMap<String, Option<String>>, MetadataError> {
        let today = day(self.today)?;
        let before = |file: &String| {
            let hosted = self.hosted.and_then(|h| h.days.get(file));
            own.days.get(file).filter(|day| day.is_some()).or(hosted).or(own.days.get(file)).cloned()
        };
        let dated = |file: &String| (file.clone(), before(file).unwrap_or_else(|| Some(today.clone())));
        Ok(all.keys().map(dated).collect())
    }

    /// The metadata of an extension.
    fn extension(
        &self,
        dir: &Path,
        (page, entry): (&Page, &SiteEntry),
        records: &[&Record],
        own: &Contents,
    ) -> Result<bool, MetadataError> {
        let name = entry.name.as_str();
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir).map_err(|source| DirectoryError::Io { path: dir.clone(), source })?;
        let hosted = self.hosted.and_then(|h| h.sums.get(name)).cloned();
        let mut sums = hosted.unwrap_or_default();
        let mut changed = false;
        for record in records.iter().filter(|r| own.records.contains_key(&r.image.to_string())) {
            add_sums(&mut sums, &dir, record)?;
        }
        let mut configuration = BTreeSet::new();
        let has_streams = self.recipes.get(name).is_some_and(|r| !r.streams().is_empty());
        let minors = has_streams.then(|| streams(records.iter().map(|r| r.image.version.as_str())));
        for stream in std::iter::once(None).chain(minors.into_iter().flatten().map(Some)) {
            let transfer = self.transfer(name, stream);
            for form in [Form::Conf, Form::Transfer] {
                let (file, text) = (transfer.file_name(form), transfer.text());
                changed |= put(&dir.join(&file), text.as_bytes())?;
                sums.0.insert(file.clone(), digest(text.as_bytes()));
                configuration.insert(file);
            }
        }
        changed |= remove(&dir, |file| is_configuration(name, file) && !configuration.contains(file))?;
        let whole = site::extension(page, entry)?.map(|text| (site::INDEX, text));
        for (file, text) in whole.into_iter().chain([(LISTING, listing::text(entry)?)]) {
            changed |= put(&dir.join(file), text.as_bytes())?;
            sums.0.insert(file.into(), digest(text.as_bytes()));
        }
        Ok(changed | self.manifest(&dir, &sums)?)
    }

    fn transfer(&self, name: &str, stream: Option<Stream>) -> Transfer {
        let base_url = directory(&self.config.base_url, name);
        Transfer { name: name.to_owned(), base_url, stream, verify: self.signer.is_some() }
    }

    fn manifest(&self, dir: &Path, sums: &Sums) -> Result<bool, MetadataError> {
        let mut sums = sums.clone();
        if let Some(entry) = self.best_before(dir)? {
            sums.0.insert(entry, digest(b""));
        }
        let text = sums.text();
        let signature = dir.join(MANIFEST_SIGNATURE);
        let changed = put(&dir.join(MANIFEST), text.as_bytes())?;
        match self.signer {
            // Some algorithms give another signature each time: one that holds stays.
            Some(signer) if changed || !signer.has_signed(&signature, text.as_bytes()) => {
                Ok(put(&signature, &signer.sign(text.as_bytes(), 0)?)? || changed)
            }
            Some(_) => Ok(changed),
            None => {
                // A signature of before is of another manifest, or of nobody's.
                let gone = std::fs::remove_file(&signature).is_ok();
                Ok(changed || gone)
            }
        }
    }

    /// The entry that names the day up to which hosts believe a manifest: systemd-sysupdate 260 refuses it afterwards, so that a
    /// mirror that is frozen is noticed. The previous date is kept until half of the period has passed, so that not every run
    /// rewrites the manifest.
    fn best_before(&self, dir: &Path) -> Result<Option<String>, MetadataError> {
        let Some(days) = self.config.best_before_days.map(|days| i64::from(days.get())) else {
            return Ok(None);
        };
        let until = |days: i64| -> Result<String, MetadataError> {
            Ok(format!("{BEST_BEFORE}{}", day(self.now.saturating_add(days.saturating_mul(DAY)))?))
        };
        let (soonest, latest) = (until(days / 2)?, until(days)?);
        let path = dir.join(MANIFEST);
        let old = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(DirectoryError::Io { path, source }.into()),
        };
        // Dates of this form are in the order of their texts.
        let entries = old.lines().filter_map(|line| line.split_once("  ").map(|(_, name)| name));
        let kept = entries
            .filter(|name| name.starts_with(BEST_BEFORE))
            .find(|name| (soonest.as_str()..=latest.as_str()).contains(name));
        Ok(Some(kept.map_or(latest.clone(), str::to_owned)))
    }

    fn page(
        &self,
        extensions: &BTreeMap<&str, Vec<&Record>>,
        days: &BTreeMap<String, Option<String>>,
    ) -> Page {
        let entries = extensions.iter().map(|(name, records)| self.entry(name, records, days)).collect();
        let ReleaseConfig { title, base_url, .. } = self.config;
        Page {
            title: title.clone(),
            base_url: base_url.clone(),
            // Images that are hosted elsewhere aren't in this folder.
            links: if self.hosted.is_some() {
                format!("{}/", base_url.trim_end_matches('/'))
            } else {
                String::new()
            },
            entries,
            signed: self.signer.is_some(),
        }
    }

    fn entry(&self, name: &str, records: &[&Record], days: &BTreeMap<String, Option<String>>) -> SiteEntry {
        let recipe = self.recipes.get(name);
        // Nothing may jump over a minor version by itself where there are streams, nor be restarted unasked.
        let stream = |r: &Record| {
            recipe.filter(|p| !p.streams().is_empty()).and_then(|_| Stream::of(r.image.version.as_str()))
        };
        let image = |r: &&Record| Image {
            series: stream(r).map(|s| s.beginning().to_owned()).unwrap_or_default(),
            version: r.image.version.to_string(),
            arch: r.image.arch.systemd().to_owned(),
            file: r.image.to_string(),
            size: r.size,
            sha256: r.sha256.hex(),
            released: days.get(&r.image.to_string()).cloned().flatten(),
        };
        let images: Vec<Image> = records.iter().map(image).collect();
        let first = records[0];
        let (file, sha256) = (first.image.to_string(), first.sha256.hex());
        let machine = Machine {
            name,
            file: &file,
            sha256: Some(&sha256),
            base_url: &self.config.base_url,
            verify: self.signer.is_some(),
            masked: recipe.map_or(&[], Recipe::masks),
            update: None,
        };
        let stays = stream(first);
        let then = if stays.is_some() { Update::Reboot } else { Update::Refresh };
        let update = Machine { update: Some((then, stays.clone())), ..machine.clone() };
        let base = self.config.base_url.trim_end_matches('/');
        let curl = format!(
            "curl -fLO {base}/{name}/{file}\necho '{sum}  {file}' | sha256sum --check\n\
             sudo install -Dm644 {file} /opt/extensions/{name}/{file}\n\
             sudo mkdir -p /etc/extensions\n\
             sudo ln -sfn /opt/extensions/{name}/{file} /etc/extensions/{name}.raw\nsudo systemd-sysext refresh\n",
            sum = sha256,
        );
        let snippet = |title: &str, text: String| Snippet { title: title.into(), text };
        SiteEntry {
            name: name.to_owned(),
            summary: recipe.map(|r| r.summary().to_owned()).unwrap_or_default(),
            homepage: recipe.and_then(Recipe::homepage).unwrap_or_default().to_owned(),
            licence: recipe.and_then(Recipe::licence).unwrap_or_default().to_owned(),
            verified: verified(first),
            category: recipe.and_then(Recipe::category).map_or("", Category::label).to_owned(),
            keywords: recipe.map_or(&[][..], Recipe::keywords).to_vec(),
            about: recipe.map(about).unwrap_or_default(),
            images,
            snippets: vec![
                snippet("Butane", machine.butane()),
                snippet("Butane with updates", update.butane()),
                snippet("systemd-sysupdate", self.transfer(name, stays).text()),
                snippet("curl", curl),
            ],
        }
    }
}

/// What the recipe says of its extension.
fn about(recipe: &Recipe) -> About {
    let (starts, units): (Vec<_>, Vec<_>) =
        catalogue_pages::units(recipe).into_iter().partition(|unit| unit.upheld);
    let names = |units: Vec<catalogue_pages::Unit>| units.into_iter().map(|unit| unit.name).collect();
    About {
        starts: names(starts),
        units: names(units),
        conflicts: recipe.conflicts().to_vec(),
        requires: recipe.as_typed().requires.iter().map(|r| r.get_ref().extension.clone()).collect(),
        files: catalogue_pages::files(recipe),
        aliases: recipe.aliases().to_vec(),
        notes: recipe.notes().to_owned(),
    }
}

/// `NAME.conf`, `NAME-vX.Y.transfer`: what was written for images that may be gone.
fn is_configuration(name: &str, file: &str) -> bool {
    let stem = file.strip_suffix(".conf").or_else(|| file.strip_suffix(".transfer"));
    let rest = stem.and_then(|s| s.strip_prefix(name));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("-v"))
}

/// Removes the metadata of extensions whose images are all gone; whatever else is in their folders stays.
fn without_images(dir: &Path, extensions: &BTreeMap<&str, Vec<&Record>>) -> Result<bool, MetadataError> {
    let mut changed = false;
    for (path, is_dir) in list(dir)? {
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
        if !is_dir || extensions.contains_key(name) || !path.join(MANIFEST).is_file() {
            continue;
        }
        let pages = [site::INDEX, LISTING];
        changed |= remove(&path, |file| {
            is_configuration(name, file) || file.starts_with(MANIFEST) || pages.contains(&file)
        })?;
        // Only if nothing is left in it.
        let _ = std::fs::remove_dir(&path);
    }
    Ok(changed)
}

fn remove(dir: &Path, unwanted: impl Fn(&str) -> bool) -> Result<bool, MetadataError> {
    let mut changed = false;
    for (path, is_dir) in list(dir)? {
        if !is_dir && path.file_name().and_then(|n| n.to_str()).is_some_and(&unwanted) {
            std::fs::remove_file(&path)
                .map_err(|source| DirectoryError::Io { path: path.clone(), source })?;
            changed = true;
        }
    }
    Ok(changed)
}

/// Versions as systemd orders them, the newest first; x86-64 before arm64.
fn newest_first(records: &mut [&Record]) {
    records.sort_by(|a, b| {
        let (a, b) = (&a.image, &b.image);
        let order = compare(b.version.as_str(), a.version.as_str());
        order.then_with(|| b.arch.systemd().cmp(a.arch.systemd()))
    });
}

/// How the inputs of an image were verified, in a few words.
fn verified(record: &Record) -> String {
    let kind = |verified: &Verified| match (&verified.digest, &verified.signature) {
        (Against::Nothing(_), _) => "the lock file",
        // Other versions of this program may say why in other words.
        (Against::Other(text), _) if text.starts_with("unchecked") => "the lock file",
        (_, Some(_)) => "checksum and signature",
        (Against::GithubApi, None) => "digest of the release",
        (Against::PackageManager, None) => "the distribution's package manager",
        (Against::Checksums(_) | Against::Image | Against::Other(_), None) => "checksum",
    };
    let mut kinds: Vec<&str> = record.inputs.iter().map(|i| kind(&i.verified)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.join(", ")
}

/// A day, as in `2026-11-27`, of a time in seconds since 1970.
fn day(seconds: i64) -> Result<String, jiff::Error> {
    Ok(timestamp(seconds)?.split('T').next().unwrap_or_default().to_owned())
}

fn digest(text: &[u8]) -> String {
    store::Digest::of(text).hex()
}
