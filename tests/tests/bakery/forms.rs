//! Forms of one extension: versions, components, options of the image, names of before.

use std::fs;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use e2e::fault_proxy::{Fault, FaultProxy};
use e2e::{Upstream, http};

use crate::kitchen::{CATALOGUE, Kitchen};

const RELEASE: &str = "base-url = \"https://example.org/\"\narchitectures = [\"x86-64\"]\n[extensions]\nnebula = [\"v1.9.5\"]\n";

#[test]
fn a_build_without_a_component_has_a_name_of_its_own() -> Result<()> {
    let kitchen = Kitchen::new(Upstream::get()?)?;
    let docker = |more: &[&str]| kitchen.bakery(&[&["build", "--update", "docker", "27.5.1"], more].concat());
    docker(&[])?.run()?;
    let whole = fs::read(kitchen.path("docker-27.5.1-x86-64.raw"))?;
    docker(&["--without", "containerd"])?.run()?;
    let engine = kitchen.path("docker-27.5.1-without-containerd-x86-64.raw");
    assert!(engine.is_file() && fs::read(kitchen.path("docker-27.5.1-x86-64.raw"))? == whole);
    // Both are pinned, and one directory takes them.
    kitchen.bakery(&["build", "--all", "-o", "images/"])?.run()?;
    assert_eq!(fs::read_dir(kitchen.path("images"))?.count(), 2);
    // Its name says what it was built without.
    let plan = kitchen.bakery(&["test", "--dry-run", "--vm", &engine.to_string_lossy()])?.run()?;
    assert!(
        plan.stdout.contains("docker --version") && !plan.stdout.contains("containerd --version"),
        "{plan:?}"
    );

    for cni in ["v1.6.2", "v1.6.1"] {
        let set = format!("cni-version={cni}");
        let dry = ["build", "--update", "--dry-run", "kubernetes", "v1.32.2", "--set", &set];
        let text = kitchen.bakery(&dry)?.run()?.stdout;
        assert!(text.contains(&format!("cni-plugins-linux-amd64-{cni}.tgz")), "{text}");
    }
    assert!(
        !fs::read_to_string(kitchen.path("recipes.lock"))?.contains("kubernetes"),
        "a dry run pins nothing"
    );
    Ok(())
}

#[test]
fn a_set_says_what_cant_be_merged_together_and_nothing_of_versions() -> Result<()> {
    let kitchen = Kitchen::new(Upstream::get()?)?;
    for (name, version) in
        [("docker", "27.5.1"), ("docker", "20.10.24"), ("containerd", "2.1.4"), ("nebula", "v1.9.5")]
    {
        kitchen.bakery(&["build", "--update", name, version])?.run()?;
    }
    let lint = |images: &[&str]| kitchen.bakery(&[&["lint", "--no-verify"], images].concat());
    let (old, new) = ("docker-20.10.24-x86-64.raw", "docker-27.5.1-x86-64.raw");
    lint(&[old, new, "nebula-v1.9.5-x86-64.raw"])?.run()?;
    let out = lint(&[new, "containerd-2.1.4-x86-64.raw"])?.outcome()?.failure()?;
    let expected = "set: error: docker 27.5.1 and containerd 2.1.4 can't be merged together [conflict]\n";
    assert!(out.stdout.ends_with(expected) && !out.stdout.contains("[collision]"), "{}", out.stdout);
    lint(&[new, "containerd-2.1.4-x86-64.raw", "--allow", "conflict"])?.run()?;
    fs::copy(kitchen.path("nebula-v1.9.5-x86-64.raw"), kitchen.path("nebula-1.9.4-x86-64.raw"))?;
    let out = lint(&["nebula-v1.9.5-x86-64.raw", "nebula-1.9.4-x86-64.raw"])?.outcome()?.failure()?;
    assert!(out.stdout.contains("systemd considers 1.9.4 newer [version-form]"), "{}", out.stdout);
    Ok(())
}

