//! `bakery plan` and `bakery release`: folders that a web server can host.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use e2e::fault_proxy::{Fault, FaultProxy};
use e2e::{Upstream, http};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    kitchen::{CATALOGUE, Kitchen},
    shelf::{BASE, agrees, files, folders, publish_nebula, released, same, whole},
};

/// A day on which nothing else is released.
const LATER: &str = "4102444800";
const LATER_DAY: &str = "2100-01-01";

#[test]
fn the_whole_catalogue_is_released_once_and_then_what_is_new() -> Result<()> {
    let work = e2e::Work::new()?;
    let upstream = Upstream::get()?.copy(&work.path().join("site"))?;
    let kitchen = Kitchen::new(&upstream)?;
    kitchen.write("release.toml", &whole(BASE).replace("[\"v1.9.5\"]", "[\"latest\"]"))?;
    let done = kitchen.bakery(&["release", "--update"])?.run()?;
    let count = format!("release: {} images new, 0 there before", CATALOGUE.len() * 2);
    assert!(done.stdout.contains(&count), "{}", done.stdout);

    let folder = kitchen.path("release");
    let before = files(&folder)?;
    let mut expected: Vec<String> =
        ["RELEASE.md", "SHA256SUMS", "feed.xml", "index.html", "noop.conf"].map(str::to_owned).into();
    for (name, version, _) in CATALOGUE {
        for arch in ["x86-64", "arm64"] {
            for ending in ["raw", "spdx.json", "intoto.json"] {
                expected.push(format!("{name}/{name}-{version}-{arch}.{ending}"));
            }
        }
    }
    for name in CATALOGUE.iter().map(|(name, ..)| *name).collect::<std::collections::BTreeSet<_>>() {
        let of = |file: &str| format!("{name}/{file}");
        expected.extend(["SHA256SUMS", "index.html", "index.json"].map(of));
        expected.extend([of(&format!("{name}.conf")), of(&format!("{name}.transfer"))]);
        if ["crio", "k3s", "kubernetes", "rke2"].contains(&name) {
            expected.extend(["conf", "transfer"].map(|e| of(&format!("{name}-v1.32.{e}"))));
        }
    }
    expected.sort();
    assert_eq!(before.keys().collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    agrees(&folder)?;
    documents(&before)?;

    // Nothing to do, and nothing is written.
    let times = times(&folder)?;
    let idle = kitchen.bakery(&["release", "--update"])?.run()?;
    assert_eq!(idle.stdout, "nothing to do: release is complete\n");
    assert_eq!(times, self::times(&folder)?);
    let plan = kitchen.bakery(&["plan"])?.run()?;
    assert_eq!(plan.stdout, format!("nothing to build: {} images there already\n", CATALOGUE.len() * 2));

    publish_nebula(&upstream, "v1.9.6")?;
    let plan = kitchen.bakery(&["plan", "--update"])?.run()?;
    let there = CATALOGUE.len() * 2 - 2;
    assert_eq!(
        plan.stdout,
        format!("nebula  v1.9.6  x86-64\nnebula  v1.9.6  arm64\n2 images to build, {there} there already\n")
    );
    let next = kitchen.bakery(&["release", "--update"])?.run()?;
    assert!(next.stdout.contains("release: 2 images new"), "{}", next.stdout);
    let after = files(&folder)?;
    let new: Vec<&String> = after.keys().filter(|n| !before.contains_key(*n)).collect();
    assert_eq!(new.len(), 6, "{new:?}");
    assert!(new.iter().all(|n| n.starts_with("nebula/nebula-v1.9.6-")), "{new:?}");
    let changed: Vec<&str> =
        before.iter().filter(|(n, b)| after.get(*n) != Some(*b)).map(|(n, _)| n.as_str()).collect();
    let expected = [
        "RELEASE.md",
        "SHA256SUMS",
        "feed.xml",
        "index.html",
        "nebula/SHA256SUMS",
        "nebula/index.html",
        "nebula/index.json",
    ];
    assert_eq!(changed, expected);
    agrees(&folder)
}

/// What SPDX 2.3 and SLSA 1.0 demand of the metadata.
fn documents(files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let mut namespaces = std::collections::BTreeSet::new();
    for (name, bytes) in files.iter().filter(|(n, _)| n.ends_with(".json") && !n.ends_with("/index.json")) {
        let value: serde_json::Value = serde_json::from_slice(bytes).with_context(|| name.clone())?;
        let image = name.replace(".spdx.json", ".raw").replace(".intoto.json", ".raw");
        let sum = e2e::upstream::site::sha256(&files[&image]);
        if name.ends_with(".intoto.json") {
            assert_eq!(value["_type"], "https://in-toto.io/Statement/v1");
            assert_eq!(value["predicateType"], "https://slsa.dev/provenance/v1");
            assert_eq!(value["subject"][0]["digest"]["sha256"], sum.as_str(), "{name}");
            let definition = &value["predicate"]["buildDefinition"];
            assert!(definition["buildType"].is_string() && definition["externalParameters"].is_object());
            assert!(value["predicate"]["runDetails"]["builder"]["id"].is_string());
            let inputs = definition["resolvedDependencies"].as_array().context("no inputs")?;
            assert!(!inputs.is_empty(), "{name}");
            for input in inputs {
                assert!(input["uri"].as_str().is_some_and(|u| u.starts_with("https://")), "{name}: {input}");
                assert_eq!(input["digest"]["sha256"].as_str().map(str::len), Some(64), "{name}");
            }
        } else {
            assert_eq!(
                (&value["spdxVersion"], &value["SPDXID"]),
                (&"SPDX-2.3".into(), &"SPDXRef-DOCUMENT".into())
            );
            assert_eq!(value["dataLicense"], "CC0-1.0");
            let namespace = value["documentNamespace"].as_str().context("no namespace")?;
            assert!(namespaces.insert(namespace.to_owned()) && !namespace.contains('#'), "{namespace}");
            let packages = value["packages"].as_array().context("no packages")?;
            let ids: Vec<&str> = packages.iter().filter_map(|p| p["SPDXID"].as_str()).collect();
            let valid = |id: &&str| {
                id.strip_prefix("SPDXRef-")
                    .is_some_and(|i| i.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)))
            };
            assert!(ids.len() == packages.len() && ids.iter().all(valid), "{name}: {ids:?}");
            for package in packages {
                assert!(package["name"].is_string() && package["downloadLocation"].is_string(), "{name}");
            }
            assert_eq!(packages[0]["checksums"][0]["checksumValue"], sum.as_str(), "{name}");
            for relation in value["relationships"].as_array().context("no relationships")? {
                for end in ["spdxElementId", "relatedSpdxElement"] {
                    let end = relation[end].as_str().unwrap_or_default();
                    assert!(end == "SPDXRef-DOCUMENT" || ids.contains(&end), "{name}: {end}");
                }
            }
        }
    }
    Ok(())
}

