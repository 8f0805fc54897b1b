use recipes::Catalogue;

use super::*;

fn recipe(name: &str) -> Recipe {
    Catalogue::embedded().recipe(name).unwrap()
}

#[test]
fn facts_of_a_recipe() {
    let docker = recipe("docker");
    assert_eq!(verified(&docker), ["nothing, pinned at first sight"]);
    let units: Vec<String> = units(&docker).iter().map(Unit::to_string).collect();
    assert_eq!(units, ["**`containerd.service`**", "`docker.service`", "**`docker.socket`**"]);
    assert_eq!(streams(&recipe("k3s")), ["k3s", "k3s-vX.Y"]);
    assert_eq!(
        files(&recipe("k3s")),
        ["/usr/bin/k3s", "/usr/bin/kubectl", "/usr/bin/crictl", "/usr/bin/ctr"]
    );
    let wasmcloud = recipe("wasmcloud");
    assert_eq!(verified(&wasmcloud), ["GitHub's digest", "upstream's checksums"]);
}

#[test]
fn a_page_has_what_its_recipe_has() {
    let page = |name| super::page(&recipe(name), "https://x.example/");
    let docker = page("docker");
    for part in ["# docker\n", "--without containerd", "MatchPattern=docker-@v-%a.raw", "[`crio`](crio.md)"] {
        assert!(docker.contains(part), "{part}: {docker}");
    }
    let llamaedge = page("llamaedge");
    assert!(
        llamaedge.contains("--update llamaedge --set wasmedge-version=VALUE\n")
            && llamaedge.contains("[`wasmedge`](wasmedge.md)"),
        "{llamaedge}"
    );
    for part in [
        "MatchPattern=rke2-vX.Y.@v-%a.raw",
        "MatchPattern=rke2-@v-%a.raw",
        "rke2-vX.Y.conf",
        "noop.conf",
        "enabled: true",
    ] {
        assert!(page("rke2").contains(part), "{part}: {}", page("rke2"));
    }
    // The system's own docker is out of the way.
    assert!(
        docker.contains("- path: /etc/extensions/docker-flatcar.raw\n      target: /dev/null"),
        "{docker}"
    );
}

/// docs/catalogue.md and the pages are what the recipes say.
#[test]
fn the_documentation_is_up_to_date() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    for (path, text) in all(&Catalogue::embedded().recipes().unwrap(), BASE_URL) {
        let path = dir.join(path);
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "{path:?} is old: cargo run -p bakery -- docs");
    }
}