#[test]
fn names_and_versions_of_before_are_understood() -> Result<()> {
    let kitchen = Kitchen::new(Upstream::get()?)?;
    kitchen.bakery(&["build", "--update", "docker_compose", "v2.33.1"])?.run()?;
    assert!(kitchen.path("docker-compose-2.33.1-x86-64.raw").is_file());
    kitchen.bakery(&["build", "--update", "tailscale", "1.80.2"])?.run()?;
    assert!(kitchen.path("tailscale-v1.80.2-x86-64.raw").is_file());
    let names = "docker_compose = [\"v2.33.1\"]\nwasmtime = [\"30.0.2\"]\n";
    kitchen.write("release.toml", &RELEASE.replace("nebula = [\"v1.9.5\"]\n", names))?;
    kitchen.bakery(&["release"])?.run()?;
    for image in ["docker-compose/docker-compose-2.33.1-x86-64.raw", "wasmtime/wasmtime-v30.0.2-x86-64.raw"] {
        assert!(kitchen.path("release").join(image).is_file(), "{image}");
    }
    let both = format!("{names}docker-compose = [\"2.33.1\"]\n");
    kitchen.write("release.toml", &RELEASE.replace("nebula = [\"v1.9.5\"]\n", &both))?;
    let error = kitchen.bakery(&["release"])?.outcome()?.failure()?;
    assert!(error.stderr.contains("docker-compose twice, once by a former name"), "{}", error.stderr);
    Ok(())
}

#[test]
fn a_lock_with_names_and_versions_of_before_is_read() -> Result<()> {
    let kitchen = Kitchen::new(Upstream::get()?)?;
    for (name, version) in [("docker-compose", "2.33.1"), ("nebula", "v1.9.5"), ("tailscale", "v1.80.2")] {
        kitchen.bakery(&["lock", name, version, "--arch", "x86-64"])?.run()?;
    }
    let lock = fs::read_to_string(kitchen.path("recipes.lock"))?;
    let old = lock
        .replace("name = \"docker-compose\"\nversion = \"2.", "name = \"docker_compose\"\nversion = \"v2.")
        .replace("name = \"tailscale\"\nversion = \"v", "name = \"tailscale\"\nversion = \"");
    assert!(old.contains("docker_compose") && old.contains("version = \"1.80.2\""), "{old}");
    kitchen.write("recipes.lock", &old)?;
    let expected =
        ["docker-compose-2.33.1-x86-64.raw", "nebula-v1.9.5-x86-64.raw", "tailscale-v1.80.2-x86-64.raw"];
    let built = |dir: &str| -> Result<Vec<String>> {
        let names =
            fs::read_dir(kitchen.path(dir))?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<Result<Vec<_>>>()?;
        names.retain(|name| name.ends_with(".raw"));
        names.sort();
        Ok(names)
    };
    kitchen.bakery(&["build", "--all", "-o", "all/"])?.run()?;
    assert_eq!(built("all")?, expected);
    kitchen.bakery(&["build", "tailscale", "-o", "one/"])?.run()?;
    assert_eq!(built("one")?, expected[2..]);
    let names = "docker-compose = [\"latest\"]\ntailscale = [\"latest\"]\n";
    kitchen.write("release.toml", &RELEASE.replace("nebula = [\"v1.9.5\"]\n", names))?;
    kitchen.bakery(&["release", "--locked"])?.run()?;
    assert!(kitchen.path("release/docker-compose").join(expected[0]).is_file());
    assert!(kitchen.path("release/tailscale").join(expected[2]).is_file());
    Ok(())
}

