//! The project's own recipes: each is decided for both architectures, and keeps to the rules of the house.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use recipes::recipe::Instance;
use recipes::recipe::instance::{Checksum, Download, Static};
use recipes::{Catalogue, Recipe, Settings, Version};
use tree::Arch;

/// Name, versions, values of parameters.
type Example = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

/// A version of each that upstream has, further ones where a rule depends on the version, and values for parameters.
const VERSIONS: &[Example] = &[
    ("bird", &["3.3.1", "2.18"], &[]),
    ("btop", &["1.4.6", "1.4.4", "1.4.7"], &[]),
    ("chrony", &["4.8", "4.6.1"], &[]),
    ("cilium", &["v0.19.6"], &[]),
    ("cloud-hypervisor", &["v53.0", "v41.0.1"], &[]),
    ("coder", &["v2.35.2"], &[]),
    ("consul", &["2.0.2"], &[]),
    ("containerd", &["2.1.4", "1.7.29"], &[("runc-version", "1.3.0")]),
    ("crio", &["v1.32.0"], &[]),
    ("dataplaneapi", &["v3.4.0"], &[]),
    ("docker", &["27.5.1", "20.10.24"], &[]),
    ("docker-buildx", &["0.35.0"], &[]),
    ("docker-compose", &["2.33.1"], &[]),
    ("falco", &["0.40.0"], &[]),
    ("haproxy", &["3.4.2"], &[]),
    ("ig", &["v0.54.1"], &[]),
    ("k3s", &["v1.32.2+k3s1"], &[]),
    ("kata-containers", &["4.0.0", "3.20.0"], &[]),
    ("keepalived", &["v2.3.1"], &[]),
    ("kubernetes", &["v1.32.2"], &[("cni-version", "v1.6.2")]),
    ("llamaedge", &["0.16.8"], &[("wasmedge-version", "0.14.1")]),
    ("nebula", &["v1.9.5"], &[]),
    ("nerdctl", &["v2.3.5"], &[("cni-version", "v1.6.2")]),
    ("nomad", &["2.0.4"], &[]),
    ("nvidia-runtime", &["v1.17.4"], &[]),
    ("ollama", &["v0.14.0", "v0.13.2"], &[]),
    ("opkssh", &["v0.16.0"], &[]),
    ("rke2", &["v1.32.2+rke2r1"], &[]),
    ("scx", &["v1.1.2"], &[]),
    ("tailscale", &["v1.80.2"], &[]),
    ("tilde", &["1.1.2"], &[]),
    ("vault", &["2.0.3"], &[]),
    ("wasmcloud", &["v2.0.0", "v1.6.1"], &[("nats-version", "v2.10.25")]),
    ("wasmedge", &["0.14.1", "0.15.0"], &[]),
    ("wasmtime", &["v30.0.2"], &[]),
];

fn recipes() -> BTreeMap<String, Recipe> {
    let recipes = Catalogue::embedded().recipes().unwrap_or_else(|e| panic!("{e}"));
    recipes.into_iter().map(|r| (r.name().to_string(), r)).collect()
}

fn instance(recipe: &Recipe, version: &str, arch: Arch, without: &[&str]) -> Instance {
    let (_, _, parameters) = VERSIONS.iter().find(|(name, ..)| *name == recipe.name().as_str()).unwrap();
    let settings = Settings {
        parameters: parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        without: without.iter().map(|c| (*c).to_owned()).collect(),
    };
    let version: Version = version.parse().unwrap();
    recipe.at(&version, arch, &settings).unwrap_or_else(|e| panic!("{e}"))
}

fn all() -> impl Iterator<Item = Instance> {
    let recipes = recipes();
    VERSIONS
        .iter()
        .flat_map(|(name, versions, _)| versions.iter().map(move |v| (*name, *v)))
        .flat_map(move |(name, version)| {
            let of = |arch| instance(&recipes[name], version, arch, &[]);
            [of(Arch::X86_64), of(Arch::Arm64)]
        })
        .collect::<Vec<_>>()
        .into_iter()
}

