use std::io::Write as _;

use ::zip::write::SimpleFileOptions;
use tree::Silent;

use super::*;

struct Bench {
    _dir: tempfile::TempDir,
    cache: Cache,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        Bench { _dir: dir, cache }
    }

    fn unpack(&self, bytes: &[u8], name: &str, options: &UnpackOptions) -> Result<Vec<String>, String> {
        let tree = unpack(&bytes.into(), &Digest::of(bytes), name, options, &self.cache, &Silent);
        let tree = tree.map_err(|e| e.to_string())?;
        let show = |(path, node): (&TreePath, &Node)| {
            let text = match &node.kind {
                tree::Kind::File(c) => {
                    format!(" {:o} {}", node.meta.mode, String::from_utf8(c.read(99).unwrap()).unwrap())
                }
                tree::Kind::Symlink(target) => format!(" -> {}", String::from_utf8_lossy(target)),
                _ => "/".into(),
            };
            format!("{path}{text}")
        };
        Ok(tree.iter().skip(1).map(show).collect())
    }
}

fn tar(files: &[(&str, u32, &str)]) -> Vec<u8> {
    let mut tree = Tree::default();
    for (path, mode, text) in files {
        tree.insert_all(path.parse().unwrap(), Node::file(*mode, *text), &Meta::dir()).unwrap();
    }
    let mut out = Vec::new();
    tree.write_tar(&mut out).unwrap();
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn deb(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, bytes) in members {
        let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len());
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(2), b'\n');
    }
    out
}

fn strip(parts: u32) -> UnpackOptions {
    UnpackOptions { strip: parts, ..UnpackOptions::default() }
}

#[test]
fn tars() {
    let bench = Bench::new();
    let bytes = gzip(&tar(&[("/top/bin/a", 0o755, "A"), ("/top/README", 0o644, "R")]));
    let all = bench.unpack(&bytes, "x.tgz", &strip(0)).unwrap();
    assert_eq!(all, ["/top/", "/top/README 644 R", "/top/bin/", "/top/bin/a 755 A"]);
    // The second time it is in the cache, inflated.
    let all = bench.unpack(&bytes, "x.tar.gz", &strip(1)).unwrap();
    assert_eq!(all, ["/README 644 R", "/bin/", "/bin/a 755 A"]);
    assert_eq!(bench.unpack(&bytes, "x.tgz", &strip(9)).unwrap(), [""; 0]);
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    let error = bench.unpack(&damaged, "x.tgz", &strip(0)).unwrap_err();
    assert!(error.starts_with("archive x.tgz: ") && error.contains("gzip stream"), "{error}");
    let error = bench.unpack(&gzip(b"<html>"), "x.tgz", &strip(0)).unwrap_err();
    assert!(error.starts_with("archive x.tgz: "), "{error}");
}

#[test]
fn hard_links_stay_links() {
    let mut tree = Tree::default();
    tree.insert_all("/t/a".parse().unwrap(), Node::file(0o755, "A"), &Meta::dir()).unwrap();
    tree.link("/t/b".parse().unwrap(), &"/t/a".parse().unwrap()).unwrap();
    let mut bytes = Vec::new();
    tree.write_tar(&mut bytes).unwrap();
    let bench = Bench::new();
    let tree =
        unpack(&bytes.as_slice().into(), &Digest::of(&bytes), "x.tar", &strip(1), &bench.cache, &Silent)
            .unwrap();
    assert_eq!(tree.ino(&"/a".parse().unwrap()), tree.ino(&"/b".parse().unwrap()));
}

#[test]
fn debs() {
    let bench = Bench::new();
    let data = gzip(&tar(&[("/usr/bin/a", 0o755, "A")]));
    let first = deb(&[("debian-binary", b"2.0\n"), ("control.tar.gz/", b"odd"), ("data.tar.gz/", &data)]);
    assert_eq!(bench.unpack(&first, "a.deb", &strip(0)).unwrap(), ["/usr/", "/usr/bin/", "/usr/bin/a 755 A"]);
    for (bytes, message) in [
        (deb(&[("debian-binary", b"2.0\n")]), "has no member data.tar.*, but debian-binary"),
        (b"<html>".to_vec(), "is no ar archive, as a Debian package is"),
        (deb(&[("data.tar", b"")])[..30].to_vec(), "member at 8 has a malformed header"),
        (deb(&[("x", b"abcd")])[..70].to_vec(), "member \"x\" is 4 bytes, more than there are"),
    ] {
        let error = bench.unpack(&bytes, "a.deb", &strip(0)).unwrap_err();
        assert_eq!(error, format!("archive a.deb: {message}"));
    }
}