/// When each file was written.
fn times(dir: &std::path::Path) -> Result<BTreeMap<String, std::time::SystemTime>> {
    let mut out = BTreeMap::new();
    for name in files(dir)?.into_keys() {
        out.insert(name.clone(), fs::metadata(dir.join(name))?.modified()?);
    }
    Ok(out)
}

#[test]
fn a_run_that_is_killed_is_resumed_to_the_same_bytes() -> Result<()> {
    let upstream = Upstream::get()?;
    let whole_one = released()?;
    let expected = files(&whole_one.path("release"))?;

    for signal in [Signal::KILL, Signal::INT] {
        let kitchen = Kitchen::new(upstream)?;
        kitchen.write("release.toml", &whole(BASE))?;
        // What is pinned isn't in the cache: each build downloads, and this one's download never ends.
        kitchen.take_lock(whole_one)?;
        let (held, seen) = channel();
        let held = Arc::new(Mutex::new(held));
        let proxy = FaultProxy::start(upstream.address(), move |request| {
            let sender = held.lock().map(|h| h.clone());
            match sender {
                Ok(sender) if request.path.contains("nebula-linux-arm64") => Fault::HoldAfter(1000, sender),
                _ => Fault::Pass,
            }
        })?;
        kitchen.write("slow.toml", &upstream.config_at(proxy.address))?;
        let mut program = kitchen.bakery(&["release", "--jobs", "1", "--config", "slow.toml"])?;
        let mut child = program.start()?;
        seen.recv().context("nothing was held")?;
        let folder = kitchen.path("release");
        let there = files(&folder)?;
        assert!(there.contains_key("nebula/nebula-v1.9.5-x86-64.raw"));
        assert!(!there.contains_key("nebula/nebula-v1.9.5-arm64.raw") && !there.contains_key("SHA256SUMS"));
        let pid = Pid::from_raw(child.id() as i32).context("no process")?;
        kill_process(pid, signal)?;
        assert_eq!(child.wait()?.signal(), Some(signal.as_raw()));
        if signal == Signal::INT {
            same(&there, &files(&folder)?);
        }
        // As it would be killed while it writes.
        fs::write(folder.join("nebula/.nebula-v1.9.5-arm64.raw.Abc123.flix.tmp"), "half")?;
        fs::remove_file(folder.join("crio/crio-v1.32.0-arm64.intoto.json"))?;

        let resumed = kitchen.bakery(&["release"])?.run()?;
        assert!(resumed.stdout.contains("nebula-v1.9.5-arm64.raw: "), "{}", resumed.stdout);
        assert!(!resumed.stdout.contains("nebula-v1.9.5-x86-64.raw: "), "{}", resumed.stdout);
        same(&expected, &files(&folder)?);
    }
    Ok(())
}