#[test]
fn a_release_never_has_versions_of_both_forms() -> Result<()> {
    let kitchen = Kitchen::new(Upstream::get()?)?;
    kitchen.write("release.toml", RELEASE)?;
    kitchen.bakery(&["release"])?.run()?;
    // An image that was released before, when versions had the other form.
    let dir = kitchen.path("release/nebula");
    let (new, old) = ("nebula-v1.9.5-x86-64", "nebula-1.9.4-x86-64");
    for ending in [".raw", ".intoto.json", ".spdx.json"] {
        let bytes = fs::read(dir.join(format!("{new}{ending}")))?;
        let bytes = match ending {
            ".raw" => bytes,
            _ => String::from_utf8(bytes)?.replace("v1.9.5", "1.9.4").into_bytes(),
        };
        fs::write(dir.join(format!("{old}{ending}")), bytes)?;
    }
    let manifest = fs::read(dir.join("SHA256SUMS"))?;
    for args in [&["release"][..], &["plan"], &["release", "--to", "new", "--place", "release"]] {
        let error = kitchen.bakery(args)?.outcome()?.failure()?.stderr;
        assert!(error.contains("nebula has versions of both forms, 1.9.4 and v1.9.5"), "{args:?}: {error}");
        assert!(error.contains("hint: remove nebula/nebula-1.9.4-*"), "{args:?}: {error}");
    }
    assert_eq!(fs::read(dir.join("SHA256SUMS"))?, manifest);
    for ending in [".raw", ".intoto.json", ".spdx.json"] {
        fs::remove_file(dir.join(format!("{old}{ending}")))?;
    }
    kitchen.bakery(&["release"])?.run()?;
    Ok(())
}

#[test]
fn other_options_write_a_release_again_and_a_dry_run_writes_nothing() -> Result<()> {
    let kitchen = Kitchen::new(Upstream::get()?)?;
    kitchen.write("release.toml", RELEASE)?;
    let image = kitchen.path("release/nebula/nebula-v1.9.5-x86-64.raw");
    let refused = kitchen.bakery(&["release", "--format", "dir"])?.outcome()?.failure()?;
    assert!(refused.stderr.contains("--format: a release has images of one file"), "{}", refused.stderr);
    assert!(
        !refused.stderr.contains("building") && !kitchen.path("recipes.lock").exists(),
        "{}",
        refused.stderr
    );
    let dry = kitchen.bakery(&["release", "--dry-run"])?.run()?;
    assert!(dry.stdout.contains("1 image to build") && !kitchen.path("recipes.lock").exists(), "{dry:?}");
    assert!(!kitchen.path("release").exists());

    kitchen.bakery(&["release"])?.run()?;
    let plain = fs::read(&image)?;
    let done = kitchen.bakery(&["release", "--format", "erofs"])?.run()?;
    assert!(done.stdout.contains("1 image new"), "{}", done.stdout);
    let erofs = fs::read(&image)?;
    assert!(plain.starts_with(b"hsqs") && !erofs.starts_with(b"hsqs"));
    // The same once more, and without a word about it: nothing to do.
    for args in [&["release", "--format", "erofs"][..], &["release"]] {
        let idle = kitchen.bakery(args)?.run()?;
        assert_eq!(idle.stdout, "nothing to do: release is complete\n", "{args:?}");
    }
    assert_eq!(fs::read(&image)?, erofs);
    // The default is another format, if it is asked for.
    let done = kitchen.bakery(&["release", "--format", "squashfs"])?.run()?;
    assert!(done.stdout.contains("1 image new"), "{}", done.stdout);
    assert_eq!(fs::read(&image)?, plain);
    // Names with a slash make systemd-sysupdate refuse a manifest.
    let root = fs::read_to_string(kitchen.path("release/SHA256SUMS"))?;
    assert!(root.contains("index.html") && !root.contains('/'), "{root}");
    Ok(())
}

#[test]
fn a_place_without_a_release_is_an_error() -> Result<()> {
    let kitchen = Kitchen::new(Upstream::get()?)?;
    kitchen.write("release.toml", RELEASE)?;
    let address = http::serve(kitchen.work.dir("hosted")?)?;
    let place = format!("http://{address}/extensions/");
    let plan = |more: &[&str]| kitchen.bakery(&[&["plan", "--place", &place], more].concat());
    let error = plan(&[])?.outcome()?.failure()?;
    let no_list = "is not a release: no SHA256SUMS for it or any extension";
    for part in [no_list, "hint: --empty-place accepts a place without a release"] {
        assert!(error.stderr.contains(part), "{part}: {}", error.stderr);
    }
    assert!(plan(&["--empty-place"])?.run()?.stdout.contains("1 image to build"));
    // A release that has none of these extensions is one.
    fs::create_dir(kitchen.path("hosted/extensions"))?;
    fs::write(kitchen.path("hosted/extensions/SHA256SUMS"), "")?;
    assert!(plan(&[])?.run()?.stdout.contains("1 image to build"));
    let error = kitchen.bakery(&["plan", "--place", "nowhere"])?.outcome()?.failure()?;
    assert!(error.stderr.contains("\"nowhere\": is no folder"), "{}", error.stderr);
    Ok(())
}

