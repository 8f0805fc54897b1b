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
    let expected = place.read(&ImageRef::OciDir { path, which: None }).unwrap();
    let dir = place.dir.path();
    for (to, image) in [
        ("oci:out:name", "oci:out:name"),
        ("oci:out:docker.io/library/one:1", "oci:out:docker.io/library/one:1"),
        ("oci:out:localhost:5000/one:2", "oci:out:localhost:5000/one:2"),
        ("oci:out:localhost:5000/one:2", "oci:out:@0"),
        ("oci-archive:a.tar:name", "oci-archive:a.tar"),
        ("oci-archive:a1.tar:name", "oci-archive:a1.tar:name"),
        ("oci-archive:a2.tar:docker.io/library/one:1", "oci-archive:a2.tar:one:1"),
        ("docker-archive:b.tar:x/y:1", "docker-archive:b.tar"),
        ("docker-archive:b1.tar:x/y:1", "docker-archive:b1.tar:x/y:1"),
        ("docker-archive:b2.tar:x:1", "docker-archive:b2.tar:docker.io/library/x:1"),
        ("docker-archive:b3.tar:x:1", "docker-archive:b3.tar:@0"),
        ("docker-archive:b4.tar:localhost:5000/x:1", "b4.tar"),
        ("dir:d", "dir:d"),
        ("dir:d1", "d1"),
        ("oci:out1:name", "out1"),
    ] {
        skopeo(dir, "oci:in:latest", to);
        let text = match image.split_once(':') {
            Some((transport, rest)) => format!("{transport}:{}/{rest}", dir.display()),
            None => format!("{}/{image}", dir.display()),
        };
        let rootfs = place.read(&text.parse().unwrap()).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(rootfs.tree.dump(), EXPECTED, "{to}");
        assert_eq!(rootfs.id, expected.id, "{to}");
    }
}

#[test]
fn reads_a_docker_archive_from_a_pipe_and_packed() {
    let place = Place::new();
    let mut files = Files::default();
    let descriptor = files.image(&layers(), |_, t| gzip(t), &tag("latest"));
    files.layout(&[descriptor]);
    place.layout("in", &files);
    let dir = place.dir.path();
    skopeo(dir, "oci:in:latest", "docker-archive:x.tar:x:1");
    let tar = std::fs::read(dir.join("x.tar")).unwrap();
    let packed = place.write("x.tar.gz", &gzip(&tar));
    let image = format!("docker-archive:{}:x:1", packed.display());
    assert_eq!(place.read(&image.parse().unwrap()).unwrap().tree.dump(), EXPECTED);
    let pipe = dir.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let image: ImageRef = format!("docker-archive:{}:x:1", pipe.display()).parse().unwrap();
    let writer = std::thread::spawn(move || std::fs::File::create(pipe).unwrap().write_all(&tar));
    let rootfs = place.read(&image).unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(rootfs.tree.dump(), EXPECTED);
}

/// skopeo's zstd:chunked leaves out what is behind a tar's last file; the diff_id doesn't know.
#[test]
fn reads_zstd_chunked() {
    let place = Place::new();
    let mut files = Files::default();
    let mut tar = layers().remove(0);
    // As GNU tar and Python pad.
    tar.resize(tar.len().next_multiple_of(10_240), 0);
    let descriptor = files.image(std::slice::from_ref(&tar), |_, t| gzip(t), &tag("latest"));
    files.layout(&[descriptor]);
    place.layout("in", &files);
    let dir = place.dir.path();
    let mut command = Command::new("skopeo");
    command.args(["--insecure-policy", "--override-arch", "amd64", "copy", "-q", "--dest-compress"]);
    command.args(["--dest-compress-format", "zstd:chunked", "oci:in:latest", "dir:out"]);
    assert!(command.current_dir(dir).status().unwrap().success());
    let manifest = std::fs::read_to_string(dir.join("out/manifest.json")).unwrap();
    assert!(manifest.contains("io.containers.zstd-chunked"), "{manifest}");
    let rootfs = place.read(&ImageRef::Dir(dir.join("out"))).unwrap();
    assert!(rootfs.tree.dump().contains("/usr/a file"), "{}", rootfs.tree.dump());
}