#[test]
fn what_fails_doesnt_stop_the_others() -> Result<()> {
    let work = e2e::Work::new()?;
    let upstream = Upstream::get()?.copy(&work.path().join("site"))?;
    let kitchen = Kitchen::new(&upstream)?;
    let text = "[extensions]\nnebula = [\"v1.9.5\"]\ntailscale = [\"latest\"]\nwasmtime = [\"v30.0.2\"]\n";
    kitchen.write("release.toml", text)?;
    let folder = kitchen.path("release");
    let archive = "https://github.com/slackhq/nebula/releases/download/v1.9.5/nebula-linux-arm64.tar.gz";
    let whole = upstream.read(archive)?;

    // It can't be pinned; upstream doesn't answer; it is pinned and gone, or has become another.
    upstream.remove(archive)?;
    let tags = "https://api.github.com/repos/tailscale/tailscale/releases/";
    let list = upstream.read(tags)?;
    upstream.remove(tags)?;
    let plan = kitchen.bakery(&["plan", "--update"])?.outcome()?.failure()?;
    assert!(plan.stdout.contains("3 images to build"), "{plan:?}");
    assert!(plan.stderr.contains("could not be found out: tailscale, nebula@v1.9.5:arm64"), "{plan:?}");
    let error = kitchen.bakery(&["release", "--update"])?.outcome()?.failure()?;
    assert!(error.stdout.contains("release: 3 images new, 0 there before, 2 failed"), "{}", error.stdout);
    assert!(
        error.stderr.contains("2 images could not be built: tailscale, nebula@v1.9.5:arm64"),
        "{error:?}"
    );
    assert!(
        error.stderr.contains(archive) && error.stderr.contains("recipe tailscale: "),
        "{}",
        error.stderr
    );
    agrees(&folder)?;
    let there = files(&folder)?;
    assert!(there.contains_key("nebula/nebula-v1.9.5-x86-64.raw") && there.contains_key("index.html"));
    assert!(!there.keys().any(|n| n.contains("nebula-v1.9.5-arm64") || n.contains("tailscale")));

    upstream.replace(archive, &whole)?;
    upstream.replace(tags, &list)?;
    kitchen.bakery(&["plan", "--update"])?.run()?;
    // The cache has it; another one hasn't.
    let other = Kitchen::new(&upstream)?;
    other.write("release.toml", text)?;
    other.take_lock(&kitchen)?;
    upstream.replace(archive, b"something else")?;
    let error = other.bakery(&["release"])?.outcome()?.failure()?;
    assert!(error.stdout.contains("5 images new, 0 there before, 1 failed"), "{}", error.stdout);
    assert!(error.stderr.contains("1 image could not be built: nebula@v1.9.5:arm64"), "{}", error.stderr);
    upstream.replace(archive, &whole)?;
    let healed = other.bakery(&["release"])?.run()?;
    assert!(healed.stdout.contains("1 image new, 5 there before"), "{}", healed.stdout);
    kitchen.bakery(&["release"])?.run()?;
    same(&files(&folder)?, &files(&other.path("release"))?);
    Ok(())
}

