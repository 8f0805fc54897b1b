//! Pinning and building.

use crate::mirror::{Mirror, tar};

const THING: &str = r#"
summary = "A thing"
[versions]
source = { github-releases = "a/thing" }
match = 'v(\d+\.\d+\.\d+)'
latest = "newest-per-minor"
minors = 2
[parameters.part-version]
about = "the part that is shipped"
source = { text = "https://e.org/part/{version}" }
[components]
one = "the first"
two = "the second"
[[download]]
id = "thing"
url = "https://e.org/v{version}/thing-{goarch}.tar"
checksum = { list = "https://e.org/v{version}/SHA256SUMS" }
strip = 1
[[install]]
from = "thing:bin/*"
to = "/usr/bin/"
[[file]]
path = "/usr/share/thing/version"
content = "{version} {part-version}\n"
[[file]]
path = "/usr/share/thing/config"
content = "2\n"
when = { version = ">=2.0.0", with = "two" }
"#;

const OTHER: &str = r#"
summary = "Another thing"
architectures = ["x86-64"]
[versions]
source = { text = "https://e.org/other/versions" }
[[download]]
id = "other"
url = "https://e.org/other/{version}"
checksum = "lock-only"
[[install]]
from = "other"
to = "/usr/bin/other"
mode = "0755"
"#;

fn sum(bytes: &[u8]) -> String {
    store::Digest::of(bytes).hex().to_string()
}

/// Two recipes, of which one has three versions.
fn mirror() -> Mirror {
    let mirror = Mirror::new();
    mirror.recipe("thing", THING);
    mirror.recipe("other", OTHER);
    let tags = ["v1.9.0", "v1.10.0", "v2.0.0", "v2.1.0-rc.1"].map(|t| format!("{{\"tag_name\":\"{t}\"}}"));
    mirror.put("api.github.com/repos/a/thing/releases", format!("[{}]", tags.join(",")));
    for version in ["1.9.0", "1.10.0", "2.0.0"] {
        mirror.put(&format!("e.org/part/{version}"), "7.1\n");
        let mut sums = String::new();
        for arch in ["amd64", "arm64"] {
            let tar = tar(&[("top/bin/thing", 0o755, arch), ("top/README", 0o644, version)]);
            mirror.put(&format!("e.org/v{version}/thing-{arch}.tar"), &tar);
            sums.push_str(&format!("{}  ./thing-{arch}.tar\n", sum(&tar)));
        }
        mirror.put(&format!("e.org/v{version}/SHA256SUMS"), sums);
    }
    mirror.put("e.org/other/versions", "1\n2\n");
    mirror.put("e.org/other/2", "#!/bin/sh\n");
    mirror
}

#[test]
fn a_recipe_is_linted_by_its_name() {
    let mirror = mirror();
    mirror.bakery(&["lint", "other", "--arch", "x86-64"]).bad(&["other x86-64 isn't pinned"]);
    mirror.bakery(&["lock", "other"]).good();
    let out = mirror.bakery(&["lint", "other", "--arch", "x86-64"]).good();
    assert_eq!(out, "1 image: nothing found\n");
    mirror.bakery(&["lint", "neither"]).bad(&["neither", "No such file"]);
}

fn images(dir: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let read = |p: std::path::PathBuf| {
        (p.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&p).unwrap())
    };
    let mut out: Vec<_> = entries.map(read).collect();
    out.sort();
    out
}

