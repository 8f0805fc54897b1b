//! Building: from a recipe and its pins to an image. [`BuildPlan::new`] decides, [`BuildContext::build`] acts.

mod compile;
mod crates;
mod digest;
mod options;
mod stamp;

pub use options::{BuildOptions, Destination, ReleaseOptions};

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use image::ImageError;
use sandbox::SandboxError;
use store::{CacheError, Digest};
use sysext::extension::Finding;
use sysext::extension::unit_programs::is_unit;
use sysext::lint::needs::{self, Needs};
use sysext::{Extension, ExtensionError, ExtensionName, ExtensionOptions, RequestError};
use tree::{Event, PathError, StaticPath, Tree, TreeError, TreePath};

use crate::{
    assemble::{self, AssembleError, BUILD, Input},
    checksum::Checksum,
    context::{BuildContext, ImageUseError},
    fetch::{DownloadedFile, FetchError, FileRequest},
    lock::{Key, Packages, Pins},
    packages::PackagesError,
    recipe::instance::{Archive, BUILD_TABLE, Download, IMAGE_TABLE, Installed, Instance},
    recipe::{InstanceError, Recipe},
    unpack::{UnpackError, UnpackOptions, unpack},
};
use compile::Source;
pub use crates::CratesError;
use digest::BuildInputs;
use stamp::Stamp;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct BuildError {
    /// Name, version and architecture.
    pub what: String,
    /// Why.
    #[source]
    pub cause: Box<BuildCause>,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum BuildCause {
    /// The recipe can't be followed.
    #[error(transparent)]
    Instance(#[from] Box<InstanceError>),
    /// The lock is of another recipe.
    #[error("{what} is pinned as {got}, the recipe has {expected}")]
    Stale {
        /// A download or image.
        what: String,
        got: String,
        expected: String,
    },
    /// A plan has a pin for all that it takes.
    #[error("internal error: {what} has no pin in the plan of this build")]
    Unpinned {
        /// A download or image.
        what: String,
    },
    /// An invariant of this module is violated.
    #[error("internal error: {0}")]
    Internal(&'static str),
    /// A download can't be had, or isn't what was pinned.
    #[error(transparent)]
    Fetch(#[from] Box<FetchError>),
    /// A download is no archive.
    #[error("{url}: {source}")]
    Unpack { url: String, source: Box<UnpackError> },
    /// A download isn't laid out as the recipe says.
    #[error("{}{source}", .url.as_ref().map(|u| format!("{u}: ")).unwrap_or_default())]
    Assemble { url: Option<String>, source: Box<AssembleError> },
    /// What a source's Cargo.lock pins can't be had.
    #[error("source {id}: {source}")]
    Crates { id: String, source: Box<CratesError> },
    /// An image, or what ran in it.
    #[error(transparent)]
    ImageUse(#[from] ImageUseError),
    /// Packages can't be installed in an image.
    #[error(transparent)]
    Packages(#[from] Box<PackagesError>),
    /// What flix was to take out isn't there.
    #[error(transparent)]
    Request(#[from] Box<RequestError>),
    /// flix can't plan it.
    #[error(transparent)]
    FlixPlan(#[from] Box<flix::plan::PlanError>),
    /// flix can't do it.
    #[error(transparent)]
    FlixBuild(#[from] Box<flix::plan::BuildError>),
    /// What services need can't be found.
    #[error(transparent)]
    Services(#[from] Box<services::ServicesError>),
    /// flatwrap can't do it.
    #[error(transparent)]
    Flatwrap(#[from] Box<flatwrap::PlanError>),
    /// The host would be broken.
    #[error(transparent)]
    Extension(#[from] Box<ExtensionError>),
    /// It isn't one for its host.
    #[error(transparent)]
    Target(#[from] Box<host_check::TargetError>),
    /// Values of the release file.
    #[error(transparent)]
    Release(#[from] sysext::extension::ReleaseError),
    /// Names that an extension can't have.
    #[error(transparent)]
    Name(#[from] sysext::extension::NameError),
    /// The image can't be written.
    #[error(transparent)]
    Image(#[from] Box<ImageError>),
    #[error(transparent)]
    Cache(#[from] Box<CacheError>),
    /// A unit is to be restarted, and isn't there.
    #[error("restart: the extension has no unit {unit:?}")]
    NoUnit {
        /// As the recipe has it.
        unit: String,
    },
    /// A path that Linux doesn't take.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Something stands in the way.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The output can't be looked at.
    #[error("{path:?}: {source}")]
    Io {
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<InstanceError> for BuildCause {
    fn from(e: InstanceError) -> Self {
        BuildCause::Instance(Box::new(e))
    }
}

impl From<FetchError> for BuildCause {
    fn from(e: FetchError) -> Self {
        BuildCause::Fetch(Box::new(e))
    }
}

impl From<ImageError> for BuildCause {
    fn from(e: ImageError) -> Self {
        BuildCause::Image(Box::new(e))
    }
}

impl From<RequestError> for BuildCause {
    fn from(e: RequestError) -> Self {
        BuildCause::Request(Box::new(e))
    }
}

impl From<ExtensionError> for BuildCause {
    fn from(e: ExtensionError) -> Self {
        BuildCause::Extension(Box::new(e))
    }
}

impl From<CacheError> for BuildCause {
    fn from(e: CacheError) -> Self {
        BuildCause::Cache(Box::new(e))
    }
}

impl From<SandboxError> for BuildCause {
    fn from(e: SandboxError) -> Self {
        BuildCause::ImageUse(e.into())
    }
}

/// What is done for one image. Nothing of it needs the network or upstream's files to be decided.
#[derive(Debug, Clone)]
pub struct BuildPlan {
    key: Key,
    instance: Instance,
    pins: Pins,
    name: ExtensionName,
    output: PathBuf,
    digest: Digest,
}

/// What became of a plan.
#[derive(Debug, Clone)]
pub struct Built {
    /// What was built.
    pub key: Key,
    /// The image.
    pub path: PathBuf,
    /// Bytes.
    pub bytes: u64,
    /// 64 hex digits; none for directories.
    pub sha256: Option<String>,
    /// Whether it was there already.
    pub kept: bool,
    /// What the lint has to say.
    pub findings: Vec<Finding>,
}

impl BuildPlan {
    /// Decides on a build.
    ///
    /// # Errors
    /// The recipe can't be followed, or the pins are of another one.
    pub fn new(
        recipe: &Recipe,
        key: &Key,
        pins: &Pins,
        options: &BuildOptions,
    ) -> Result<BuildPlan, BuildError> {
        Self::decide(recipe, key, pins, options)
            .map_err(|cause| BuildError { what: key.to_string(), cause: Box::new(cause) })
    }

    fn decide(
        recipe: &Recipe,
        key: &Key,
        pins: &Pins,
        options: &BuildOptions,
    ) -> Result<BuildPlan, BuildCause> {
        let mut settings = key.settings.clone();
        for (name, value) in &pins.found {
            settings.parameters.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let instance = recipe.at(&key.version, key.arch, &settings)?;
        for download in &instance.downloads {
            let got = pins.inputs.get(&download.id).map_or("nothing", |input| input.url.as_str());
            if got != download.url {
                let (what, got) = (format!("download {}", download.id), got.to_owned());
                return Err(BuildCause::Stale { what, got, expected: download.url.clone() });
            }
        }
        let images =
            [instance.build.as_ref().map(|b| &b.image), instance.image.as_ref().map(|i| &i.reference)];
        if let Some(image) = images.into_iter().flatten().find(|image| !pins.images.contains_key(*image)) {
            return Err(BuildCause::Stale {
                what: "image".to_owned(),
                got: "nothing".to_owned(),
                expected: image.clone(),
            });
        }
        for Installed { table, names, .. } in instance.packages() {
            let pinned = pins.packages.get(table).map(|packages| packages.names.as_slice());
            if pinned != Some(names) {
                let got = pinned.map_or("nothing".to_owned(), |names| names.join(", "));
                let what = format!("package list of [{table}]");
                return Err(BuildCause::Stale { what, got, expected: names.join(", ") });
            }
        }
        let output = Self::output_of(key, options)?;
        let name = recipe.name().clone();
        let digest = BuildInputs { name: &name, instance: &instance, pins, options }.digest();
        Ok(BuildPlan { key: key.clone(), instance, pins: pins.clone(), name, output, digest })
    }

    fn output_of(key: &Key, options: &BuildOptions) -> Result<PathBuf, BuildCause> {
        let stem = match options.destination {
            Destination::Release(_) => key.image_file().stem(),
            Destination::File(_) | Destination::Directory(_) => key.variant_stem(),
        };
        let file = format!("{}{}", stem.parse::<ExtensionName>()?, options.image.format.suffix());
        Ok(options.destination.path(Path::new(&file)))
    }

    /// Where the image of a build goes, which need not be pinned.
    ///
    /// # Errors
    /// A name that no file can have.
    pub fn preview(key: &Key, options: &BuildOptions) -> Result<PathBuf, BuildError> {
        Self::output_of(key, options)
            .map_err(|cause| BuildError { what: key.to_string(), cause: Box::new(cause) })
    }

    /// What is built.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The recipe, decided.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Where the image goes.
    pub fn output(&self) -> &Path {
        &self.output
    }
}

impl BuildContext<'_> {
    /// Makes the image, unless it is there already.
    ///
    /// # Errors
    /// Inputs that aren't what was pinned or aren't laid out as the recipe says; an extension that would break its host; no
    /// room. Nothing is left behind then.
    pub fn build(&self, plan: &BuildPlan, options: &BuildOptions) -> Result<Built, BuildError> {
        let failed = |cause| BuildError { what: plan.key.to_string(), cause: Box::new(cause) };
        if let Some(built) = self.built(plan, options).map_err(failed)? {
            return Ok(built);
        }
        self.make(plan, options).map_err(failed)
    }

    /// The existing image, if it is up to date.
    pub fn built(&self, plan: &BuildPlan, options: &BuildOptions) -> Result<Option<Built>, BuildCause> {
        // What a host has isn't part of the plan.
        let for_host = options.target.as_ref().is_some_and(|target| target.host.is_some());
        let stamp = Stamp::find(self.cache(), &plan.output)?
            .filter(|s| s.plan == plan.digest && !options.rebuild && !for_host);
        let Some(stamp) = stamp else { return Ok(None) };
        if options.verify && hash(&plan.output)? != stamp.sha256 {
            let text = format!("{}: isn't what was built, building it again", plan.output.display());
            self.events.event(Event::Warning(text.into()));
            return Ok(None);
        }
        let (path, bytes, sha256) = (plan.output.clone(), stamp.size, Some(stamp.sha256));
        Ok(Some(Built { key: plan.key.clone(), path, bytes, sha256, kept: true, findings: Vec::new() }))
    }

    fn make(&self, plan: &BuildPlan, options: &BuildOptions) -> Result<Built, BuildCause> {
        self.events.event(Event::Step(format!("building {}", plan.key).into()));
        let (tree, mut findings) = self.tree(plan, options.epoch)?;
        const UNITS: StaticPath = StaticPath::new("/usr/lib/systemd/system");
        let units = UNITS.path();
        let restarted = plan.instance.restart.iter().chain(&plan.instance.reload_or_restart);
        for unit in restarted {
            // A unit of upstream's may be where others aren't put.
            let at =
                |dir: &str| Ok::<_, PathError>(tree.get(&TreePath::new(format!("{dir}/{unit}"))?).is_some());
            if !at("/usr/lib/systemd/system")? && !at("/usr/local/lib/systemd/system")? {
                return Err(BuildCause::NoUnit { unit: unit.clone() });
            }
        }
        let has_units = tree.subtree(&units).any(|(_, n)| !n.is_dir());
        let reload = plan.instance.reload.unwrap_or(has_units);
        let release = options.release.release(plan.key.arch, reload, &plan.instance)?;
        if release.is_any() {
            // What flix knows of the image, it knows better.
            let known: Vec<Option<TreePath>> = findings.iter().map(|f| f.path.clone()).collect();
            let needs = needs::findings(&Needs::of(&tree), &plan.instance.host_libraries);
            findings.extend(needs.into_iter().filter(|f| !known.contains(&f.path)));
        }
        let allow: BTreeSet<String> = options.allow.iter().chain(&plan.instance.allow).cloned().collect();
        let extension_options = ExtensionOptions { epoch: options.epoch, allow, findings };
        let mut extension = Extension::new(tree, plan.name.clone(), release, &extension_options)?;
        if let Some(target) = &options.target {
            target.apply(&mut extension, &extension_options.allow, self.events).map_err(Box::new)?;
        }
        let written = extension.write_image(&plan.output, &options.image, self.events)?;
        if let Some(sha256) = &written.sha256 {
            let io = |source| BuildCause::Io { path: plan.output.clone(), source };
            Stamp::of(&plan.output, plan.digest, sha256).map_err(io)?.write(self.cache(), &plan.output)?;
        }
        Ok(Built {
            key: plan.key.clone(),
            path: written.path,
            bytes: written.bytes,
            sha256: written.sha256,
            kept: false,
            findings: extension.findings().to_vec(),
        })
    }

    /// The extension's tree, and what is to be said of it beyond what the lint finds.
    ///
    /// # Errors
    /// As [`BuildContext::build`].
    pub fn tree(&self, plan: &BuildPlan, epoch: i64) -> Result<(Tree, Vec<Finding>), BuildCause> {
        let instance = &plan.instance;
        let unpinned = |what: &str| BuildCause::Unpinned { what: what.to_owned() };
        let wants = instance.downloads.iter().map(|d| {
            let pin = plan.pins.inputs.get(&d.id).ok_or_else(|| unpinned(&d.id))?;
            let checksums = vec![Checksum::Sha256(pin.sha256.0)];
            Ok(FileRequest { url: d.url.clone(), checksums, size: Some(pin.size) })
        });
        let wants: Vec<FileRequest> = wants.collect::<Result<_, BuildCause>>()?;
        let fetched = self.fetcher.get_all(&wants, self.events)?;
        let mut inputs = BTreeMap::new();
        for (download, file) in instance.downloads.iter().zip(&fetched) {
            inputs.insert(download.id.clone(), self.input(download, file)?);
        }
        let pinned = |image: &str| {
            let pin = plan.pins.images.get(image).ok_or_else(|| unpinned(image))?;
            Ok::<_, BuildCause>(self.pinned_image(image, &pin.0, plan.key.arch)?)
        };
        let none = Packages::default();
        let packages = |table: &str| plan.pins.packages.get(table).unwrap_or(&none);
        if let Some(build) = &instance.build {
            let sources = build.sources.iter().map(|id| {
                let (pin, input) = (plan.pins.inputs.get(id), inputs.get(id));
                let (pin, input) = pin.zip(input).ok_or_else(|| unpinned(id))?;
                Ok(Source { id, input, digest: pin.sha256.0 })
            });
            let sources: Vec<Source<'_>> = sources.collect::<Result<_, BuildCause>>()?;
            let vendored = build.crates_of.as_ref().map(|id| {
                let Some(Input::Tree(source)) = inputs.get(id) else { return Err(unpinned(id)) };
                crates::vendor(source, *self)
                    .map_err(|source| BuildCause::Crates { id: id.clone(), source: Box::new(source) })
            });
            let vendored = vendored.transpose()?;
            let rootfs = pinned(&build.image)?;
            let (vendored, packages) = (vendored.as_ref(), packages(BUILD_TABLE));
            let out = compile::compile(build, rootfs, &sources, vendored, packages, epoch, *self)?;
            inputs.insert(BUILD.to_owned(), Input::Tree(out));
        }
        let mut extracted = match &instance.image {
            Some(image) => {
                let rootfs = pinned(&image.reference)?;
                let (has_units, packages) = (instance.files.keys().any(is_unit), packages(IMAGE_TABLE));
                compile::extract(image, rootfs, &plan.name, has_units, packages, *self)?
            }
            None => compile::Extracted::default(),
        };
        let base = std::mem::take(&mut extracted.tree);
        let mut tree = assemble::assemble(instance, &inputs, base).map_err(|source| {
            let url = source.input().and_then(|id| instance.downloads.iter().find(|d| d.id == id));
            BuildCause::Assemble { url: url.map(|d| d.url.clone()), source: Box::new(source) }
        })?;
        extracted.serve(&mut tree, &plan.name, self.events)?;
        Ok((tree, extracted.findings))
    }

    fn input(&self, download: &Download, file: &DownloadedFile) -> Result<Input, BuildCause> {
        let (archive, strip) = (Some(download.archive), download.strip);
        let options = UnpackOptions { archive, strip, inside: download.inside.clone() };
        let unpacked =
            unpack(&file.content(), &file.sha256, download.file_name(), &options, self.cache(), self.events);
        let tree = unpacked
            .map_err(|source| BuildCause::Unpack { url: download.url.clone(), source: Box::new(source) })?;
        let only = tree.iter().find_map(|(_, node)| node.content());
        match only.filter(|_| download.archive == Archive::File) {
            Some(content) => Ok(Input::File(content.clone())),
            None => Ok(Input::Tree(tree)),
        }
    }
}

fn hash(path: &Path) -> Result<String, BuildCause> {
    let io = |source| BuildCause::Io { path: path.to_owned(), source };
    let mut file = std::fs::File::open(path).map_err(io)?;
    let mut hasher = store::Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer).map_err(io)? {
            0 => return Ok(hasher.finish().hex().to_string()),
            n => hasher.update(&buffer[..n]),
        }
    }
}