#[test]
fn parts_of_several_machines_make_the_whole() -> Result<()> {
    let upstream = Upstream::get()?;
    let single = released()?;
    let expected = files(&single.path("release"))?;

    let machines: Vec<Kitchen> = (0..3).map(|_| Kitchen::new(upstream)).collect::<Result<_>>()?;
    for (i, machine) in machines.iter().enumerate() {
        machine.write("release.toml", &whole(BASE))?;
        machine.take_lock(single)?;
        let shard = format!("{}/3", i + 1);
        machine.bakery(&["release", "--shard", &shard, "--to", "part"])?.run()?;
        // A share that is resumed is the same share.
        let again = machine.bakery(&["release", "--shard", &shard, "--to", "part"])?.run()?;
        assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
        // Nobody can hold what another machine has.
        assert!(files(&machine.path("part"))?.keys().filter(|n| n.ends_with(".raw")).count() >= 12);
    }
    let parts: Vec<String> = machines.iter().map(|m| m.path("part").to_string_lossy().into_owned()).collect();
    let merger = Kitchen::new(upstream)?;
    merger.write("release.toml", &whole(BASE))?;
    merger.take_lock(single)?;
    let two =
        merger.bakery(&["release", "--merge", &parts[0], "--merge", &parts[1]])?.outcome()?.failure()?;
    assert!(two.stderr.contains("21 images are in none of the parts: "), "{}", two.stderr);
    agrees(&merger.path("release"))?;
    merger.bakery(&["release", "--merge", &parts[2]])?.run()?;
    same(&expected, &files(&merger.path("release"))?);

    // A part that was damaged on its way.
    let image = files(&machines[0].path("part"))?.into_keys().find(|n| n.ends_with(".raw"));
    let image = machines[0].path("part").join(image.context("no image")?);
    let mut bytes = fs::read(&image)?;
    bytes[2000] ^= 1;
    fs::write(&image, bytes)?;
    let error = merger.bakery(&["release", "--merge", &parts[0], "--to", "x"])?.outcome()?.failure()?;
    assert!(
        error.stderr.contains("has SHA-256") && error.stderr.contains(&format!("{image:?}")),
        "{error:?}"
    );
    assert!(!files(&merger.path("x"))?.keys().any(|n| image.ends_with(n)));
    Ok(())
}

