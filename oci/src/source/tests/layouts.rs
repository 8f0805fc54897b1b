use super::*;

fn simple() -> (Files, String) {
    let mut files = Files::default();
    let descriptor = files.image(&layers(), mixed, &tag("latest"));
    files.layout(std::slice::from_ref(&descriptor));
    (files, descriptor)
}

#[test]
fn a_layout_is_read_whatever_its_layers_are_compressed_with() {
    let place = Place::new();
    let (files, _) = simple();
    let path = place.layout("x", &files);
    for tag in [None, Some("latest")] {
        let image = ImageRef::OciDir { path: path.clone(), which: tag.map(|t| t.parse().unwrap()) };
        let rootfs = place.read(&image).unwrap();
        assert_eq!(rootfs.tree.dump(), EXPECTED);
        assert_eq!(rootfs.config.env, ["A=B"]);
        let diff_ids: Vec<Digest> = layers().iter().map(Digest::of).collect();
        assert_eq!(rootfs.config.diff_ids, diff_ids);
    }
}

#[test]
fn layers_of_the_cache_are_not_read_again() {
    let place = Place::new();
    let (mut files, _) = simple();
    assert_eq!(place.oci("full", &files, None).unwrap(), EXPECTED);
    // All that is compressed; what isn't was read in place.
    for packed in [gzip(&layers()[1]), zstd(&layers()[2]), xz(&layers()[3])] {
        files.0.remove(&format!("blobs/sha256/{}", Digest::of(&packed).hex())).unwrap();
    }
    assert_eq!(place.oci("emptied", &files, None).unwrap(), EXPECTED);
}

#[test]
fn names_choose_among_several_images() {
    let place = Place::new();
    let mut files = Files::default();
    let one = files.image(&layers()[..1], mixed, &tag("one"));
    let two = files.image(&layers()[..2], mixed, &tag("two"));
    let same = two
        .replace("\"two\"", "\"again\"")
        .replace("image.ref.name", "image.ref.name\":\"again\",\"io.containerd.image.name");
    files.layout(&[one, two.clone(), same.clone()]);
    assert!(place.oci("x", &files, Some("one")).unwrap().contains("/usr/a"));
    assert!(!place.oci("x", &files, Some("two")).unwrap().contains("/usr/a"));
    assert!(!place.oci("x", &files, Some("again")).unwrap().contains("/usr/a"));
    assert_eq!(place.oci("x", &files, None).unwrap_err(), "\"/x\" has several images: one, two, again");
    assert_eq!(
        place.oci("x", &files, Some("3")).unwrap_err(),
        "\"/x\" has no image \"3\", but one, two, again"
    );
    files.layout(&[two, same]);
    assert!(place.oci("y", &files, None).is_ok(), "two names of one image");
}

