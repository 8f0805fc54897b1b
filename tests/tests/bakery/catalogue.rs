//! The whole catalogue, from upstream's archives to a merged host.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use e2e::upstream::site::{sha256, sums, tgz};
use e2e::{Host, Upstream, Work, place};
use recipes::{Catalogue, Settings};
use sysext::ExtensionName;
use sysext::merge_test::{MergeTest, Test};

use crate::{
    keepalived,
    kitchen::{CATALOGUE, Kitchen},
};

#[test]
fn everything_builds_for_both_architectures_the_same_twice_and_is_merged_and_runs() -> Result<()> {
    let kitchen = Kitchen::new(Upstream::get()?)?;
    for (name, version, set) in CATALOGUE {
        kitchen.lock(name, version, set)?;
    }
    for dir in ["images", "again"] {
        kitchen.work.dir(dir)?;
    }
    kitchen.bakery(&["build", "--all", "-o", "images/"])?.run()?;
    for (name, version, _) in CATALOGUE {
        for arch in ["x86-64", "arm64"] {
            let image = kitchen.image("images", name, version, arch);
            assert!(image.is_file(), "{image:?}");
        }
    }
    let before = contents(&kitchen.work.path().join("images"))?;
    kitchen.bakery(&["build", "--all", "-o", "again/"])?.run()?;
    let again = contents(&kitchen.work.path().join("again"))?;
    assert_eq!(before.keys().collect::<Vec<_>>(), again.keys().collect::<Vec<_>>());
    for (name, bytes) in &before {
        assert!(again[name] == *bytes, "{name} differs");
    }

    let idle = kitchen.bakery(&["build", "--all", "-o", "images/"])?.run()?;
    let lines = idle.stdout.lines().chain(idle.stderr.lines());
    assert!(lines.filter(|l| l.contains("nothing to do")).count() >= 1, "{idle:?}");

    merged(&kitchen)?;
    together(&kitchen)
}

/// All that don't conflict, at once, in the newest version of each.
fn together(kitchen: &Kitchen) -> Result<()> {
    let catalogue = Catalogue::embedded();
    let mut images: Vec<(ExtensionName, PathBuf)> = Vec::new();
    let mut tests = Vec::new();
    for (name, version, _) in CATALOGUE {
        let conflicts = catalogue.recipe(name)?.conflicts().to_vec();
        let taken = |n: &ExtensionName| n.as_str() == *name || conflicts.iter().any(|c| c == n.as_str());
        // Docker stands for the runtimes.
        if images.iter().any(|(n, _)| taken(n)) || ["containerd", "crio", "k3s"].contains(name) {
            continue;
        }
        images.push((name.parse()?, kitchen.image("images", name, version, "x86-64")));
        let run = format!("test -e /usr/lib/extension-release.d/extension-release.{name}");
        tests.push(Test { run, expect: None });
    }
    images.push(("keepalived".parse()?, keepalived::image()?));
    tests.push(Test { run: "keepalived --version".into(), expect: None });
    assert_eq!(images.len(), 27, "{images:?}");
    tests.push(Test {
        run: "docker --version && kubelet --version && wasmedge --version".into(),
        expect: None,
    });
    let merge_test = MergeTest { root: Host::bookworm()?.root().to_owned(), images, tests };
    let report = merge_test.run(&kitchen.work.dir("merge-test-all")?)?;
    assert!(report.passed(), "{report:?}");
    Ok(())
}

