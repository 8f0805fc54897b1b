//! Released catalogues and Debian 13's systemd-sysupdate 257, over HTTPS. The configuration is used as released.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use e2e::registry::Authority;
use e2e::{Program, Updater, Upstream, Work, http};

use crate::{
    kitchen::Kitchen,
    shelf::{Keys, publish_kubernetes, publish_nebula},
};

/// Version of the image that the host is going to merge.
const CURRENT: &str = "readlink /etc/extensions/nebula.raw";
/// There is no manager that could be reloaded.
const REFRESH: &str = "systemd-sysext --no-reload refresh";
const SYSUPDATE: &str = "/usr/lib/systemd/systemd-sysupdate --no-pager";

/// A catalogue that is hosted, and a host that trusts its server.
struct Fleet {
    work: Work,
    upstream: Upstream,
    kitchen: Kitchen,
    host: Updater,
    offers: String,
}

impl Fleet {
    fn new(extension: &str) -> Result<Fleet> {
        let work = Work::new()?;
        let upstream = Upstream::get()?.copy(&work.path().join("site"))?;
        let kitchen = Kitchen::new(&upstream)?;
        let authority = Authority::new(&work.path().join("authority"))?;
        let address = http::serve_tls(kitchen.path("release"), &authority)?;
        let host = Updater::new(&work.dir("host")?, &authority.ca)?;
        let base = format!(
            "base-url = \"https://{address}/\"\nbest-before-days = 30\narchitectures = [\"x86-64\"]\n[extensions]\n"
        );
        Ok(Fleet { work, upstream, kitchen, host, offers: format!("{base}{extension} = ") })
    }

    /// Releases these versions, too.
    fn release(&self, versions: &[&str], args: &[&str]) -> Result<()> {
        self.kitchen.write("release.toml", &format!("{}{versions:?}\n", self.offers))?;
        self.kitchen.bakery(&["release", "--update"])?.args(args).run().map(drop)
    }

    /// Gives the host a configuration file of the catalogue.
    fn configure(&self, component: &str, file: &str) -> Result<()> {
        let name = format!("/etc/sysupdate.{component}.d/{}", file.rsplit('/').next().unwrap_or_default());
        self.host.put(&name, fs::read(self.kitchen.path("release").join(file))?)
    }

    fn released(&self, file: &str) -> PathBuf {
        self.kitchen.path("release").join(file)
    }

    fn images(&self, name: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.host.path(&format!("opt/extensions/{name}")))? {
            found.push(entry?.file_name().to_string_lossy().into_owned());
        }
        found.sort();
        Ok(found)
    }
}

/// As extensions.flatcar.org names its images.
#[test]
fn a_host_of_the_bakery_is_updated_and_never_goes_back() -> Result<()> {
    let fleet = Fleet::new("tailscale")?;
    fleet.release(&["v1.80.2"], &[])?;
    fleet.configure("tailscale", "tailscale/tailscale.transfer")?;
    let store = "/opt/extensions/tailscale";
    let check = format!("{SYSUPDATE} -C tailscale check-new");
    fleet.host.put(&format!("{store}/tailscale-v1.98.9-x86-64.raw"), "")?;
    let newer = fleet.host.outcome(&check)?.failure()?;
    assert_eq!(newer.stdout.trim(), "", "{newer:?}");
    let older =
        format!("mv {store}/tailscale-v1.98.9-x86-64.raw {store}/tailscale-v1.78.0-x86-64.raw\n{check}");
    assert_eq!(fleet.host.run(&older)?.stdout.trim(), "v1.80.2");

    // A host that is pointed at the root finds no image there, but a manifest that it can read.
    let file = "etc/sysupdate.tailscale.d/tailscale.transfer";
    let text = fs::read_to_string(fleet.host.path(file))?;
    fleet.host.put(file, text.replace("/tailscale/\nMatchPattern", "/\nMatchPattern"))?;
    let root = fleet.host.run(&format!("{SYSUPDATE} -C tailscale list"))?;
    assert!(root.stdout.contains("v1.78.0") && !root.stdout.contains("v1.80.2"), "{root:?}");
    assert!(!root.stderr.contains("Invalid"), "{root:?}");
    Ok(())
}