#[test]
fn the_platform_chooses_through_nested_indexes() {
    let place = Place::new();
    let mut files = Files::default();
    let platform = |p: &str| format!(r#","platform":{{"os":"linux",{p}}}"#);
    let arm64 = files.image(&layers()[..1], mixed, &platform(r#""architecture":"arm64","variant":"v8""#));
    let amd64 = files.image(&layers()[..2], mixed, &platform(r#""architecture":"amd64""#));
    let attestation = amd64.replace("linux", "unknown").replace("amd64", "unknown");
    let index =
        format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{attestation},{arm64},{amd64}]}}"#);
    let index = files.descriptor(INDEX, index.as_bytes(), &tag("multi"));
    files.layout(&[index]);
    let image = ImageRef::OciDir { path: place.layout("x", &files), which: None };
    assert!(place.read_for(&image, "arm64", &Silent).unwrap().tree.dump().contains("/usr/a"));
    assert!(!place.read_for(&image, "amd64", &Silent).unwrap().tree.dump().contains("/usr/a"));
    let e = place.read_for(&image, "s390x", &Silent).unwrap_err();
    assert!(e.starts_with("\"/x\": no image for linux/s390x, index has"), "{e}");
}

#[test]
fn another_platform_is_refused() {
    let place = Place::new();
    let image = ImageRef::OciDir { path: place.layout("x", &simple().0), which: None };
    assert!(place.read_for(&image, "amd64/v3", &Silent).is_ok());
    let e = place.read_for(&image, "arm64", &Silent).unwrap_err();
    assert_eq!(e, "\"/x\": image is for linux/amd64, expected linux/arm64");
}

#[test]
fn no_layers_make_an_empty_root() {
    let mut files = Files::default();
    let empty = files.image(&[], mixed, "");
    files.layout(&[empty]);
    assert_eq!(Place::new().oci("x", &files, None).unwrap(), "/ dir 0755 0:0\n");
}

#[test]
fn one_layer_may_be_there_twice() {
    let mut files = Files::default();
    let tar = layers().remove(0);
    let twice = files.image(&[tar.clone(), tar], |_, t| gzip(t), "");
    files.layout(&[twice]);
    assert!(Place::new().oci("x", &files, None).unwrap().contains("/usr/a"));
}

/// Replaces text in all JSON files, keeping the digests right.
fn edited(from: &str, to: &str) -> Files {
    let mut files = Files::default();
    let layers = layers();
    let edit = |s: String| s.replace(from, to);
    let config = edit(config(&layers, "amd64"));
    let config = edit(files.descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes(), ""));
    let list: Vec<String> = layers
        .iter()
        .enumerate()
        .map(|(i, l)| files.descriptor("application/vnd.oci.image.layer.v1.tar", &mixed(i, l), ""))
        .collect();
    let manifest = edit(format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#, list.join(",")));
    let manifest = files.descriptor(MANIFEST, manifest.as_bytes(), "");
    files.layout(&[manifest]);
    let index = String::from_utf8(files.0["index.json"].clone()).unwrap();
    files.0.insert("index.json".into(), edit(index).into_bytes());
    files
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let tars = layers();
    let d = |i: usize| Digest::of(mixed(i, &tars[i])).to_string();
    let diff = |i: usize| Digest::of(&tars[i]).to_string();
    let size =
        |i: usize, n: i64| (format!("\"size\":{}}}", mixed(i, &tars[i]).len()), format!("\"size\":{n}}}"));
    let none = Digest::of("something else").to_string();
    let (gz_size, short) = size(1, 5);
    let (_, negative) = size(1, -5);
    let (_, huge) = size(1, 1 << 37);
    let (_, too_large) = size(1, 1 << 40);
    let (plain_size, plain_short) = size(0, 512);
    let config_len = config(&tars, "amd64").len();
    let cases: &[(&str, String, String, &str)] = &[
        ("wrong diff_id", diff(1), none.clone(), "got inflated content with diff_id"),
        (
            "wrong diff_id in place",
            format!("[\"{}", diff(0)),
            format!("[\"{none}"),
            "got content with digest",
        ),
        ("missing layer", format!("\"{}\",\"size\"", d(1)), format!("\"{none}\",\"size\""), " is missing"),
        ("swapped layers", d(2), d(1), "bytes, expected"),
        ("short size", gz_size.clone(), short, "bytes, expected 5"),
        ("short size in place", plain_size, plain_short, "bytes, expected 512"),
        ("huge size", gz_size.clone(), huge, "bytes, expected 137438953472"),
        ("too large", gz_size.clone(), too_large, "bytes together, expected at most 274877906944"),
        ("negative size", gz_size, negative, "manifest is malformed: invalid value: integer `-5`"),
        ("short config", format!("\"size\":{config_len}"), "\"size\":7".into(), "bytes, expected 7"),
        (
            "count",
            format!(",\"{}\"", diff(3)),
            String::new(),
            "manifest has 4 layers, but config has 3 diff_ids",
        ),
        ("path as digest", d(1), "sha256:../../../../etc/passwd".into(), "is malformed, expected sha256"),
        (
            "sha512",
            d(1).clone(),
            d(1).replace("sha256", "sha512"),
            "has algorithm \"sha512\", expected sha256",
        ),
        (
            "config as index",
            "image.config.v1".into(),
            "image.index.v1".into(),
            "not an image: config has media type",
        ),
        ("manifest as index", MANIFEST.into(), INDEX.into(), "on an image manifest"),
        (
            "schema 1",
            "\"schemaVersion\":2,\"config\"".into(),
            "\"schemaVersion\":1,\"config\"".into(),
            "Docker schema 1",
        ),
        (
            "rootfs type",
            "\"type\":\"layers\"".into(),
            "\"type\":\"zip\"".into(),
            "rootfs.type \"zip\", expected",
        ),
    ];
    for (name, from, to, expected) in cases {
        let files = edited(from, to);
        let e = Place::new().oci("x", &files, None).expect_err(name);
        assert!(
            e.starts_with("\"/x\": ") && e.contains(expected),
            "{name}: got {e:?}, expected {expected:?}"
        );
    }
    assert_eq!(Place::new().oci("x", &edited("", ""), None).unwrap(), EXPECTED, "the table's base is sound");
}

#[test]
fn damaged_blobs_are_refused_and_leave_the_cache_usable() {
    let good = simple().0;
    for i in 0..4 {
        let place = Place::new();
        let packed = mixed(i, &layers()[i]);
        let name = format!("blobs/sha256/{}", Digest::of(&packed).hex());
        let mut bad = good.clone();
        let mut flipped = packed.clone();
        flipped[packed.len() / 2] ^= 1;
        bad.0.insert(name.clone(), flipped);
        assert!(place.oci(&format!("flipped{i}"), &bad, None).is_err(), "layer {i}");
        bad.0.insert(name, packed[..packed.len() - 1].to_vec());
        let e = place.oci(&format!("cut{i}"), &bad, None).unwrap_err();
        assert!(e.contains("bytes, expected"), "layer {i}: {e}");
        assert_eq!(place.oci("good", &good, None).unwrap(), EXPECTED);
    }
}

#[test]
fn other_urls_of_a_layer_are_not_followed() {
    let foreign = "\"urls\":[\"http://127.0.0.1:1/x\"],\"size\":";
    let packed = gzip(&layers()[1]);
    let from = format!("{}\",\"size\":", Digest::of(&packed));
    let mut files = edited(&from, &from.replace("\"size\":", foreign));
    assert_eq!(Place::new().oci("x", &files, None).unwrap(), EXPECTED, "it is there all the same");
    files.0.remove(&format!("blobs/sha256/{}", Digest::of(&packed).hex())).unwrap();
    let e = Place::new().oci("x", &files, None).unwrap_err();
    assert!(e.ends_with(" is missing; its other URLs are not followed"), "{e}");
}

#[test]
fn what_is_no_layout_is_refused() {
    let place = Place::new();
    let without = |name: &str| {
        let mut files = simple().0;
        files.0.remove(name);
        place.oci(&format!("no-{name}"), &files, None).unwrap_err()
    };
    assert!(without("oci-layout").ends_with("not an OCI image layout: the file oci-layout is missing"));
    assert!(without("index.json").ends_with(": index.json is missing"));
    let with = |name: &str, text: &str| {
        let mut files = simple().0;
        files.0.insert(name.into(), text.into());
        place.oci("changed", &files, None).unwrap_err()
    };
    assert!(with("oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#).contains("unknown version"));
    assert!(with("oci-layout", "[").contains("oci-layout is malformed"));
    let image = format!(r#"{{"schemaVersion":2,"config":{}}}"#, r#"{"digest":"x"}"#);
    assert!(with("index.json", &image).contains("digest \"x\" is malformed"));
    let file = ImageRef::OciDir { path: place.write("file", b""), which: None };
    assert!(place.read(&file).unwrap_err().starts_with("\"/file\": not an OCI image layout"));
    let nothing = ImageRef::OciDir { path: place.dir.path().join("nothing"), which: None };
    assert!(place.read(&nothing).unwrap_err().contains("No such file"));
}