#[test]
fn only_what_is_meant_is_built() -> Result<()> {
    let kitchen = Kitchen::new(Upstream::get()?)?;
    kitchen.write("release.toml", &whole(BASE))?;
    let only = ["--only", "ollama@0.13.2:arm64", "--only", "wasmtime"];
    kitchen.bakery(&["release", "--update"])?.args(only).run()?;
    let there = files(&kitchen.path("release"))?;
    let images: Vec<&String> = there.keys().filter(|n| n.ends_with(".raw")).collect();
    assert_eq!(
        images,
        [
            "ollama/ollama-v0.13.2-arm64.raw",
            "wasmtime/wasmtime-v30.0.2-arm64.raw",
            "wasmtime/wasmtime-v30.0.2-x86-64.raw"
        ]
    );
    for (only, message) in [
        ("nothing", "--only nothing: the release doesn't offer it"),
        ("ollama@0.0.1", "--only ollama@v0.0.1: the release doesn't offer it"),
        ("ollama@0.13.2:riscv64", "--only ollama@v0.13.2: the release doesn't offer it"),
    ] {
        let error = kitchen.bakery(&["plan", "--only", only])?.outcome()?.failure()?;
        assert!(error.stderr.contains(message), "{only}: {}", error.stderr);
    }
    // Two at once would undo each other's work.
    let folder = fs::File::open(kitchen.path("release"))?;
    rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive)?;
    let busy = kitchen.bakery(&["release"])?.outcome()?.failure()?;
    assert!(busy.stderr.contains("\"release\": another bakery process is using it"), "{}", busy.stderr);
    Ok(())
}

#[test]
fn what_is_hosted_isnt_built_again() -> Result<()> {
    let work = e2e::Work::new()?;
    let upstream = Upstream::get()?.copy(&work.path().join("site"))?;
    let first = Kitchen::new(&upstream)?;
    let address = http::serve(first.path("hosted"))?;
    let place = format!("http://{address}/");
    let text =
        format!("base-url = \"{place}\"\n[extensions]\nnebula = [\"latest\"]\nwasmtime = [\"latest\"]\n");
    first.write("release.toml", &text)?;
    // Nothing is hosted yet.
    first.bakery(&["release", "--update", "--place", &place, "--empty-place", "--to", "hosted"])?.run()?;
    publish_nebula(&upstream, "v1.9.6")?;

    // Another machine, which has nothing but the address; or a copy of the folder.
    let copy = first.path("hosted").to_string_lossy().into_owned();
    let mut results = Vec::new();
    for place in [&place, &copy] {
        let next = Kitchen::new(&upstream)?;
        next.write("release.toml", &text)?;
        let args = ["--update", "--place", place.as_str()];
        let plan = next.bakery(&["plan"])?.args(args).run()?;
        assert!(plan.stdout.contains("2 images to build, 2 there already"), "{}", plan.stdout);
        next.bakery(&["release"])?.args(args).env("SOURCE_DATE_EPOCH", LATER).run()?;
        let new = files(&next.path("release"))?;
        assert_eq!(new.keys().filter(|n| n.ends_with(".raw")).count(), 2);
        // The manifest lists those that are hosted, too, and the page links to them.
        let sums = String::from_utf8_lossy(&new["nebula/SHA256SUMS"]).into_owned();
        for file in ["nebula-v1.9.5-x86-64.raw", "nebula-v1.9.5-x86-64.spdx.json", "nebula-v1.9.6-arm64.raw"]
        {
            assert!(sums.contains(file), "{sums}");
        }
        let page = String::from_utf8_lossy(&new["index.html"]).into_owned();
        assert!(page.contains(&format!("http://{address}/wasmtime/wasmtime-v30.0.2-x86-64.raw")));
        // Those that are hosted keep their day.
        let listing: serde_json::Value = serde_json::from_slice(&new["nebula/index.json"])?;
        let days = listing["images"].as_array().context("no images")?.iter();
        let days: Vec<_> = days.map(|i| (i["version"].clone(), i["released"] == LATER_DAY)).collect();
        let expected = [("v1.9.6", true), ("v1.9.6", true), ("v1.9.5", false), ("v1.9.5", false)];
        assert_eq!(days, expected.map(|(v, new)| (v.into(), new)));
        let feed = String::from_utf8_lossy(&new["feed.xml"]).into_owned();
        let first = feed.split("<entry>").nth(1).context("no entry")?;
        assert!(first.contains("<title>nebula v1.9.6</title>") && first.contains(LATER_DAY), "{feed}");
        let note = String::from_utf8_lossy(&new["RELEASE.md"]).into_owned();
        assert!(note.contains("## New\n\n- nebula v1.9.6 (x86-64)\n- nebula v1.9.6 (arm64)\n\n"), "{note}");
        results.push(new);
    }
    same(&results[0], &results[1]);

    // Put over what is hosted, it is a whole release again.
    for (name, bytes) in &results[0] {
        fs::write(first.path("hosted").join(name), bytes)?;
    }
    assert_eq!(folders(&first.path("hosted"))?.len(), 2);
    agrees(&first.path("hosted"))?;

    // A manifest that lies about a statement or the listing, and one that is none.
    let sums = first.path("hosted/nebula/SHA256SUMS");
    let good = fs::read_to_string(&sums)?;
    let other = Kitchen::new(&upstream)?;
    other.write("release.toml", &text)?;
    for file in ["nebula-v1.9.5-arm64.intoto.json", "index.json"] {
        let line = good.lines().find(|line| line.ends_with(file)).context("no line")?;
        fs::write(&sums, good.replace(line, &line.replace(&line[..8], "00000000")))?;
        let error = other.bakery(&["plan", "--place", &place])?.outcome()?.failure()?;
        assert!(error.stderr.contains(file), "{file}: {}", error.stderr);
    }
    fs::write(&sums, "<html>not found</html>\n")?;
    let error = other.bakery(&["plan", "--place", &place])?.outcome()?.failure()?;
    assert!(error.stderr.contains("nebula/SHA256SUMS: line 1: got"), "{}", error.stderr);
    Ok(())
}

