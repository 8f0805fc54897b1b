//! chrony, BIRD and HAProxy, compiled from upstream's source, and tilde out of Debian.

use anyhow::Result;

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
    let lock = std::fs::read_to_string(forge.work.path().join("user/recipes.lock"))?;
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
    Forge::get(&TILDE)?.merged()
}

/// Debian has one version, and it never stands in for another.
#[test]
fn a_version_that_debian_does_not_have_is_an_error() -> Result<()> {
    let forge = Forge::new(&TILDE)?;
    forge.bakery(&["lock", "tilde", "1.1.9", "--arch", "x86-64"])?.run()?;
    let error = forge.bakery(&["build", "tilde"])?.outcome()?.failure()?.stderr;
    assert!(
        error.contains("tilde 1.1.9") && error.contains("Version '1.1.9*' for 'tilde' was not found"),
        "{error}"
    );
    Ok(())
}
