//! chrony, BIRD and HAProxy, compiled from upstream's source.

use anyhow::Result;

use crate::forge::{Forge, Project};

/// Debian 13 has 4.6.1, with the signature of chrony's maker.
static CHRONY: Project = Project {
    recipe: "chrony",
    package: "chrony",
    suite: "trixie",
    url: "https://chrony-project.org/releases/chrony-VERSION.tar.gz",
    signature: Some("https://chrony-project.org/releases/chrony-VERSION-tar-gz-asc.txt"),
    prefix: "",
};

static BIRD: Project = Project {
    recipe: "bird",
    package: "bird2",
    suite: "bookworm",
    url: "https://bird.nic.cz/download/bird-VERSION.tar.gz",
    signature: None,
    prefix: "",
};

pub(crate) static HAPROXY: Project = Project {
    recipe: "haproxy",
    package: "haproxy",
    suite: "trixie",
    url: "https://www.haproxy.org/download/MINOR/src/haproxy-VERSION.tar.gz",
    signature: None,
    prefix: "",
};

#[test]
fn chrony_is_what_its_maker_signed() -> Result<()> {
    let forge = Forge::get(&CHRONY)?;
    let lock = std::fs::read_to_string(forge.work.path().join("user/recipes.lock"))?;
    assert!(lock.contains("OpenPGP signature by 8f375c7e8d0ee125a3d3bd51537e2b76f7680dac"), "{lock}");
    forge.merged()
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
    Forge::get(&BIRD)?.merged()
}

#[test]
fn haproxy() -> Result<()> {
    Forge::get(&HAPROXY)?.merged()
}