#[test]
fn a_plan_of_the_whole_catalogue_asks_github_less_than_it_allows_without_a_token() -> Result<()> {
    let upstream = Upstream::get()?;
    let kitchen = Kitchen::new(upstream)?;
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = seen.clone();
    let proxy = FaultProxy::start(upstream.address(), move |request| {
        if let (true, Ok(mut log)) = (request.path.starts_with("/api.github.com/"), log.lock()) {
            log.push(request.path.clone());
        }
        Fault::Pass
    })?;
    kitchen.write("config.toml", &upstream.config_at(proxy.address))?;
    let mut text = String::from("[extensions]\n");
    for name in CATALOGUE.iter().map(|(name, ..)| *name).collect::<std::collections::BTreeSet<_>>() {
        let set = if name == "llamaedge" { ", set = { wasmedge-version = \"0.14.1\" }" } else { "" };
        // The oldest stand-in of containerd is for one machine.
        let version = if name == "containerd" { "2.1.4" } else { "latest" };
        text += &format!("{name} = {{ versions = [\"{version}\"]{set} }}\n");
    }
    kitchen.write("release.toml", &text)?;
    let plan = kitchen.bakery(&["plan", "--update"])?.run()?;
    assert!(plan.stdout.contains("images to build"), "{}", plan.stdout);
    let mut asked = seen.lock().ok().context("the proxy panicked")?.clone();
    let count = asked.len();
    asked.sort();
    asked.dedup();
    assert!(count == asked.len() && count < 60, "{count} requests for {asked:#?}");
    eprintln!("{count} requests");
    // Patches are upstream's, and every minor version that is supported has one.
    for part in ["kubernetes", "v1.31.6"] {
        assert!(plan.stdout.contains(part), "{part}: {}", plan.stdout);
    }
    Ok(())
}

#[test]
fn units_that_restart_are_in_the_release_file_and_in_the_image() -> Result<()> {
    let kitchen = Kitchen::new(Upstream::get()?)?;
    let release = |more: &[&str]| -> Result<String> {
        let build = ["build", "--update", "nebula", "v1.9.5", "--format", "dir", "--rebuild"];
        kitchen.bakery(&[&build, more].concat())?.run()?;
        let dir = kitchen.path("nebula-v1.9.5-x86-64");
        Ok(fs::read_to_string(dir.join("usr/lib/extension-release.d/extension-release.nebula"))?)
    };
    let plain = "ID=_any\nARCHITECTURE=x86-64\n";
    let restarts = "EXTENSION_RELOAD_MANAGER=1\nEXTENSION_RESTART_UNITS=\"nebula.service\"\n";
    assert_eq!(release(&[])?, format!("{plain}{restarts}"));
    assert_eq!(release(&["--no-reload"])?, plain);
    let recipe = "summary = \"x\"\n[versions]\nsource = { text = \"https://github.com/versions\" }\n\
                  [[file]]\npath = \"/usr/share/x\"\ncontent = \"x\"\n[[restart]]\nunit = \"gone.service\"\n";
    fs::write(kitchen.work.dir("mine/bad")?.join("recipe.toml"), recipe)?;
    let bad =
        kitchen.bakery(&["build", "--update", "bad", "1", "--recipes", "mine"])?.outcome()?.failure()?;
    assert!(bad.stderr.contains("restart: the extension has no unit \"gone.service\""), "{}", bad.stderr);
    Ok(())
}