#[test]
fn what_is_wrong_upstream_is_told_with_the_url() -> Result<()> {
    let upstream = Upstream::get()?;
    let work = Work::new()?;
    let bad = upstream.copy(&work.path().join("site"))?;
    let base = "https://github.com/slackhq/nebula/releases/download/v1.9.5";
    let archive = format!("{base}/nebula-linux-amd64.tar.gz");
    let whole = bad.read(&archive)?;
    let kitchen = Kitchen::new(&bad)?;
    let build = || {
        kitchen.bakery(&["build", "--update", "nebula", "v1.9.5", "--arch", "x86-64"])?.outcome()?.failure()
    };

    bad.replace(&archive, &whole[..whole.len() - 1])?;
    let error = build()?.stderr;
    let digest = sha256(&whole);
    assert!(error.contains("nebula") && error.contains(&archive) && error.contains(&digest), "{error}");

    bad.remove(&archive)?;
    let error = build()?.stderr;
    assert!(error.contains("nebula") && error.contains(&archive) && error.contains("not found"), "{error}");

    // The list agrees, but the layout is another one.
    let moved = tgz(&[("bin/nobula".to_owned(), 0o755, b"#!/bin/sh\n".to_vec())])?;
    bad.replace(&archive, &moved)?;
    let line = sums([("nebula-linux-amd64.tar.gz", moved.as_slice())]);
    bad.replace(&format!("{base}/SHASUM256.txt"), line)?;
    let error = build()?.stderr;
    for part in ["nebula", &archive, "nebula*", "bin/nobula"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    Ok(())
}

#[test]
fn a_file_that_github_has_no_digest_of_is_unverified_by_choice_only() -> Result<()> {
    let work = Work::new()?;
    let upstream = Upstream::get()?.copy(&work.path().join("site"))?;
    let release = "https://api.github.com/repos/openpubkey/opkssh/releases/tags/v0.16.0";
    let mut api: serde_json::Value = serde_json::from_slice(&upstream.read(release)?)?;
    for asset in api["assets"].as_array_mut().context("no assets")? {
        asset["digest"] = serde_json::Value::Null;
    }
    upstream.replace(release, api.to_string())?;
    let base = "https://github.com/openpubkey/opkssh/releases/download/v0.16.0";
    upstream.remove(&format!("{base}/checksums.txt"))?;
    let kitchen = Kitchen::new(&upstream)?;
    let lock = |name: &str, checksum: &str| -> Result<_> {
        let recipe = format!(
            "summary = \"x\"\n[versions]\nsource = {{ github-releases = \"openpubkey/opkssh\" }}\n[[download]]\nid = \"x\"\n\
             url = \"{base}/opkssh-linux-{{goarch}}\"\nchecksum = {checksum}\n[[install]]\nfrom = \"x:*\"\nto = \"/usr/bin/x\"\n"
        );
        fs::write(kitchen.work.dir(&format!("mine/{name}"))?.join("recipe.toml"), recipe)?;
        let args = ["lock", name, "v0.16.0", "--arch", "x86-64", "--recipes", "mine"];
        kitchen.bakery(&args)?.outcome()
    };
    // The list that the recipe wants is gone: nothing else has verified the file.
    let gone = format!("[{{ list = \"{base}/checksums.txt\" }}, \"github-digest\"]");
    let error = lock("listed", &gone)?.failure()?.stderr;
    assert!(error.contains("checksums.txt") && error.contains("not found"), "{error}");
    let choice = gone.replace("]", ", \"lock-only\"]");
    for (name, checksum) in [("only", "\"github-digest\""), ("chosen", choice.as_str())] {
        lock(name, checksum)?.success()?;
        let pinned = fs::read_to_string(kitchen.path("recipes.lock"))?;
        assert!(pinned.contains(&format!("name = \"{name}\"")), "{pinned}");
    }
    Ok(())
}

#[test]
fn a_list_counts_only_if_upstream_signed_it() -> Result<()> {
    let work = Work::new()?;
    let upstream = Upstream::get()?.copy(&work.path().join("site"))?;
    let kitchen = Kitchen::new(&upstream)?;
    let lock = |more: &[&str]| -> Result<_> {
        let args = ["lock", "vault", "2.0.3", "--arch", "x86-64"];
        kitchen.bakery(&[&args, more].concat())?.outcome()
    };
    // The stand-in is signed by a key of its own, and the catalogue trusts HashiCorp's.
    let recipe = place::repository().join("recipes/catalogue/vault");
    let error = lock(&["--recipes", &recipe.to_string_lossy()])?.failure()?.stderr;
    assert!(error.contains("signature is by key") && error.contains("34365d9472d7468f"), "{error}");

    let list = "https://releases.hashicorp.com/vault/2.0.3/vault_2.0.3_SHA256SUMS";
    let (sums, signature) = (upstream.read(list)?, upstream.read(&format!("{list}.sig"))?);
    upstream.replace(list, [&sums[..], b"\n"].concat())?;
    let error = lock(&[])?.failure()?.stderr;
    assert!(error.contains(list) && error.contains("the file is not the one that was signed"), "{error}");

    upstream.replace(list, &sums)?;
    upstream.remove(&format!("{list}.sig"))?;
    let error = lock(&[])?.failure()?.stderr;
    assert!(error.contains(&format!("{list}: unsigned: ")) && error.contains("not found"), "{error}");

    upstream.replace(&format!("{list}.sig"), signature)?;
    lock(&[])?.success()?;
    let pinned = fs::read_to_string(kitchen.path("recipes.lock"))?;
    assert!(pinned.contains(&format!("checksum in {list}; list has OpenPGP signature by ")), "{pinned}");
    Ok(())
}

/// Units that others ship are named by drop-ins and Requires=; what doesn't parse, or has no program, fails.
pub(crate) const VERIFY: &str = "units=$(find /usr/lib/systemd/system /usr/local/lib/systemd/system -newermt @-1 ! -newermt @1 \
    \\( -name '*.service' -o -name '*.socket' \\) 2>/dev/null || true); \
    [ -z \"$units\" ] || systemd-analyze verify --man=no --recursive-errors=no $units";

/// Each extension by itself, and its recipe's tests; then its units, by the host's systemd.
fn merged(kitchen: &Kitchen) -> Result<()> {
    let host = Host::bookworm()?;
    let catalogue = Catalogue::embedded();
    let mut failed = Vec::new();
    for (i, (name, version, set)) in CATALOGUE.iter().enumerate() {
        let mut settings = Settings::default();
        let defaults = ["runc-version=1.3.0", "cni-version=v1.6.2"];
        for pair in set.iter().chain(&defaults) {
            let Some((parameter, value)) = pair.split_once('=') else { continue };
            if catalogue.recipe(name)?.parameters().contains_key(parameter) {
                settings.parameters.insert(parameter.to_owned(), value.to_owned());
            }
        }
        let instance = catalogue.recipe(name)?.at(&version.parse()?, "x86-64".parse()?, &settings)?;
        let mut images = vec![(name.parse()?, kitchen.image("images", name, version, "x86-64"))];
        for other in &instance.requires {
            let version = other.version.as_deref().unwrap_or_default();
            images.push((
                other.extension.parse()?,
                kitchen.image("images", &other.extension, version, "x86-64"),
            ));
        }
        let mut tests = instance.tests.clone();
        tests.push(Test { run: VERIFY.to_owned(), expect: None });
        let merge_test = MergeTest { root: host.root().to_owned(), images, tests };
        let report = merge_test.run(&kitchen.work.dir(&format!("merge-test-{i}"))?)?;
        failed.extend(
            report.results.into_iter().filter(|r| !r.passed()).map(|r| format!("{name} {version}: {r:?}")),
        );
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

fn contents(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut out = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        out.insert(entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?);
    }
    out.retain(|name, _| name.ends_with(".raw"));
    Ok(out)
}
