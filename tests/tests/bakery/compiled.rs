//! chrony, BIRD and HAProxy, compiled from upstream's source, and tilde out of Debian.

use std::fs;

use anyhow::{Context, Result};
use e2e::{Work, World, place, place_program};

use crate::forge::{Forge, Origin, Project};

/// Debian 13 has 4.6.1, with the signature of chrony's maker.
pub(crate) static CHRONY: Project = Project {
    recipe: "chrony",
    prefix: "",
    origin: Origin::Source {
        package: "chrony",
        suite: "trixie",
        url: "https://chrony-project.org/releases/chrony-VERSION.tar.gz",
        signature: Some("https://chrony-project.org/releases/chrony-VERSION-tar-gz-asc.txt"),
    },
};

pub(crate) static BIRD: Project = Project {
    recipe: "bird",
    prefix: "",
    origin: Origin::Source {
        package: "bird2",
        suite: "bookworm",
        url: "https://bird.nic.cz/download/bird-VERSION.tar.gz",
        signature: None,
    },
};

pub(crate) static HAPROXY: Project = Project {
    recipe: "haproxy",
    prefix: "",
    origin: Origin::Source {
        package: "haproxy",
        suite: "trixie",
        url: "https://www.haproxy.org/download/MINOR/src/haproxy-VERSION.tar.gz",
        signature: None,
    },
};

#[test]
fn chrony_is_what_its_maker_signed() -> Result<()> {
    let forge = Forge::get(&CHRONY)?;
    let lock = fs::read_to_string(forge.work.path().join("user/recipes.lock"))?;
    assert!(lock.contains("OpenPGP signature by 8f375c7e8d0ee125a3d3bd51537e2b76f7680dac"), "{lock}");
    forge.merged()?;
    forge.is_static()
}

#[test]
fn what_the_maker_of_chrony_did_not_sign_is_refused() -> Result<()> {
    let forge = Forge::new(&CHRONY)?;
    let url = format!("https://chrony-project.org/releases/chrony-{}.tar.gz", forge.version);
    let mut archive = forge.upstream.read(&url)?;
    archive.push(0);
    forge.upstream.replace(&url, archive)?;
    let error =
        forge.bakery(&["lock", "chrony", &forge.tag(), "--arch", "x86-64"])?.outcome()?.failure()?.stderr;
    assert!(error.contains(&url) && error.contains("the file is not the one that was signed"), "{error}");
    Ok(())
}

#[test]
fn bird() -> Result<()> {
    let forge = Forge::get(&BIRD)?;
    forge.merged()?;
    forge.is_static()
}

#[test]
fn haproxy() -> Result<()> {
    let forge = Forge::get(&HAPROXY)?;
    forge.merged()?;
    forge.is_static()
}

pub(crate) static TILDE: Project = Project { recipe: "tilde", prefix: "", origin: Origin::Package("1.1.2") };

#[test]
fn tilde() -> Result<()> {
    let forge = Forge::get(&TILDE)?;
    forge.merged()?;
    // Built again by itself, of nothing but what is pinned and cached.
    forge.bakery(&["build", "tilde", "--offline", "--rebuild", "-o", "again/"])?.run()?;
    let again = forge.work.path().join("user/again").join(forge.image().file_name().context("a name")?);
    assert!(fs::read(again)? == fs::read(forge.image())?);
    Ok(())
}

/// Debian has one version, and it never stands in for another.
#[test]
fn a_version_that_debian_does_not_have_is_an_error() -> Result<()> {
    let forge = Forge::new(&TILDE)?;
    let lock = forge.bakery(&["lock", "tilde", "1.1.9", "--arch", "x86-64"])?.outcome()?.failure()?.stderr;
    assert!(
        lock.contains("tilde 1.1.9") && lock.contains("Version '1.1.9*' for 'tilde' was not found"),
        "{lock}"
    );
    Ok(())
}

const OF_ALPINE: &str = r#"summary = "x"
homepage = "https://example.org"
licence = "MIT"
category = "development"
architectures = ["x86-64"]
[versions]
source = { html-index = "https://example.org/" }
match = '(1)'
[image]
reference = "docker.io/library/IMAGE"
tool = "flix"
packages = ["b3sum"]
paths = ["/usr/bin/b3sum"]
"#;

/// What is installed is what was pinned, byte by byte.
#[test]
fn packages_are_pinned_by_their_digests() -> Result<()> {
    let (work, world) = (Work::new()?, World::get()?);
    let user = work.user("user")?;
    place_program(&place::bakery()?, &work.path().join("bakery"))?;
    let lock = user.home().join("recipes.lock");
    for (number, image) in world.alpines().iter().enumerate() {
        let recipe = user.home().join("recipes/b3");
        fs::create_dir_all(&recipe)?;
        fs::write(recipe.join("recipe.toml"), OF_ALPINE.replace("IMAGE", image))?;
        let bakery = |args: &[&str]| {
            let program = user.program(work.path().join("bakery")).args(args).args(["--recipes", "recipes"]);
            program.env("CONTAINERS_REGISTRIES_CONF", world.registries_conf()).outcome()
        };
        bakery(&["lock", "b3", "1", "--update"])?.success()?;
        let text = fs::read_to_string(&lock)?;
        let pinned =
            text.lines().find(|line| line.contains("/x86_64/b3sum-1.5.4-r0.apk")).context("no package")?;
        let digest = pinned.split("sha256:").nth(1).context("no digest")?.get(..64).context("no digest")?;
        bakery(&["build", "b3", "-o", "images/", "--rebuild"])?.success()?;
        bakery(&["build", "b3", "-o", "images/", "--rebuild", "--offline"])?.success()?;
        // Another file than the one that was pinned.
        fs::write(&lock, text.replace(digest, &"0".repeat(64)))?;
        let out = bakery(&["build", "b3", "-o", "images/"])?.failure()?;
        assert!(
            out.stderr.contains("b3sum-1.5.4-r0.apk: ") && out.stderr.contains(digest),
            "{number}: {}",
            out.stderr
        );
        // Other packages than those of the recipe, or none, as by older versions of this program.
        let (before, after) = text.split_once("[extension.packages.image]").context("no packages")?;
        for (lock_text, said) in [
            (
                format!("{before}[extension.packages.image]{}", after.replacen("b3sum", "other", 1)),
                "package list of [image] is pinned as other",
            ),
            (before.to_owned(), "package list of [image] is pinned as nothing"),
        ] {
            fs::write(&lock, lock_text)?;
            let out = bakery(&["build", "b3", "-o", "images/"])?.failure()?;
            assert!(out.stderr.contains(said) && out.stderr.contains("--update"), "{image}: {}", out.stderr);
        }
    }
    Ok(())
}
