//! The vectors of tests/vectors/layers.json by each way in, and what umoci makes of them.

#[path = "../../vectors/read.rs"]
mod read;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use e2e::layout::{self, Platform};
use read::Vector;
use tree::{Kind, ReadOptions, Silent, Tree};

/// The paths of a tree as vectors have them.
fn shown(tree: &Tree) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let mut out = BTreeMap::new();
    for (path, inode, node) in tree.iter_inodes().filter(|(path, ..)| !path.is_root()) {
        let name = String::from_utf8(path.to_absolute()).unwrap();
        let first = seen.entry(inode).or_insert_with(|| name.clone());
        let kind = match &node.kind {
            _ if *first != name => format!("hardlink {first}"),
            Kind::Dir if node.meta.mode == 0o755 => "dir".into(),
            Kind::Dir => format!("dir {:04o}", node.meta.mode),
            Kind::File(content) => {
                let data = content.read(1 << 20).unwrap();
                format!("file {}", String::from_utf8(data).unwrap()).trim_end().into()
            }
            Kind::Symlink(target) => format!("symlink {}", String::from_utf8_lossy(target)),
            Kind::CharDevice { major, minor } => format!("char {major}:{minor}"),
            Kind::Fifo => "fifo".into(),
            _ => "other".into(),
        };
        out.insert(name, kind);
    }
    out
}

/// The tars of a vector in files.
fn write(dir: &Path, vector: &Vector) -> Vec<PathBuf> {
    let write = |(n, tar): (usize, Vec<u8>)| {
        let path = dir.join(format!("layer{n}.tar"));
        fs::write(&path, tar).unwrap();
        path
    };
    vector.tars().into_iter().enumerate().map(write).collect()
}

/// What `docker save` wrote before version 25.
fn docker_archive(dir: &Path, tars: &[PathBuf]) -> PathBuf {
    let diff_ids: Vec<String> = tars.iter().map(|t| digest(&fs::read(t).unwrap())).collect();
    let config = serde_json::json!({
        "architecture": ARCHITECTURE, "os": "linux", "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let names: Vec<_> = tars.iter().map(|t| t.file_name().unwrap().to_str().unwrap()).collect();
    let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": ["x:1"], "Layers": names }]);
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    fs::write(dir.join("manifest.json"), manifest.to_string()).unwrap();
    let archive = dir.join("archive.tar");
    let tar = Program::new("tar").arg("-C").arg(dir).arg("-cf").arg(&archive);
    tar.args(["manifest.json", "config.json"]).args(&names).run().unwrap();
    archive
}

/// A part of each of our messages for a reason of the vectors'.
fn ours(reason: &str) -> &'static [&'static str] {
    match reason {
        "a \"..\" component" => &["has a \"..\" component"],
        "a name of more than 255 bytes" => &["expected at most 255"],
        "a path of more than 4096 bytes" => &["expected at most 4095"],
        "a target of more than 4095 bytes" => &["symlink target of 4096 bytes is too long"],
        "a whiteout is no directory" => &["whiteout has entries below it"],
        "a whiteout that names nothing" => {
            &["whiteout is of an unknown kind", "whiteout names a directory itself", "whiteout names no file"]
        }
        "not a directory" => &["is not a directory"],
        "the root stays a directory" => &["entry would replace the root directory by something else"],
        "the target is a directory" => &["is a directory"],
        "the target is empty" => &["link target is empty"],
        "the target is missing" => &["is missing"],
        "the target is the link itself" => &["is the link itself"],
        "too many levels of symbolic links" => &["too many levels of symbolic links"],
        other => panic!("no message for {other:?}"),
    }
}

#[test]
fn layer_vectors_by_each_way_in() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let bench = Bench::new(insecure(SHARED.registry.address));
    let context = bench.context();
    for (n, vector) in read::all().iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let tars = write(dir.path(), vector);
        let layout = dir.path().join("layout");
        let platform = Platform { architecture: ARCHITECTURE, layers: tars.clone() };
        layout::write(&layout, "x", &[platform]).unwrap();
        let archive = docker_archive(dir.path(), &tars);
        let layer = |tar: &PathBuf| {
            let tar = fs::read(tar).unwrap();
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gz.write_all(&tar).unwrap();
            Layer { blob: gz.finish().unwrap(), tar }
        };
        let image = Image::of(tars.iter().map(layer).collect(), |_| {}, |_| {}).unwrap();
        SHARED.registry.push("team/vector", &n.to_string(), &image).unwrap();
        let mut ways = vec![
            ("layout", format!("oci:{}", layout.display())),
            ("docker-archive", format!("docker-archive:{}", archive.display())),
            ("registry", format!("{}/team/vector:{n}", SHARED.registry.address)),
        ];
        // Whiteouts mean nothing in a tar that is no layer.
        let whiteouts = fs::read(&tars[0]).unwrap().windows(4).any(|w| w == b".wh.");
        if tars.len() == 1 && !whiteouts {
            ways.push(("tar", format!("tar:{}", tars[0].display())));
        }
        for (way, image) in ways {
            let got = context.rootfs(&image.parse().unwrap(), &oci::LivePaths::default(), &Silent);
            match (&vector.tree, got) {
                (Some(tree), Ok(rootfs)) => assert_eq!(&shown(&rootfs.tree), tree, "{}: {way}", vector.name),
                (None, Err(e)) => {
                    let (reason, said) = (vector.error.as_deref().unwrap_or_default(), e.to_string());
                    assert!(
                        said.contains("entry ") && ours(reason).iter().any(|ours| said.contains(ours)),
                        "{}: {way}: {said}",
                        vector.name
                    );
                }
                (_, got) => panic!("{}: {way}: {:?}", vector.name, got.map(|r| shown(&r.tree))),
            }
            *counts.entry(way).or_default() += 1;
        }
    }
    for (way, count) in counts {
        println!("counted: layers by {way}: {count}");
    }
}

