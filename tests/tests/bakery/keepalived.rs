//! keepalived, compiled from upstream's source by somebody without any rights.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context as _, Result};
use e2e::registry::{Registry, Settings};
use e2e::upstream::debian;
use e2e::work::USER;
use e2e::{Host, Program, Upstream, Work, images, place, place_program, world};
use recipes::Catalogue;
use sysext::merge_test::{MergeTest, Test};

use crate::catalogue::VERIFY;

/// The image, once per process, and what it takes to build it again.
struct Forge {
    work: Work,
    version: String,
    _registry: Registry,
    _upstream: Upstream,
}

impl Forge {
    fn get() -> Result<&'static Forge> {
        static FORGE: OnceLock<Forge> = OnceLock::new();
        static MAKING: Mutex<()> = Mutex::new(());
        let _one = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(forge) = FORGE.get() {
            return Ok(forge);
        }
        let forge = Forge::new()?;
        Ok(FORGE.get_or_init(|| forge))
    }

    fn new() -> Result<Forge> {
        let work = Work::new()?;
        let (version, source) = debian::source("keepalived")?;
        let upstream = Upstream::get()?.copy(&work.path().join("site"))?;
        upstream
            .replace(&format!("https://www.keepalived.org/software/keepalived-{version}.tar.gz"), source)?;
        // v2.3.2 doesn't compile, so that it is no version; a candidate is none, either.
        let tags =
            format!("[{{\"name\":\"v9.9.9-rc1\"}},{{\"name\":\"v{version}\"}},{{\"name\":\"v2.3.2\"}}]");
        upstream.replace("https://api.github.com/repos/acassen/keepalived/tags/", tags)?;
        let registry = Registry::start(work.path(), &Settings { remove: true, ..Settings::default() })?;
        world::push(&images::trixie()?, "trixie-slim", registry.address, "library/debian:trixie")?;
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
        let forge = Forge { work, version, _registry: registry, _upstream: upstream };
        forge.bakery(&["lock", "keepalived", "--arch", "x86-64"])?.run()?;
        forge.bakery(&["build", "keepalived"])?.run()?;
        Ok(forge)
    }

    fn tag(&self) -> String {
        format!("v{}", self.version)
    }

    /// Run by a user id that nobody knows.
    fn bakery(&self, args: &[&str]) -> Result<Program> {
        let user = self.work.user("user")?;
        let program = user.program(self.work.path().join("bakery"));
        Ok(program
            .env("BAKERY_CONFIG", self.work.path().join("config.toml"))
            .env("CONTAINERS_REGISTRIES_CONF", self.work.path().join("registries.conf"))
            .args(args))
    }

    fn image(&self) -> PathBuf {
        self.work.path().join("user").join(format!("keepalived-{}-x86-64.raw", self.tag()))
    }
}

pub(crate) fn image() -> Result<&'static Path> {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    let image = Forge::get()?.image();
    Ok(IMAGE.get_or_init(|| image))
}

#[test]
fn compiled_twice_it_is_the_same_and_runs_where_it_is_merged() -> Result<()> {
    let forge = Forge::get()?;
    // Another script is another run: nothing of the first is taken but the packages.
    let recipe = place::repository().join("recipes/catalogue/keepalived");
    let other = forge.work.path().join("user/other");
    Program::new("cp").arg("-r").args([&recipe, &other]).run()?;
    let path = other.join("recipe.toml");
    let text = fs::read_to_string(&path)?;
    let changed = text.replace("mkdir /src/static", "echo compiled again\nmkdir /src/static");
    anyhow::ensure!(changed != text, "the script has another first line");
    fs::write(&path, changed)?;
    chown(&other, Some(USER), Some(USER))?;
    let out = forge.bakery(&["build", "keepalived", "--recipes", "other", "-o", "again/"])?.run()?;
    let again = forge.work.path().join("user/again").join(forge.image().file_name().context("no name")?);
    assert!(fs::read(forge.image())? == fs::read(again)?, "{out:?}");

    let host = Host::bookworm()?;
    let instance = Catalogue::embedded().recipe("keepalived")?.at(
        &forge.tag().parse()?,
        "x86-64".parse()?,
        &Default::default(),
    )?;
    let mut tests = instance.tests;
    tests.push(Test { run: VERIFY.to_owned(), expect: None });
    let images = vec![("keepalived".parse()?, forge.image())];
    let merge_test = MergeTest { root: host.root().to_owned(), images, tests };
    let report = merge_test.run(&forge.work.dir("merge-test")?)?;
    assert!(report.passed(), "{report:?}");

    let elf = Program::new("sh")
        .args(["-euc", "unsquashfs -q -n -d out \"$1\" >&2 && readelf -ld out/usr/bin/keepalived", "elf"])
        .arg(forge.image())
        .dir(&forge.work.dir("elf")?)
        .run()?;
    assert!(!elf.stdout.contains("INTERP") && elf.stdout.contains("no dynamic section"), "{}", elf.stdout);
    Ok(())
}

/// A static program that loaded the host's libnss_*.so would get another C library beside its own.
#[test]
fn name_services_of_the_host_stay_out() -> Result<()> {
    let (forge, host) = (Forge::get()?, Host::bookworm()?);
    let work = forge.work.dir("services")?;
    fs::write(
        work.join("nsswitch.conf"),
        "passwd: files systemd\ngroup: files systemd\nhosts: files resolve dns\n",
    )?;
    let config = "vrrp_script check {\n script /usr/bin/true\n}\nvrrp_instance V {\n interface lo\n virtual_router_id 5\n \
                  virtual_ipaddress {\n  10.9.9.9\n }\n}\n";
    fs::write(work.join("keepalived.conf"), config)?;
    let image = work.join("keepalived.raw");
    fs::copy(forge.image(), &image)?;
    fs::set_permissions(&image, fs::Permissions::from_mode(0o644))?;
    let script = "mount --bind nsswitch.conf \"$place/etc/nsswitch.conf\"\ncp keepalived.conf \"$place/tmp/\"\n\
                  strace -f -o trace -e trace=openat chroot \"$place\" keepalived -t -f /tmp/keepalived.conf || true\n\
                  cat trace\n";
    let out = host.merged(&work, &[&image], script)?;
    assert!(out.stdout.contains("\"/etc/passwd\""), "nobody was looked for: {out:?}");
    assert!(!out.stdout.contains("libnss"), "{}", out.stdout);
    Ok(())
}
