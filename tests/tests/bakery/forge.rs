//! Recipes that compile upstream's source, built by somebody without any rights.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use e2e::registry::{Registry, Settings};
use e2e::upstream::debian::{self, Source};
use e2e::upstream::site::sums;
use e2e::work::USER;
use e2e::{Host, Program, Upstream, Work, images, place, place_program, world};
use recipes::Catalogue;
use sysext::merge_test::{MergeTest, Test};

use crate::catalogue::VERIFY;

/// A recipe that needs an image of Debian's to build.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Project {
    pub recipe: &'static str,
    /// Before the version in a tag.
    pub prefix: &'static str,
    pub origin: Origin,
}

/// Where its content is from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// What upstream released, as Debian has it.
    Source {
        /// Debian's source package, and the suite whose version the recipe's script compiles.
        package: &'static str,
        suite: &'static str,
        /// Where upstream publishes it: `VERSION` stands for the version, `MINOR` for its first two numbers.
        url: &'static str,
        signature: Option<&'static str>,
    },
    /// Debian's package, of this version.
    Package(&'static str),
}

/// The image of a project, and what it takes to build it again.
pub(crate) struct Forge {
    pub work: Work,
    pub version: String,
    project: &'static Project,
    pub upstream: Upstream,
    _registry: Registry,
}

impl Forge {
    /// The one of this project that all tests of this process share.
    pub(crate) fn get(project: &'static Project) -> Result<Arc<Forge>> {
        static FORGES: Mutex<Vec<Arc<Forge>>> = Mutex::new(Vec::new());
        let mut forges = FORGES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(forge) = forges.iter().find(|f| f.project == project) {
            return Ok(Arc::clone(forge));
        }
        let forge = Forge::new(project)?;
        forge.bakery(&["lock", project.recipe, &forge.tag(), "--arch", "x86-64"])?.run()?;
        forge.bakery(&["build", project.recipe])?.run()?;
        let forge = Arc::new(forge);
        forges.push(Arc::clone(&forge));
        Ok(forge)
    }

    /// One that has built nothing yet.
    pub(crate) fn new(project: &'static Project) -> Result<Forge> {
        let work = Work::new()?;
        let upstream = Upstream::get()?.copy(&work.path().join("site"))?;
        let version = match &project.origin {
            Origin::Source { package, suite, url, signature } => {
                let source = debian::source(package, suite)?;
                publish(&upstream, &source, url, *signature)?;
                source.version
            }
            Origin::Package(version) => (*version).to_owned(),
        };
        let registry = Registry::start(work.path(), &Settings { remove: true, ..Settings::default() })?;
        world::push(&images::trixie()?, "trixie-slim", registry.address, "library/debian:trixie")?;
        world::push(&images::debian()?, "bookworm", registry.address, "library/debian:bookworm")?;
        fs::write(
            work.path().join("registries.conf"),
            format!(
                "[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n\
                 [[registry.mirror]]\nlocation = \"{}\"\ninsecure = true\n",
                registry.address
            ),
        )?;
        fs::write(work.path().join("config.toml"), upstream.config())?;
        place_program(&place::bakery()?, &work.path().join("bakery"))?;
        Ok(Forge { work, version, project, upstream, _registry: registry })
    }

    pub(crate) fn tag(&self) -> String {
        format!("{}{}", self.project.prefix, self.version)
    }

    /// Run by a user id that nobody knows.
    pub(crate) fn bakery(&self, args: &[&str]) -> Result<Program> {
        let user = self.work.user("user")?;
        let program = user.program(self.work.path().join("bakery"));
        Ok(program
            .env("BAKERY_CONFIG", self.work.path().join("config.toml"))
            .env("CONTAINERS_REGISTRIES_CONF", self.work.path().join("registries.conf"))
            .args(args))
    }

    pub(crate) fn image(&self) -> PathBuf {
        let name = format!("{}-{}-x86-64.raw", self.project.recipe, self.tag());
        self.work.path().join("user").join(name)
    }

    /// Merges it over a fresh host. The recipe's own tests have to pass there, and its units have to be right.
    pub(crate) fn merged(&self) -> Result<()> {
        let recipe = self.project.recipe;
        let instance = Catalogue::embedded().recipe(recipe)?.at(
            &self.tag().parse()?,
            "x86-64".parse()?,
            &Default::default(),
        )?;
        let mut tests = instance.tests;
        tests.push(Test { run: VERIFY.to_owned(), expect: None });
        let images = vec![(recipe.parse()?, self.image())];
        let merge_test = MergeTest { root: Host::bookworm()?.root().to_owned(), images, tests };
        let report = merge_test.run(&self.work.dir("merge-test")?)?;
        anyhow::ensure!(report.passed(), "{report:?}");
        Ok(())
    }

    /// Checks that its programs need no library of the host's.
    pub(crate) fn is_static(&self) -> Result<()> {
        let script =
            "unsquashfs -q -n -d out \"$1\" >&2 && for f in out/usr/bin/*; do readelf -ld \"$f\"; done";
        let program = Program::new("sh").args(["-euc", script, "elf"]).arg(self.image());
        let elf = program.dir(&self.work.dir("elf")?).run()?.stdout;
        anyhow::ensure!(!elf.contains("INTERP") && !elf.contains("NEEDED"), "not static: {elf}");
        Ok(())
    }

    /// The file of the recipe in a directory of recipes of the user's, to be changed.
    pub(crate) fn copy_recipe(&self, dir: &str) -> Result<PathBuf> {
        let name = self.project.recipe;
        let dir = self.work.user("user")?.home().join(dir);
        fs::create_dir_all(&dir)?;
        Program::new("cp")
            .arg("-r")
            .arg(place::repository().join("recipes/catalogue").join(name))
            .arg(&dir)
            .run()?;
        let recipe = dir.join(name);
        std::os::unix::fs::chown(&recipe, Some(USER), Some(USER))?;
        Ok(recipe.join("recipe.toml"))
    }
}

/// Puts a source where its upstream has it, with what upstream says of it.
fn publish(upstream: &Upstream, source: &Source, url: &str, signature: Option<&str>) -> Result<()> {
    let minor = source.version.split('.').take(2).collect::<Vec<_>>().join(".");
    let place = |template: &str| template.replace("VERSION", &source.version).replace("MINOR", &minor);
    let url = place(url);
    let file = url.rsplit('/').next().unwrap_or_default();
    upstream.replace(&format!("{url}.sha256"), sums([(file, source.archive.as_slice())]))?;
    upstream.replace(&url, &source.archive)?;
    if let (Some(template), Some(signature)) = (signature, &source.signature) {
        upstream.replace(&place(template), signature)?;
    }
    Ok(())
}