/// It is no test of umoci's: what it makes of them is counted for docs/trust.md. It must run, and escape from nothing.
#[test]
fn layer_vectors_side_by_side() {
    let work = Work::new().unwrap();
    // An escape would be as this user, who may write to nothing but its home and the directory around the root.
    let user = work.user("user").unwrap();
    let (mut trees, mut errors) = (0, 0);
    let (mut other, mut refused, mut accepted) = (Vec::new(), Vec::new(), Vec::new());
    let vectors = read::all();
    for (n, vector) in vectors.iter().enumerate() {
        let dir = user.home().join(n.to_string());
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        let tars = write(&dir, vector);
        let layout = dir.join("layout");
        layout::write(&layout, "x", &[Platform { architecture: ARCHITECTURE, layers: tars }]).unwrap();
        let image = format!("{}:x", layout.display());
        let unpack = user.program("umoci").args(["raw", "unpack", "--rootless", "--image", &image]);
        let done = unpack.arg(dir.join("root")).outcome().unwrap();
        for above in dir.ancestors() {
            assert!(above.join("vector-escaped").symlink_metadata().is_err(), "{}: {above:?}", vector.name);
        }
        let tree = done
            .status
            .success()
            .then(|| shown(&Tree::from_dir(&dir.join("root"), &ReadOptions::default()).unwrap()));
        let name = vector.name.as_str();
        match (&vector.tree, tree) {
            (Some(expected), Some(tree)) if *expected == tree => trees += 1,
            (Some(_), Some(_)) => other.push(name),
            (Some(_), None) => refused.push(name),
            (None, None) => errors += 1,
            (None, Some(_)) => accepted.push(name),
        }
    }
    assert!(trees > 0, "umoci doesn't run");
    println!("counted: umoci: the same verdict: {}", trees + errors);
    for (what, names) in [
        ("another tree", other),
        ("refused where a tree is expected", refused),
        ("accepted where an error is expected", accepted),
    ] {
        println!("counted: umoci: {what}: {} ({})", names.len(), names.join(", "));
    }
    for dir in ["/etc", "/tmp", "/data"].map(Path::new) {
        assert!(dir.join("vector-escaped").symlink_metadata().is_err(), "{dir:?}");
    }
}