#[test]
fn a_host_goes_from_one_version_to_the_next() -> Result<()> {
    let fleet = Fleet::new("nebula")?;
    fleet.release(&["v1.9.5"], &[])?;
    fleet.configure("nebula", "nebula/nebula.transfer")?;
    let update = format!("{SYSUPDATE} -C nebula update\n{CURRENT}\n{REFRESH}\nnebula -version\n");
    let first = fleet.host.run(&format!("{SYSUPDATE} -C nebula list\n{update}"))?;
    assert!(first.stdout.contains("v1.9.5"), "{first:?}");
    assert!(first.stdout.contains("../../opt/extensions/nebula/nebula-v1.9.5-x86-64.raw\n"), "{first:?}");
    assert!(first.stdout.contains("1.9.5\n"), "{first:?}");
    assert_eq!(
        fs::read(fleet.host.path("opt/extensions/nebula/nebula-v1.9.5-x86-64.raw"))?,
        fs::read(fleet.released("nebula/nebula-v1.9.5-x86-64.raw"))?
    );
    let none = fleet.host.outcome(&format!("{SYSUPDATE} -C nebula check-new"))?.failure()?;
    assert_eq!(none.stdout.trim(), "", "{none:?}");

    // Staged first, then merged in the place of the one that runs. The file of older systemds does the same.
    publish_nebula(&fleet.upstream, "v1.9.6")?;
    fleet.release(&["v1.9.5", "v1.9.6"], &[])?;
    fs::remove_dir_all(fleet.host.path("etc/sysupdate.nebula.d"))?;
    fleet.configure("nebula", "nebula/nebula.conf")?;
    let script = format!("{REFRESH}\n{SYSUPDATE} -C nebula check-new\nnebula -version\n{update}");
    let next = fleet.host.run(&script)?;
    let said: Vec<&str> = next.stdout.lines().filter(|l| l.contains("1.9.")).collect();
    let expected = ["v1.9.6", "1.9.5", "../../opt/extensions/nebula/nebula-v1.9.6-x86-64.raw", "1.9.6"];
    assert!(said.len() == 4 && said.iter().zip(expected).all(|(l, e)| l.ends_with(e)), "{said:?} {next:?}");

    // Three stay, and versions are compared as numbers.
    for versions in [&["v1.9.7"][..], &["v1.9.10"]] {
        publish_nebula(&fleet.upstream, versions[0])?;
        fleet.release(versions, &[])?;
        fleet.host.run(&update)?;
    }
    let kept = ["nebula-v1.9.10-x86-64.raw", "nebula-v1.9.6-x86-64.raw", "nebula-v1.9.7-x86-64.raw"];
    assert_eq!(fleet.images("nebula")?, kept);
    let current = fleet.host.run(CURRENT)?;
    assert!(current.stdout.contains("nebula-v1.9.10-x86-64.raw"), "{current:?}");

    // Going back is pointing the link back, and an update leaves it so.
    let back = format!(
        "ln -sfn /opt/extensions/nebula/nebula-v1.9.7-x86-64.raw /etc/extensions/nebula.raw\n{update}"
    );
    let back = fleet.host.run(&back)?;
    assert!(
        back.stdout.contains("/nebula-v1.9.7-x86-64.raw\n") && back.stdout.contains("1.9.7\n"),
        "{back:?}"
    );

    // A file that isn't what the manifest says.
    publish_nebula(&fleet.upstream, "v1.9.11")?;
    fleet.release(&["v1.9.11"], &[])?;
    let image = fleet.released("nebula/nebula-v1.9.11-x86-64.raw");
    let mut bytes = fs::read(&image)?;
    bytes[2000] ^= 1;
    fs::write(&image, bytes)?;
    let refused = fleet.host.outcome(&update)?.failure()?;
    assert!(refused.stderr.contains("SHA256"), "{refused:?}");
    // Room is made first.
    assert_eq!(fleet.images("nebula")?, [kept[0], kept[2]]);
    let current = fleet.host.run(CURRENT)?;
    assert!(current.stdout.contains("nebula-v1.9.7-x86-64.raw"), "{current:?}");
    Ok(())
}

#[test]
fn the_service_has_something_to_do_where_only_extensions_are_updated() -> Result<()> {
    let fleet = Fleet::new("nebula")?;
    fleet.release(&["v1.9.5"], &[])?;
    let nothing = fleet.host.outcome(&format!("{SYSUPDATE} update"))?.failure()?;
    assert!(nothing.stderr.contains("No transfer definitions found"), "{nothing:?}");
    fleet.host.put("/etc/sysupdate.d/noop.conf", fs::read(fleet.released("noop.conf"))?)?;
    fleet.host.run(&format!("{SYSUPDATE} update")).map(drop)
}

