use std::num::NonZeroUsize;
use std::process::Command;

use super::*;
use crate::{ExtensionOptions, Kind, Meta, Node, Release, Silent};

fn p(s: &str) -> TreePath {
    s.parse().unwrap()
}

/// Bytes that compress neither to nothing nor not at all.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed | 1;
    let mut out = Vec::with_capacity(len);
    while out.len() < len {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        out.push((x >> 60) as u8 + b'a');
    }
    out
}

/// All kinds of sizes around a block, a hole, a duplicate, a hard link and a symlink.
fn sample() -> Tree {
    let mut t = Tree::default();
    let block = 128 << 10;
    for (i, len) in [0, 1, 1000, block - 1, block, block + 1, 3 * block, 3 * block + 77, 70_000, 70_000]
        .iter()
        .enumerate()
    {
        let file = p(&format!("/usr/lib/sample/{i:02}-{len}"));
        t.insert_all(file, Node::file(0o644, noise(*len, i as u64)), &Meta::dir()).unwrap();
    }
    t.insert(p("/usr/lib/sample/copy"), Node::file(0o755, noise(3 * block, 6))).unwrap();
    let mut holes = noise(2 * block, 9);
    holes[..block].fill(0);
    holes.extend(vec![0; block + 5]);
    t.insert(p("/usr/lib/sample/holes"), Node::file(0o640, holes)).unwrap();
    t.insert(p("/usr/lib/sample/zeros"), Node::file(0o644, vec![0; 2 * block])).unwrap();
    t.link(p("/usr/lib/sample/linked"), &p("/usr/lib/sample/02-1000")).unwrap();
    t.insert(p("/usr/lib/sample/sym"), Node::symlink("../x y")).unwrap();
    t.insert(p("/usr/lib/sample/\u{e4} b"), Node::file(0o600, "umlaut")).unwrap();
    t
}

fn extension(tree: Tree) -> Extension {
    let release = Release { architecture: Some(crate::Arch::X86_64), ..Release::default() };
    Extension::new(tree, "sample".parse().unwrap(), release, &ExtensionOptions::default()).unwrap()
}

fn squashfs(extension: &Extension, codec: Codec, threads: usize) -> (tempfile::TempDir, PathBuf, Written) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sample.raw");
    let options = ImageOptions {
        compression: Compression { codec: Some(codec), level: None },
        threads: NonZeroUsize::new(threads),
        ..ImageOptions::default()
    };
    let written = write(extension, &path, &options, &Silent).unwrap();
    (dir, path, written)
}

#[track_caller]
fn run(command: &mut Command, package: &str) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}: apt-get install {package}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn the_bytes_depend_on_nothing_but_the_tree() {
    let extension = extension(sample());
    for codec in Codec::ALL {
        let (_a, first, written) = squashfs(&extension, codec, 1);
        let (_b, second, again) = squashfs(&extension, codec, 8);
        assert!(std::fs::read(first).unwrap() == std::fs::read(second).unwrap(), "{codec}");
        assert_eq!(written.sha256, again.sha256);
    }
}

#[test]
fn unsquashfs_finds_what_went_in() {
    let extension = extension(sample());
    for codec in Codec::ALL {
        let (dir, image, written) = squashfs(&extension, codec, 2);
        assert_eq!(written.bytes, image.metadata().unwrap().len());
        let sum = run(Command::new("sha256sum").arg(&image), "coreutils");
        assert_eq!(written.sha256.as_deref(), Some(&*String::from_utf8_lossy(&sum[..64])));
        let out = dir.path().join("out");
        run(Command::new("unsquashfs").arg("-q").arg("-n").arg("-d").arg(&out).arg(&image), "squashfs-tools");
        for (path, node) in extension.tree().iter() {
            let found = out.join(path.as_host_relative());
            match &node.kind {
                Kind::File(content) => {
                    assert!(
                        std::fs::read(&found).unwrap() == content.read(1 << 30).unwrap(),
                        "{codec} {path}"
                    );
                }
                Kind::Symlink(target) => {
                    use std::os::unix::ffi::OsStrExt as _;
                    assert_eq!(
                        std::fs::read_link(&found).unwrap().as_os_str().as_bytes(),
                        &**target,
                        "{path}"
                    );
                }
                _ => assert!(found.is_dir(), "{path}"),
            }
        }
        let list = run(Command::new("unsquashfs").arg("-lln").arg(&image), "squashfs-tools");
        let list = String::from_utf8(list).unwrap();
        assert!(list.lines().any(|l| l.starts_with("-rw-r----- 0/0") && l.ends_with("holes")), "{list}");
    }
}

#[test]
fn attributes_are_never_lost_in_silence() {
    let mut tree = sample();
    for i in 0..7 {
        let path = p(&format!("/usr/lib/sample/cap{i}"));
        let mut node = Node::file(0o755, "x");
        node.meta.xattrs.insert(b"security.capability".to_vec(), vec![1]);
        tree.insert(path, node).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let result = write(&extension(tree), &dir.path().join("x.raw"), &ImageOptions::default(), &Silent);
    insta::assert_snapshot!(result.unwrap_err(), @"squashfs can't store extended attributes: /usr/lib/sample/cap0 (security.capability), /usr/lib/sample/cap1 (security.capability), /usr/lib/sample/cap2 (security.capability), /usr/lib/sample/cap3 (security.capability), /usr/lib/sample/cap4 (security.capability), 2 more; formats that can: erofs, ext4, ext2, btrfs, dir, tar");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