#[test]
fn the_catalogue_is_pinned_and_built_and_then_left_alone() {
    let mirror = mirror();
    assert_eq!(mirror.bakery(&["versions", "thing"]).good(), "2.0.0\n1.10.0\n1.9.0\n");
    assert_eq!(mirror.bakery(&["versions", "thing", "--latest"]).good(), "2.0.0\n1.10.0\n");

    for name in ["thing", "other"] {
        mirror.bakery(&["lock", name]).good();
    }
    let lock = std::fs::read_to_string(mirror.path("work/recipes.lock")).unwrap();
    assert!(lock.contains("found = { part-version = \"7.1\" }"), "{lock}");
    assert!(lock.contains("verified = \"checksum in https://e.org/v2.0.0/SHA256SUMS\""), "{lock}");
    assert!(lock.contains("verified = \"unchecked: upstream publishes no checksum\""), "{lock}");

    mirror.seen();
    std::fs::create_dir(mirror.path("one")).unwrap();
    let out = mirror.bakery(&["build", "--all", "-o", "../one"]).good();
    let names: Vec<String> = images(&mirror.path("one")).into_iter().map(|(n, _)| n).collect();
    let expected = [
        "other-2-x86-64.raw",
        "thing-1.10.0-arm64.raw",
        "thing-1.10.0-x86-64.raw",
        "thing-2.0.0-arm64.raw",
        "thing-2.0.0-x86-64.raw",
    ];
    assert_eq!(names, expected);
    assert!(expected.iter().all(|n| out.contains(n)), "{out}");
    // All was pinned and fetched before.
    assert_eq!(mirror.seen(), [""; 0]);

    let again = mirror.bakery(&["build", "--all", "-o", "../one"]).good();
    assert_eq!(again, "nothing to do: 5 images are up to date\n");

    // Another directory, and a cache that knows nothing.
    std::fs::create_dir(mirror.path("two")).unwrap();
    mirror.bakery(&["build", "--all", "-o", "../two", "--cache-dir", "../cache", "--jobs", "1"]).good();
    assert!(images(&mirror.path("one")) == images(&mirror.path("two")));

    // A file of the same size and time isn't noticed; its hash is.
    let path = mirror.path("one/other-2-x86-64.raw");
    let (time, mut bytes) = (path.metadata().unwrap().modified().unwrap(), std::fs::read(&path).unwrap());
    bytes[0] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    assert!(mirror.bakery(&["build", "--all", "-o", "../one"]).good().starts_with("nothing to do"));
    let said = mirror.bakery(&["build", "--all", "-o", "../one", "--verify"]).good();
    assert!(
        said.starts_with("../one/other-2-x86-64.raw: ") && said.contains("4 images are already"),
        "{said}"
    );
    assert!(images(&mirror.path("one")) == images(&mirror.path("two")));
}

#[test]
fn nothing_is_taken_that_is_not_pinned() {
    let mirror = mirror();
    mirror
        .bakery(&["build", "thing"])
        .bad(&["error: thing x86-64 isn't pinned in \"recipes.lock\"", "hint: "]);
    assert_eq!(mirror.seen(), [""; 0]);
    let build = ["build", "thing", "2.0.0", "--arch", "arm64", "--format", "dir", "--set", "part-version=8"];
    mirror.bakery(&build).bad(&["thing 2.0.0 arm64 part-version=8 isn't pinned"]);
    mirror.bakery(&[&build[..], &["--update", "--without", "two"]].concat()).good();
    let dir = mirror.path("work/thing-2.0.0-without-two-arm64/usr");
    assert_eq!(std::fs::read_to_string(dir.join("share/thing/version")).unwrap(), "2.0.0 8\n");
    assert_eq!(std::fs::read_to_string(dir.join("bin/thing")).unwrap(), "arm64");
    assert!(!dir.join("share/thing/config").exists());
    let release =
        std::fs::read_to_string(dir.join("lib/extension-release.d/extension-release.thing")).unwrap();
    assert_eq!(release, "ID=_any\nARCHITECTURE=arm64\n");

    // Upstream replaces the file: what is pinned isn't taken for it.
    mirror.bakery(&["lock", "other"]).good();
    mirror.put("e.org/other/2", "#!/bin/false\n");
    let url = "https://e.org/other/2";
    mirror.bakery(&["build", "other", "--arch", "x86-64", "--cache-dir", "../cold"]).bad(&[
        "other 2 x86-64",
        url,
        "expected",
    ]);
    let said = mirror.bakery(&["lock", "other", "--update", "--cache-dir", "../cold"]);
    assert!(said.err.contains(&format!("warning: other 2 x86-64: {url} was sha256:")), "{said:?}");
    said.good();
    assert!(!std::fs::read_dir(mirror.path("work")).unwrap().any(|e| {
        e.unwrap().file_name().to_str().is_some_and(|n| n.ends_with(".tmp") || n.starts_with("other"))
    }));
}