#[test]
fn every_extension_of_the_bakery_is_there_and_for_both_architectures() {
    let recipes = recipes();
    let ours: Vec<&str> = VERSIONS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(recipes.keys().map(String::as_str).collect::<Vec<_>>(), ours);
    for instance in all() {
        assert!(!instance.tests.is_empty(), "{}: no test", instance.name);
        for download in &instance.downloads {
            assert!(download.url.starts_with("https://"), "{}: {}", instance.name, download.url);
        }
    }
    for (name, recipe) in &recipes {
        assert!(!recipe.notes().trim().is_empty(), "{name}: no notes");
        assert!(recipe.homepage().is_some() && recipe.licence().is_some(), "{name}: homepage, licence");
        for other in recipe.conflicts() {
            assert!(recipes[other].conflicts().contains(name), "{other} should conflict with {name}, too");
        }
        assert_eq!(recipe.architectures(), [Arch::X86_64, Arch::Arm64], "{name}");
    }
}

#[test]
fn nothing_goes_where_hosts_have_links() {
    for instance in all() {
        let to = instance.installs.iter().map(|i| i.to.to_string());
        for path in to.chain(instance.files.keys().map(ToString::to_string)) {
            let forced = instance.name == "rke2" && path.starts_with("/usr/local");
            let linked = ["/usr/sbin", "/usr/lib64", "/usr/local"].iter().any(|dir| path.starts_with(dir));
            assert!(
                (path == "/usr" || path.starts_with("/usr/")) && (forced || !linked),
                "{}: {path}",
                instance.name
            );
        }
    }
}

#[test]
fn versions_decide() {
    let recipes = recipes();
    let files = |name: &str, version: &str| instance(&recipes[name], version, Arch::X86_64, &[]);
    let text = |instance: &Instance, path: &str| match &instance.files[&path.parse().unwrap()] {
        Static::File { content, .. } => String::from_utf8(content.to_vec()).unwrap(),
        other => panic!("{path}: {other:?}"),
    };
    for (version, line) in [("2.0.0", "version = 3"), ("1.7.29", "version = 2")] {
        for file in ["config", "config-cgroupfs"] {
            let text = text(&files("containerd", version), &format!("/usr/share/containerd/{file}.toml"));
            assert!(text.contains(line), "{version}: {text}");
        }
    }
    for (version, url) in [
        ("v0.13.2", "https://github.com/ollama/ollama/releases/download/v0.13.2/ollama-linux-amd64.tgz"),
        ("v0.14.0", "https://github.com/ollama/ollama/releases/download/v0.14.0/ollama-linux-amd64.tar.zst"),
    ] {
        assert_eq!(files("ollama", version).downloads[0].url, url);
    }
    for (version, program, service) in
        [("v1.6.1", "/usr/bin/wasmcloud", true), ("v2.0.0", "/usr/bin/wash", false)]
    {
        let instance = files("wasmcloud", version);
        assert_eq!(instance.installs[0].to.to_string(), program);
        let unit = "/usr/lib/systemd/system/wasmcloud.service".parse().unwrap();
        assert_eq!(instance.files.contains_key(&unit), service, "{version}");
    }
    let keepalived = recipes["keepalived"].pattern().unwrap().clone();
    for (tag, known) in
        [("v2.3.1", true), ("v2.3.2", false), ("v2.3.12", true), ("v2.2.2", true), ("v2.0-rc", false)]
    {
        assert_eq!(keepalived.find(tag).is_some(), known, "{tag}");
    }
}

#[test]
fn docker_in_halves() {
    let recipe = &recipes()["docker"];
    let paths = |without: &[&str]| {
        let instance = instance(recipe, "27.5.1", Arch::X86_64, without);
        instance.files.keys().map(ToString::to_string).collect::<Vec<_>>()
    };
    let (engine, runtime) = (paths(&["containerd"]), paths(&["docker"]));
    for path in paths(&[]) {
        let halves = [engine.contains(&path), runtime.contains(&path)];
        assert_eq!(halves.iter().filter(|h| **h).count(), 1, "{path}: {halves:?}");
        assert_eq!(halves[1], path.contains("containerd"), "{path}");
    }
}

#[test]
fn what_upstream_offers_is_checked() {
    let pinned = all().flat_map(|i| {
        let name = i.name.clone();
        let only = |d: &&Download| d.checksums == [Checksum::LockOnly] && d.signature.is_none();
        i.downloads.iter().filter(only).map(|_| name.clone()).collect::<Vec<_>>()
    });
    let mut pinned: Vec<String> = pinned.collect();
    pinned.dedup();
    assert_eq!(pinned, ["bird", "docker", "falco", "keepalived", "scx"]);
}