#[test]
fn what_is_removed_leaves_nothing_behind_and_a_copy_moves() -> Result<()> {
    let kitchen = Kitchen::new(Upstream::get()?)?;
    let offer = |kubernetes: &str| {
        format!("base-url = \"{BASE}\"\n[extensions]\nwasmtime = [\"v30.0.2\"]\nkubernetes = {kubernetes}\n")
    };
    kitchen.write("release.toml", &(offer("[\"v1.31.6\", \"v1.32.2\"]") + "nebula = [\"v1.9.5\"]\n"))?;
    kitchen.bakery(&["release"])?.run()?;
    kitchen.write("release.toml", &offer("[\"v1.32.2\"]"))?;
    let folder = kitchen.path("release");
    for gone in files(&folder)?.keys().filter(|n| n.contains("v1.31.6") || n.contains("nebula-v1.9.5")) {
        fs::remove_file(folder.join(gone))?;
    }
    let renewed = kitchen.bakery(&["release"])?.run()?;
    assert_eq!(renewed.stdout, "release: manifests and page renewed\n");
    let there = files(&folder)?;
    assert!(!there.keys().any(|n| n.contains("nebula") || n.contains("v1.31")), "{:?}", there.keys());
    assert!(there.contains_key("kubernetes/kubernetes-v1.32.conf"));
    agrees(&folder)?;

    // The same images at another address.
    let mirror = Kitchen::new(Upstream::get()?)?;
    let copy = folder.to_string_lossy().into_owned();
    mirror.bakery(&["release", "--merge", &copy, "--base-url", "https://mirror.example.org/x"])?.run()?;
    let moved = files(&mirror.path("release"))?;
    assert_eq!(there.keys().collect::<Vec<_>>(), moved.keys().collect::<Vec<_>>());
    for (name, bytes) in &moved {
        assert!(!String::from_utf8_lossy(bytes).contains(BASE), "{name}");
    }
    let transfer = String::from_utf8_lossy(&moved["wasmtime/wasmtime.transfer"]).into_owned();
    assert!(transfer.contains("Path=https://mirror.example.org/x/wasmtime/\n"), "{transfer}");
    let page = String::from_utf8_lossy(&moved["index.html"]).into_owned();
    assert!(page.contains("kubelet, kubeadm and kubectl"));
    agrees(&mirror.path("release"))
}