#[test]
fn a_stream_stays_on_its_minor_version() -> Result<()> {
    let fleet = Fleet::new("kubernetes")?;
    fleet.release(&["v1.31.6", "v1.32.2"], &[])?;
    fleet.configure("kubernetes", "kubernetes/kubernetes-v1.31.transfer")?;
    let update = format!("{SYSUPDATE} -C kubernetes update\n{REFRESH}\nkubelet --version\n");
    let first = fleet.host.run(&update)?;
    assert!(first.stdout.contains("Kubernetes v1.31.6"), "{first:?}");
    publish_kubernetes(&fleet.upstream, "v1.31.7")?;
    fleet.release(&["v1.31.6", "v1.31.7", "v1.32.2"], &[])?;
    let next = fleet.host.run(&update)?;
    assert!(next.stdout.contains("Kubernetes v1.31.7"), "{next:?}");
    assert_eq!(
        fleet.images("kubernetes")?,
        ["kubernetes-v1.31.6-x86-64.raw", "kubernetes-v1.31.7-x86-64.raw"]
    );
    // Changing over takes the other file, and the same link.
    fs::remove_dir_all(fleet.host.path("etc/sysupdate.kubernetes.d"))?;
    fleet.configure("kubernetes", "kubernetes/kubernetes-v1.32.transfer")?;
    let over = fleet.host.run(&update)?;
    assert!(over.stdout.contains("Kubernetes v1.32.2"), "{over:?}");
    Ok(())
}

#[test]
fn signed_manifests_are_believed_and_others_refused() -> Result<()> {
    for kind in ["rsa3072", "ed25519", "subkey"] {
        let fleet = Fleet::new("nebula")?;
        let keys = Keys::new(&fleet.work.dir("gnupg")?)?;
        let key = keys.make("catalogue", kind)?;
        let secret = key.secret.to_string_lossy().into_owned();
        fleet.release(&["v1.9.5"], &["--sign", &secret])?;
        for file in ["", "nebula/"] {
            keys.verify(&fleet.released(&format!("{file}SHA256SUMS")))?;
        }
        let transfer = fs::read_to_string(fleet.released("nebula/nebula.transfer"))?;
        assert!(transfer.contains("Verify=yes\n"), "{transfer}");
        fleet.configure("nebula", "nebula/nebula.transfer")?;
        let update = format!("{SYSUPDATE} -C nebula update");

        // Nobody's key, then another one's.
        fleet.host.outcome(&update)?.failure()?;
        let other = keys.make("other", "ed25519")?;
        fleet.host.put("/etc/systemd/import-pubring.gpg", fs::read(&other.public)?)?;
        let wrong = fleet.host.outcome(&update)?.failure()?;
        assert!(wrong.stderr.contains("signature"), "{kind}: {wrong:?}");
        assert!(!fleet.host.path("etc/extensions/nebula.raw").is_symlink());

        fleet.host.put("/etc/systemd/import-pubring.gpg", fs::read(&key.public)?)?;
        fleet.host.run(&update).with_context(|| kind.to_owned())?;
        assert_eq!(fleet.images("nebula")?, ["nebula-v1.9.5-x86-64.raw"]);

        // A manifest that somebody else has changed, with an image that fits it.
        publish_nebula(&fleet.upstream, "v1.9.6")?;
        fleet.release(&["v1.9.6"], &["--sign", &secret])?;
        let sums = fleet.released("nebula/SHA256SUMS");
        let (good, image) = (fs::read_to_string(&sums)?, fleet.released("nebula/nebula-v1.9.6-x86-64.raw"));
        let whole = fs::read(&image)?;
        fs::write(&image, [&whole[..], &[0; 512]].concat())?;
        let [was, is] = [&whole, &fs::read(&image)?].map(|b| e2e::upstream::site::sha256(b));
        fs::write(&sums, good.replace(&was, &is))?;
        let tampered = fleet.host.outcome(&update)?.failure()?;
        assert!(tampered.stderr.contains("signature"), "{kind}: {tampered:?}");
        assert_eq!(fleet.images("nebula")?, ["nebula-v1.9.5-x86-64.raw"]);

        fs::write(&image, &whole)?;
        fs::write(&sums, &good)?;
        fleet.host.run(&update)?;
        assert_eq!(fleet.images("nebula")?.len(), 2);

        // bakery itself wants the same of a place; a key that is gone from the command line takes the signatures along.
        let public = key.public.to_string_lossy().into_owned();
        let place = transfer.lines().find_map(|l| l.strip_prefix("Path=")).context("no Path")?;
        let place = place.trim_end_matches("nebula/");
        let ca = fleet.work.path().join("authority/ca.crt").to_string_lossy().into_owned();
        let asked = |key: &str| {
            let args = ["plan", "--to", "none", "--ca-file", &ca, "--place", place, "--verify-key", key];
            fleet.kitchen.bakery(&args)?.outcome()
        };
        let plan = asked(&public)?.success()?;
        assert!(plan.stdout.contains("nothing to build: 1 image there already"), "{plan:?}");
        let refused = asked(&other.public.to_string_lossy())?.failure()?;
        assert!(refused.stderr.contains("nebula/SHA256SUMS: signature is by key"), "{refused:?}");
        fleet.release(&["v1.9.6"], &[])?;
        assert!(
            !fleet.released("nebula/SHA256SUMS.gpg").exists() && !fleet.released("SHA256SUMS.gpg").exists()
        );
        let transfer = fs::read_to_string(fleet.released("nebula/nebula.transfer"))?;
        assert!(transfer.contains("Verify=no\n"), "{transfer}");
    }
    Ok(())
}

