//! The same layers as umoci merges them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use tree::{ReadOptions, TreePath};

use super::*;

/// Numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn path(&mut self) -> String {
        let depth = 1 + self.below(3);
        (0..depth).map(|_| ["a", "b", "c", "d"][self.below(4) as usize]).collect::<Vec<_>>().join("/")
    }
}

/// A layer over few names, so that layers meet: files, directories, links, whiteouts; through symlinks to directories that
/// stay, too. What umoci 0.4.7 is known to get wrong is left out (umoci#546: a file where a parent is needed).
fn random_layer(numbers: &mut Numbers, first: bool) -> TarBuilder {
    let mut dirs: BTreeMap<String, u32> = BTreeMap::new();
    let mut leaves: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..6 + numbers.below(6) {
        let path = numbers.path();
        let mut parent = String::new();
        let mut fits = !dirs.contains_key(&path) && !leaves.contains_key(&path);
        for part in path.split('/').take(path.matches('/').count()) {
            parent = if parent.is_empty() { part.into() } else { format!("{parent}/{part}") };
            fits = fits && !leaves.contains_key(&parent);
        }
        if !fits {
            continue;
        }
        let mut above = path.as_str();
        while let Some((dir, _)) = above.rsplit_once('/') {
            dirs.entry(dir.into()).or_insert(0o755);
            above = dir;
        }
        leaves.insert(path, numbers.below(12));
    }
    let mut tar = b();
    if first {
        tar = tar.dir("target0").dir("target1");
    }
    let mut hidden: Vec<String> = Vec::new();
    for dir in dirs.keys() {
        if numbers.below(4) == 0 {
            hidden.push(format!("{dir}/.wh..wh..opq"));
        }
    }
    let early = numbers.below(2) == 0;
    for (dir, mode) in &dirs {
        tar = tar.raw(&Raw { mode: *mode, ..Raw::new(dir, b'5') });
    }
    let whiteouts: Vec<String> = leaves
        .iter()
        .filter(|(_, kind)| **kind >= 9)
        .map(|(path, _)| match path.rsplit_once('/') {
            Some((dir, name)) => format!("{dir}/.wh.{name}"),
            None => format!(".wh.{path}"),
        })
        .collect();
    hidden.extend(whiteouts);
    let hide = |tar: TarBuilder| hidden.iter().fold(tar, |t, name| t.file(name, ""));
    if early {
        tar = hide(tar);
    }
    let mut file: Option<String> = None;
    for (path, kind) in &leaves {
        tar = match (kind, &file) {
            (0..=2, _) => {
                file = Some(path.clone());
                tar.file(path, format!("{path} {}", numbers.below(1000)))
            }
            (3, Some(target)) => tar.hardlink(path, target),
            (4, _) => tar.raw(&Raw { mode: 0o2711, ..Raw::new(path, b'5') }),
            (5, _) => tar.symlink(path, format!("/target{}", numbers.below(2))),
            (6, _) => tar.symlink(path, "nowhere"),
            (7, _) => tar.file(format!("link{}/{}", numbers.below(2), path.replace('/', "-")), "through"),
            (8, _) => tar.raw(&Raw::new(path, b'6')),
            _ => tar,
        };
    }
    if first {
        tar = tar.symlink("link0", "target0").symlink("link1", "../../target1");
    }
    if early { tar } else { hide(tar) }
}

fn layout(dir: &Path, layers: &[Vec<u8>]) {
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let blob = |media_type: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        let size = bytes.len();
        format!(r#"{{"mediaType":"application/vnd.oci.image.{media_type}","digest":"{digest}","size":{size}"#)
    };
    let diff_ids: Vec<String> = layers.iter().map(|l| format!("\"{}\"", Digest::of(l))).collect();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        diff_ids.join(",")
    );
    let list: Vec<String> = layers.iter().map(|l| blob("layer.v1.tar", l) + "}").collect();
    let config = blob("config.v1+json", config.as_bytes());
    let manifest = format!(r#"{{"schemaVersion":2,"config":{config}}},"layers":[{}]}}"#, list.join(","));
    let manifest = blob("manifest.v1+json", manifest.as_bytes());
    let name = r#""annotations":{"org.opencontainers.image.ref.name":"x"}"#;
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{manifest},{name}}}]}}"#);
    std::fs::write(dir.join("index.json"), index).unwrap();
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// Without owners, which an unprivileged umoci can't set.
fn shown(mut tree: Tree) -> String {
    let paths: Vec<TreePath> = tree.iter().map(|(p, _)| p.clone()).collect();
    for path in paths {
        let meta = tree.meta_mut(&path).unwrap();
        (meta.uid, meta.gid) = (0, 0);
        if path.is_root() {
            meta.mode = 0o755;
        }
    }
    tree.dump()
}

#[test]
fn umoci_merges_the_same_tree() {
    for seed in 0..40 {
        let mut numbers = Numbers(seed);
        let layers: Vec<TarBuilder> = (0..4).map(|i| random_layer(&mut numbers, i == 0)).collect();
        let tars: Vec<Vec<u8>> = layers.iter().map(|l| l.clone().finish()).collect();
        let dir = tempfile::tempdir().unwrap();
        layout(&dir.path().join("image"), &tars);
        let output = Command::new("umoci")
            .args(["raw", "unpack", "--rootless", "--image", "image:x", "root"])
            .current_dir(dir.path())
            .output()
            .unwrap_or_else(|e| panic!("umoci: {e}; install the Debian package umoci"));
        let ours = merge(&layers).map(shown);
        let said = String::from_utf8_lossy(&output.stderr);
        let theirs = if output.status.success() {
            Ok(shown(Tree::from_dir(&dir.path().join("root"), &ReadOptions::default()).unwrap()))
        } else {
            Err(said.into_owned())
        };
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) if ours == theirs => {}
            _ => panic!("seed {seed}: ours\n{ours:?}\ntheirs\n{theirs:?}"),
        }
    }
}