#[test]
fn errors_name_recipe_url_expected_and_got() {
    let mirror = mirror();
    let lock = ["lock", "thing", "2.0.0", "--arch", "x86-64"];
    let url = "https://e.org/v2.0.0/thing-amd64.tar";
    mirror.put("e.org/v2.0.0/SHA256SUMS", format!("{}  thing-amd64.tar\n", "0".repeat(64)));
    mirror.bakery(&lock).bad(&["thing 2.0.0 x86-64: ", url, "got ", "expected sha256:0000"]);
    mirror.put("e.org/v2.0.0/SHA256SUMS", format!("{}  other.tar\n", "0".repeat(64)));
    let list = "https://e.org/v2.0.0/SHA256SUMS";
    mirror.bakery(&lock).bad(&[
        "thing 2.0.0 x86-64: ",
        url,
        list,
        "no line for \"thing-amd64.tar\"",
        "other.tar",
    ]);
    let moved = tar(&[("top/sbin/thing", 0o755, "x")]);
    mirror.put("e.org/v2.0.0/thing-amd64.tar", &moved);
    mirror.put("e.org/v2.0.0/SHA256SUMS", format!("{}  thing-amd64.tar\n", sum(&moved)));
    mirror.bakery(&lock).good();
    mirror.bakery(&["build", "thing", "--arch", "x86-64"]).bad(&[
        "thing 2.0.0 x86-64: ",
        url,
        "nothing matches \"bin/*\", got sbin/thing",
        "hint: ",
    ]);
    std::fs::remove_file(mirror.path("www/e.org/v2.0.0/thing-amd64.tar")).unwrap();
    mirror.bakery(&["build", "thing", "--arch", "x86-64", "--cache-dir", "../cold"]).bad(&[url, "not found"]);
    mirror.bakery(&["lock", "thing", "3.0.0"]).bad(&[
        "thing 3.0.0 x86-64: ",
        "https://e.org/part/3.0.0",
        "not found",
    ]);
    mirror.bakery(&["build", "thnig"]).bad(&["recipe \"thnig\" is unknown, did you mean \"thing\"?"]);
    mirror.recipe("broken", "summary = \"x\"\nhomepgae = \"y\"\n");
    mirror
        .bakery(&["lock", "broken"])
        .bad(&["recipe broken: recipe.toml:2:1: unknown key \"homepgae\", did you mean \"homepage\"?"]);
}

#[test]
fn a_new_recipe_is_there_and_is_not_overwritten() {
    let mirror = Mirror::new();
    mirror.bakery(&["new", "gadget", "--dir", "../recipes"]).good();
    let list = mirror.bakery(&["list"]).good();
    assert!(list.lines().any(|l| l.starts_with("gadget ")), "{list}");
    mirror
        .bakery(&["new", "gadget", "--dir", "../recipes"])
        .bad(&["\"../recipes/gadget/recipe.toml\" exists"]);
    let schema: serde_json::Value = serde_json::from_str(&mirror.bakery(&["schema"]).good()).unwrap();
    assert_eq!(schema["title"], "recipe.toml");
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn libraries_of_the_host_have_to_be_named() {
    let mirror = mirror();
    // Every Debian has it, and it is no static program.
    mirror.put("e.org/other/2", std::fs::read("/bin/true").unwrap());
    let build = ["build", "other", "--update", "--arch", "x86-64", "--json"];
    mirror.bakery(&build).bad(&["other 2 x86-64: ", "/usr/bin/other: needs ", "libc.so.6 of the host"]);
    let libraries = "host-libraries = [\"libc.so.6\", \"ld-linux-x86-64.so.2\"]";
    mirror.recipe("other", &format!("{libraries}\n{OTHER}"));
    let said: serde_json::Value = serde_json::from_str(&mirror.bakery(&build).good()).unwrap();
    assert_eq!(said[0]["findings"], serde_json::json!([]));
}
