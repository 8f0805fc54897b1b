use super::*;

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn docker_rules() {
    let digest = format!("sha256:{HEX}");
    for (text, full) in [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20"),
        ("user/app", "docker.io/user/app:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        ("index.docker.io/alpine:x", "docker.io/library/alpine:x"),
        ("docker.io/library/alpine", "docker.io/library/alpine:latest"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1"),
        ("127.0.0.1:5000/library/debian:bookworm", "127.0.0.1:5000/library/debian:bookworm"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("[::1]/app:t", "[::1]/app:t"),
        ("quay.io/a/b/c/d", "quay.io/a/b/c/d:latest"),
        ("Registry/app", "Registry/app:latest"),
        ("a__b/c-d--e.f_g", "docker.io/a__b/c-d--e.f_g:latest"),
        ("evil/docker.io/x", "docker.io/evil/docker.io/x:latest"),
        (&format!("alpine@{digest}"), &format!("docker.io/library/alpine@{digest}")),
        (&format!("alpine:3@{digest}"), &format!("docker.io/library/alpine:3@{digest}")),
        (&format!("h:1/alpine:3@{digest}"), &format!("h:1/alpine:3@{digest}")),
    ] {
        let reference: Reference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(reference.to_string(), full, "{text}");
        // What is printed names the same image.
        let again: Reference = full.parse().unwrap();
        assert_eq!(again.to_string(), full);
    }
}

#[test]
fn short_names_are_known_as_such() {
    let short = |text: &str| {
        let r: Reference = text.parse().unwrap();
        (r.is_short(), r.short_name().to_owned())
    };
    assert_eq!(short("alpine:3"), (true, "alpine".into()));
    assert_eq!(short("user/app"), (true, "user/app".into()));
    assert_eq!(short("docker.io/alpine"), (false, "library/alpine".into()));
}

#[test]
fn bad_syntax() {
    for (text, word) in [
        ("", "empty"),
        ("Alpine", "name"),
        ("alpine:", "tag"),
        ("alpine:-x", "tag"),
        ("alpine:a b", "tag"),
        ("alpine@", "digest"),
        ("alpine@sha256:abc", "digest"),
        ("alpine@sha256:../../x", "digest"),
        ("alpine@md5:0123456789abcdef0123456789abcdef", "digest"),
        (&format!("alpine@sha256:{}", HEX.to_uppercase()), "digest"),
        (&format!("alpine@sha256:{HEX}@sha256:{HEX}"), "digest"),
        (HEX, "image ID"),
        ("a//b", "name"),
        ("a/b/", "name"),
        ("a/../b", "name"),
        ("a___b", "name"),
        ("-a", "name"),
        ("a-", "name"),
        ("a._b", "name"),
        ("é", "name"),
        ("host:99999/x", "registry"),
        ("host:0/x", "registry"),
        ("host:+1/x", "registry"),
        ("[::g]/x", "registry"),
        ("[::1/x", "registry"),
        ("-h.io/x", "registry"),
        ("h..io/x", "registry"),
        ("quay.io/", "name"),
        ("a\nb", "name"),
        ("user:pass@host/x", "digest"),
    ] {
        let error = text.parse::<Reference>().expect_err(text).to_string();
        assert!(error.contains(word), "{text:?}: {error}");
    }
    let long = format!("quay.io/{}", "a/".repeat(130) + "a");
    assert_eq!(long.parse::<Reference>(), Err(ReferenceError::TooLong(long.len())));
}

#[test]
fn transports() {
    let name = |t: &str| Some(ImageSelector::Name(t.to_owned()));
    for (text, expected) in [
        ("oci:/x/y", ImageRef::OciDir { path: "/x/y".into(), which: None }),
        ("oci:x:v1", ImageRef::OciDir { path: "x".into(), which: name("v1") }),
        // Nothing is there, so that the first colon ends the path.
        ("oci:x:y/z:v", ImageRef::OciDir { path: "x".into(), which: name("y/z:v") }),
        ("oci:x:@12", ImageRef::OciDir { path: "x".into(), which: Some(ImageSelector::Position(12)) }),
        ("oci:x:@1a", ImageRef::OciDir { path: "x".into(), which: name("@1a") }),
        (
            "oci-archive:a.tar:h:5000/x:1",
            ImageRef::OciArchive { path: "a.tar".into(), which: name("h:5000/x:1") },
        ),
        ("docker-archive:a.tar:x:1", ImageRef::DockerArchive { path: "a.tar".into(), which: name("x:1") }),
        (
            "docker-archive:a.tar:@0",
            ImageRef::DockerArchive { path: "a.tar".into(), which: Some(ImageSelector::Position(0)) },
        ),
        ("oci-archive:a.tar", ImageRef::OciArchive { path: "a.tar".into(), which: None }),
        ("docker-archive:a.tar", ImageRef::DockerArchive { path: "a.tar".into(), which: None }),
        ("tar:a.tar.zst", ImageRef::Tar("a.tar.zst".into())),
        ("dir:/", ImageRef::Dir("/".into())),
    ] {
        assert_eq!(text.parse::<ImageRef>().unwrap(), expected, "{text}");
        assert_eq!(expected.to_string(), text);
    }
    let hub: ImageRef = "docker://alpine".parse().unwrap();
    assert_eq!(hub, "alpine".parse().unwrap());
    // Names that look like transports are tags of images.
    assert_eq!("docker:dind".parse::<ImageRef>().unwrap().to_string(), "docker.io/library/docker:dind");
    for (text, word) in [
        ("oci:", "no path"),
        ("dir:", "no path"),
        ("docker-daemon:x", "docker save -o FILE NAME"),
        ("containers-storage:x", "podman save -o FILE NAME"),
        ("podman:/x", "podman save -o FILE NAME"),
        ("ostree:x@/y", "skopeo copies such images to oci:DIR"),
        ("sif:x.sif", "skopeo copies"),
        ("https://quay.io/x", "by HOST/NAME:TAG"),
        ("oci://quay.io/x:1", "by HOST/NAME:TAG"),
        ("file:///x.tar", "named by its path"),
        ("docker:/x", "transport"),
        ("oci::x", "no path"),
        ("docker-archive::x", "no path"),
        ("/does/not/exist", "/does/not/exist"),
        ("./does/not/exist", "does/not/exist"),
    ] {
        let error = text.parse::<ImageRef>().expect_err(text).to_string();
        assert!(error.contains(word), "{text:?}: {error}");
    }
}

#[test]
fn paths() {
    let dir = tempfile::tempdir().unwrap();
    let at = |p: &Path| p.to_str().unwrap().parse::<ImageRef>().unwrap();
    assert_eq!(at(dir.path()), ImageRef::Dir(dir.path().into()));
    std::fs::write(dir.path().join("index.json"), "{}").unwrap();
    std::fs::write(dir.path().join("oci-layout"), "{}").unwrap();
    assert_eq!(at(dir.path()), ImageRef::OciDir { path: dir.path().into(), which: None });
    let file = dir.path().join("index.json");
    assert_eq!(at(&file), ImageRef::Tar(file.clone()));
    assert_eq!("..".parse::<ImageRef>().unwrap(), ImageRef::Dir("..".into()));
}

#[test]
fn what_is_there_tells_where_a_path_with_colons_ends() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().to_str().unwrap();
    let layout = |name: &str| {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        std::fs::write(dir.path().join(name).join("index.json"), "{}").unwrap();
    };
    layout("a:b");
    layout("c");
    layout("c:d");
    // A directory, but no layout.
    std::fs::create_dir(dir.path().join("e")).unwrap();
    layout("e:f");
    std::fs::create_dir(dir.path().join("g")).unwrap();
    std::fs::write(dir.path().join("x:1.tar"), "").unwrap();
    for (transport, text, path, which) in [
        ("oci", "a:b", "a:b", None),
        ("oci", "a:b:", "a:b", None),
        ("oci", "a:b:docker.io/library/one:1", "a:b", Some("docker.io/library/one:1")),
        ("oci", "a:b:@3", "a:b", Some("@3")),
        // The same meaning as for other tools, where both are possible.
        ("oci", "c:d", "c", Some("d")),
        ("oci", "e:f", "e:f", None),
        ("oci", "g:f", "g", Some("f")),
        ("docker-archive", "x:1.tar", "x:1.tar", None),
        ("docker-archive", "x:1.tar:localhost:5000/y:2", "x:1.tar", Some("localhost:5000/y:2")),
        ("oci-archive", "x:1.tar:y", "x:1.tar", Some("y")),
    ] {
        let image: ImageRef = format!("{transport}:{base}/{text}").parse().unwrap();
        let (ImageRef::OciDir { path: got, which: got_which }
        | ImageRef::OciArchive { path: got, which: got_which }
        | ImageRef::DockerArchive { path: got, which: got_which }) = &image
        else {
            panic!("{image}")
        };
        let expected = which.map(|w: &str| w.parse::<ImageSelector>().unwrap());
        assert_eq!((got, got_which), (&dir.path().join(path), &expected), "{transport}:{text}");
        // What is printed names the same image.
        assert_eq!(image.to_string().parse::<ImageRef>().unwrap(), image);
    }
}

#[test]
fn relocation_keeps_tag_and_digest() {
    let r: Reference = format!("alpine:3@sha256:{HEX}").parse().unwrap();
    let moved = r.relocated("mirror.example:5000/hub/alpine").unwrap();
    assert_eq!(moved.to_string(), format!("mirror.example:5000/hub/alpine:3@sha256:{HEX}"));
    assert!(r.relocated("mirror.example/x:tag").is_err());
}

proptest::proptest! {
    #[test]
    fn never_panics_and_round_trips(text in "\\PC{0,40}|[a-z0-9:/@._\\[\\]-]{0,60}") {
        if let Ok(r) = text.parse::<Reference>() {
            let full = r.to_string();
            let again: Reference = full.parse().unwrap();
            proptest::prop_assert_eq!(again.to_string(), full);
        }
    }
}
