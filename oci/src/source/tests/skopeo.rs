//! The same image as skopeo writes it.

use std::process::Command;

use super::*;

fn skopeo(dir: &Path, from: &str, to: &str) {
    let args =
        ["--insecure-policy", "--override-arch", "amd64", "--override-os", "linux", "copy", "-q", from, to];
    let output = Command::new("skopeo").args(args).current_dir(dir).output();
    let output = output.unwrap_or_else(|e| panic!("skopeo: {e}; install the Debian package skopeo"));
    assert!(output.status.success(), "skopeo: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn reads_what_skopeo_writes() {
    let place = Place::new();
    let mut files = Files::default();
    // skopeo believes the media type.
    let descriptor = files.image(&layers(), |_, t| gzip(t), &tag("latest"));
    files.layout(&[descriptor]);
    let path = place.layout("in", &files);
    let expected = place.read(&ImageRef::OciDir { path, tag: None }).unwrap();
    let dir = place.dir.path();
    for (to, image) in [
        ("oci:out:name", ImageRef::OciDir { path: dir.join("out"), tag: Some("name".into()) }),
        ("oci-archive:a.tar:name", ImageRef::OciArchive(dir.join("a.tar"))),
        ("docker-archive:b.tar:x/y:1", ImageRef::DockerArchive(dir.join("b.tar"))),
    ] {
        skopeo(dir, "oci:in:latest", to);
        let rootfs = place.read(&image).unwrap();
        assert_eq!(rootfs.tree.dump(), EXPECTED, "{to}");
        assert_eq!(rootfs.id, expected.id, "{to}");
    }
}