#[test]
fn a_key_that_cant_sign_is_refused_before_anything_is_built() -> Result<()> {
    let fleet = Fleet::new("nebula")?;
    let keys = Keys::new(&fleet.work.dir("gnupg")?)?;
    let locked = keys.make("locked", "passphrase")?;
    let public = keys.make("fine", "ed25519")?.public;
    fleet.kitchen.write("release.toml", &format!("{}[\"v1.9.5\"]\n", fleet.offers))?;
    for (key, message) in [(&locked.secret, "is protected by a passphrase"), (&public, "is a public one")] {
        let path = key.to_string_lossy().into_owned();
        let error = fleet.kitchen.bakery(&["release", "--update", "--sign", &path])?.outcome()?.failure()?;
        assert!(error.stderr.contains(message) && error.stderr.contains(&path), "{error:?}");
        assert!(
            error.stderr.contains("hint: --sign takes what \"gpg --export-secret-keys KEY\""),
            "{error:?}"
        );
        assert!(!fleet.kitchen.path("release").exists());
    }
    Ok(())
}

#[test]
fn the_key_is_told_to_nobody() -> Result<()> {
    let fleet = Fleet::new("nebula")?;
    let keys = Keys::new(&fleet.work.dir("gnupg")?)?;
    let key = keys.make("catalogue", "ed25519")?;
    fleet.kitchen.write("release.toml", &format!("{}[\"v1.9.5\"]\n", fleet.offers))?;
    let secret = fs::read_to_string(&key.secret)?;
    // Every program that is started, with its arguments and environment, and all that is written anywhere.
    let trace = fleet.work.path().join("trace");
    let bakery = e2e::place::bakery()?;
    let done = Program::new("strace")
        .args(["-f", "-v", "-s", "100000", "-e", "trace=execve,write,pwrite64,sendto", "-o"])
        .arg(&trace)
        .arg(bakery)
        .args(["release", "--update", "--verbose"])
        .env("BAKERY_SIGN_KEY", &key.secret)
        .env("BAKERY_CONFIG", fleet.kitchen.path("config.toml"))
        .env("HOME", fleet.kitchen.path(""))
        .dir(fleet.kitchen.path(""))
        .run()?;
    keys.verify(&fleet.released("SHA256SUMS"))?;
    let trace = String::from_utf8_lossy(&fs::read(&trace)?).into_owned();
    assert!(trace.contains("SHA256SUMS"), "nothing was traced");
    let body: Vec<&str> = secret.lines().filter(|l| l.len() == 64).collect();
    assert!(!body.is_empty());
    for line in body {
        assert!(!trace.contains(line) && !done.stdout.contains(line) && !done.stderr.contains(line));
    }
    Ok(())
}
