//! keepalived, compiled from upstream's source by somebody without any rights.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use e2e::Host;

use crate::forge::{Forge, Origin, Project};

static KEEPALIVED: Project = Project {
    recipe: "keepalived",
    prefix: "v",
    origin: Origin::Source {
        package: "keepalived",
        suite: "trixie",
        url: "https://www.keepalived.org/software/keepalived-VERSION.tar.gz",
        signature: None,
    },
};

pub(crate) fn image() -> Result<PathBuf> {
    Ok(Forge::get(&KEEPALIVED)?.image())
}

#[test]
fn compiled_twice_it_is_the_same_and_runs_where_it_is_merged() -> Result<()> {
    let forge = Forge::get(&KEEPALIVED)?;
    // Another script is another run: nothing of the first is taken but the packages.
    let path = forge.copy_recipe("other")?;
    let text = fs::read_to_string(&path)?;
    let again = |first: &str| {
        let changed = text.replace("mkdir /src/static", &format!("{first}\nmkdir /src/static"));
        anyhow::ensure!(changed != text, "the script has another first line");
        fs::write(&path, changed)?;
        forge.bakery(&["build", "keepalived", "--recipes", "other", "-o", "again/"])?.outcome()
    };
    let error = again("echo not this one; exit 7")?.failure()?.stderr;
    assert!(error.contains("not this one"), "{error}");
    let out = again("echo compiled again")?.success()?;
    let again = forge.work.path().join("user/again").join(forge.image().file_name().context("no name")?);
    assert!(fs::read(forge.image())? == fs::read(again)?, "{out:?}");

    forge.merged()?;
    forge.is_static()
}

/// v2.3.2 doesn't compile, so that it is no version; a candidate is none, either.
#[test]
fn versions_that_do_not_compile_are_none() -> Result<()> {
    let forge = Forge::new(&KEEPALIVED)?;
    let tags = "[{\"name\":\"v9.9.9-rc1\"},{\"name\":\"v2.3.3\"},{\"name\":\"v2.3.2\"}]";
    forge.upstream.replace("https://api.github.com/repos/acassen/keepalived/tags/", tags)?;
    let versions = forge.bakery(&["versions", "keepalived"])?.run()?.stdout;
    assert_eq!(versions.split_whitespace().collect::<Vec<_>>(), ["v2.3.3"]);
    Ok(())
}

/// A static program that loaded the host's libnss_*.so would get another C library beside its own.
#[test]
fn name_services_of_the_host_stay_out() -> Result<()> {
    let (forge, host) = (Forge::get(&KEEPALIVED)?, Host::bookworm()?);
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