#[test]
fn inner_archives() {
    let bench = Bench::new();
    let inner =
        |name: &str, text: &str| deb(&[("data.tar", &tar(&[(&format!("/usr/bin/{name}"), 0o755, text)]))]);
    let outer = |members: &[(&str, Vec<u8>)]| {
        let mut tree = Tree::default();
        for (path, bytes) in members {
            tree.insert_all(path.parse().unwrap(), Node::file(0o644, bytes.as_slice()), &Meta::dir())
                .unwrap();
        }
        let mut out = Vec::new();
        tree.write_tar(&mut out).unwrap();
        gzip(&out)
    };
    let options = UnpackOptions { strip: 1, inside: Some("packages/*.deb".into()), archive: None };
    let good = outer(&[
        ("/r/packages/a.deb", inner("a", "A")),
        ("/r/packages/b.deb", inner("b", "B")),
        ("/r/x.deb", inner("x", "X")),
    ]);
    let all = bench.unpack(&good, "x.tgz", &options).unwrap();
    assert_eq!(all, ["/usr/", "/usr/bin/", "/usr/bin/a 755 A", "/usr/bin/b 755 B"]);
    let twice = outer(&[("/r/packages/a.deb", inner("a", "A")), ("/r/packages/b.deb", inner("a", "B"))]);
    let error = bench.unpack(&twice, "x.tgz", &options).unwrap_err();
    assert_eq!(error, "archive x.tgz: /usr/bin/a is in two of the inner archives");
    let none = outer(&[("/r/a.deb", inner("a", "A"))]);
    let error = bench.unpack(&none, "x.tgz", &options).unwrap_err();
    assert_eq!(error, "archive x.tgz: has no file that matches \"packages/*.deb\", but /a.deb");
    let odd = outer(&[("/r/packages/a.deb", b"odd".to_vec())]);
    let error = bench.unpack(&odd, "x.tgz", &options).unwrap_err();
    assert_eq!(error, "archive x.tgz: a.deb: is no ar archive, as a Debian package is");
}

fn zipped(add: impl FnOnce(&mut ::zip::ZipWriter<std::io::Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut zip = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    add(&mut zip);
    zip.finish().unwrap().into_inner()
}

#[test]
fn zips() {
    let bench = Bench::new();
    let mode = |m| SimpleFileOptions::default().unix_permissions(m);
    let bytes = zipped(|zip| {
        zip.add_directory("top/", mode(0o700)).unwrap();
        zip.start_file("top/run", mode(0o755)).unwrap();
        zip.write_all(b"A").unwrap();
        zip.start_file("top/sub/text", mode(0o600)).unwrap();
        zip.write_all(b"text").unwrap();
        zip.add_symlink("top/link", "run", mode(0o777)).unwrap();
    });
    let all = bench.unpack(&bytes, "x.zip", &strip(1)).unwrap();
    assert_eq!(all, ["/link -> run", "/run 755 A", "/sub/", "/sub/text 644 text"]);

    let through = zipped(|zip| {
        zip.add_symlink("d", "/etc", mode(0o777)).unwrap();
        zip.start_file("d/x", mode(0o644)).unwrap();
    });
    let up = zipped(|zip| zip.start_file("../x", mode(0o644)).unwrap());
    for (bytes, message) in
        [(through, "not a directory"), (up, "\"..\""), (b"<html>".to_vec(), "is malformed")]
    {
        let error = bench.unpack(&bytes, "x.zip", &strip(0)).unwrap_err();
        assert!(error.starts_with("archive x.zip: ") && error.contains(message), "{error}");
    }
}

#[test]
fn bare_files() {
    let bench = Bench::new();
    for (bytes, name, expected) in [
        (b"text".to_vec(), "notes", "/notes 644 text"),
        (b"#!/bin/sh".to_vec(), "run", "/run 755 #!/bin/sh"),
        (gzip(b"\x7fELF"), "prog.gz", "/prog 755 \u{7f}ELF"),
        (b"not gzip".to_vec(), "x.gz", "/x.gz 644 not gzip"),
    ] {
        assert_eq!(bench.unpack(&bytes, name, &strip(3)).unwrap(), [expected]);
    }
    let options = UnpackOptions { archive: Some(Archive::File), ..strip(0) };
    assert_eq!(bench.unpack(b"x", "x.tar", &options).unwrap(), ["/x.tar 644 x"]);
}
