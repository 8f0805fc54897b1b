use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::Command;

use super::Options;
use super::data::PIECE;
use crate::tests::{Sample, contents, dump, noise, p, read_back, run, sample, sample_volume};
use crate::{Codec, Compression, Format, ImageError, ImageOptions, write};
use tree::{Kind, Meta, Node, Silent, Tree};

fn image(sample: &Sample, compression: Compression, threads: usize) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = dir.path().join("sample.raw");
    let threads = NonZeroUsize::new(threads);
    let options = ImageOptions { format: Format::Erofs, compression, threads, ..ImageOptions::default() };
    write(sample.volume(), &path, &options, &Silent).unwrap();
    (dir, path)
}

/// Bytes that no compressor makes shorter.
fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed;
    let mut next = || {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (x >> 33) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Files of all lengths where something changes: at blocks, pieces and their halves; compressible, not, and by turns.
fn edges() -> Tree {
    let mut tree = sample();
    let (block, piece) = (super::BLOCK as usize, PIECE as usize);
    let mut lengths = vec![];
    for edge in [block, 2 * block, 3 * block, piece, piece * 3 / 2, 2 * piece, piece * 5 / 2] {
        lengths.extend([edge - 1, edge, edge + 1, edge + block / 2]);
    }
    for (number, len) in lengths.into_iter().enumerate() {
        let seed = number as u64;
        let mut mixed = random(len, seed);
        for part in mixed.chunks_mut(piece).step_by(2) {
            part.fill(b'x');
        }
        let mut late = noise(len, seed);
        let half = len / 2;
        late[half..].copy_from_slice(&random(len - half, seed));
        // Two blocks that compress to a little over one.
        let mut tight = random(len, seed);
        let rest = len.min(block + 100);
        tight[rest..].fill(0);
        let thin = [vec![0; len], noise(len.min(900), seed)].concat();
        for (name, bytes) in [
            ("thin", thin),
            ("noise", noise(len, seed)),
            ("random", random(len, seed)),
            ("mixed", mixed),
            ("late", late),
            ("tight", tight),
        ] {
            let path = p(&format!("/usr/lib/edges/{name}-{len}"));
            tree.insert_all(path, Node::file(0o644, bytes), &Meta::dir()).unwrap();
        }
    }
    tree
}

#[test]
fn files_of_all_lengths_are_what_they_were() {
    let volume = sample_volume(edges());
    for (codec, level) in [(Codec::Lz4, 1), (Codec::Lz4, 12), (Codec::Zstd, 3)] {
        let compression = Compression { codec: Some(codec), level: Some(level) };
        let (dir, path) = image(&volume, compression, 3);
        if codec == Codec::Lz4 {
            // Debian 12's doesn't know zstd.
            let extracted = format!("--extract={}", dir.path().join("out").display());
            run(Command::new("fsck.erofs").arg(extracted).arg(&path), "erofs-utils");
            let there = Tree::from_dir(&dir.path().join("out"), &tree::ReadOptions::default()).unwrap();
            assert!(contents(&there) == contents(volume.tree()), "{codec}:{level}, fsck.erofs");
        }
        let found = read_back(&path, "erofs");
        assert_eq!(dump(&found), dump(volume.tree()), "{codec}:{level}");
        assert!(contents(&found) == contents(volume.tree()), "{codec}:{level}");
        let (_dir, again) = image(&volume, compression, 1);
        assert!(std::fs::read(path).unwrap() == std::fs::read(again).unwrap(), "{codec}:{level}");
    }
}

#[test]
fn inodes_of_all_shapes_are_what_they_were() {
    let mut tree = sample();
    let mut add = |path: String, node: Node| tree.insert_all(p(&path), node, &Meta::dir()).unwrap();
    // Directories of several blocks, with names that end where a block does.
    for i in 0..3000 {
        add(format!("/usr/lib/many/{i:05}{}", "n".repeat(i % 240)), Node::file(0o644, format!("{i}")));
    }
    for len in [1, 30, 31, 32, 33, 4000, 4062, 4063, 4064, 4065, 4094, 4095] {
        add(format!("/usr/lib/links/{len}"), Node::symlink("t".repeat(len)));
        add(format!("/usr/lib/small/{len}"), Node::file(0o644, noise(len, 1)));
    }
    for (i, name) in ["-", "!", "..a", ".a", " ", "a.b", "a-b", "ab"].iter().enumerate() {
        add(format!("/usr/lib/order/{name}/{i}"), Node::dir());
    }
    for len in [0, 1, 3, 4, 5, 3000, 4000, 4060, 5000, 65_535] {
        let mut node = Node::file(0o600, noise(len / 2, 2));
        node.meta.xattrs.insert(b"user.x".to_vec(), noise(len, 3));
        node.meta.xattrs.insert(b"trusted.y".to_vec(), b"y".to_vec());
        add(format!("/usr/lib/attributes/{len}"), node);
        let mut node = Node::file(0o600, noise(50_000, 2));
        node.meta.xattrs.insert(b"security.test".to_vec(), noise(len, 3));
        add(format!("/usr/lib/attributes/{len}-large"), node);
    }
    for (i, (major, minor)) in [(1, 3), (255, 255), (4095, 1_048_575), (0, 256)].iter().enumerate() {
        let (major, minor) = (*major, *minor);
        add(
            format!("/usr/lib/devices/c{i}"),
            Node { meta: Meta::with_mode(0o600), kind: Kind::CharDevice { major, minor } },
        );
        add(
            format!("/usr/lib/devices/b{i}"),
            Node { meta: Meta::with_mode(0o600), kind: Kind::BlockDevice { major, minor } },
        );
    }
    let volume = sample_volume(tree);
    let (_dir, path) = image(&volume, Compression::default(), 2);
    run(Command::new("fsck.erofs").arg(&path), "erofs-utils");
    let found = read_back(&path, "erofs");
    assert_eq!(dump(&found), dump(volume.tree()));
    assert!(contents(&found) == contents(volume.tree()));
}

/// Extensions are root's and of one time; other trees need not be.
#[test]
fn owners_and_times_that_need_the_longer_inode() {
    let mut tree = sample();
    for (i, (uid, mtime)) in
        [(65_535, 7), (65_536, 7), (1_000_000, 5), (0, 5_000_000_000), (0, 7)].iter().enumerate()
    {
        let mut node = Node::file(0o4755, noise(i * 3000, 1));
        (node.meta.uid, node.meta.gid, node.meta.mtime) = (*uid, *uid, *mtime);
        tree.insert_all(p(&format!("/usr/lib/owners/{i}")), node, &Meta::dir()).unwrap();
    }
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = dir.path().join("x");
    let file = std::fs::File::create_new(&path).unwrap();
    let options =
        Options { codec: Codec::Lz4, level: 1, threads: NonZeroUsize::MIN, build_time: 7, uuid: [1; 16] };
    super::write(&tree, (&file, 0, &path), &options, &mut |_| ()).unwrap();
    let found = read_back(&path, "erofs");
    assert_eq!(dump(&found), dump(&tree));
}

#[test]
fn what_does_not_fit_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.raw");
    let options = ImageOptions { format: Format::Erofs, ..ImageOptions::default() };
    let mut tree = sample();
    let mut node = Node::file(0o600, "x");
    node.meta.xattrs.insert(b"user.x".to_vec(), vec![1; 65_536]);
    tree.insert(p("/usr/lib/large"), node).unwrap();
    let error = write(sample_volume(tree).volume(), &path, &options, &Silent).unwrap_err();
    assert_eq!(error.to_string(), "/usr/lib/large: has an attribute of 64 KiB, which erofs can't take");
    for codec in [Codec::Gzip, Codec::Xz] {
        let compression = Compression { codec: Some(codec), level: None };
        let error = write(
            sample_volume(sample()).volume(),
            &path,
            &ImageOptions { compression, ..options.clone() },
            &Silent,
        );
        assert!(matches!(error, Err(ImageError::Compression { .. })), "{codec}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// The kernel checks it, but only if the flag says so.
#[test]
fn the_superblock_has_its_sum() {
    let (_dir, path) = image(&sample_volume(edges()), Compression::default(), 2);
    let text =
        String::from_utf8(run(Command::new("dump.erofs").arg("-s").arg(&path), "erofs-utils")).unwrap();
    for word in ["0xE0F5E1E2", "sb_csum", "mtime", "0padding", "big_pcluster"] {
        assert!(text.to_lowercase().contains(&word.to_lowercase()), "{word}: {text}");
    }
    let mut bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes[1024 + 80] & 0x10, 0x10, "no file lies behind its inode");
    for (flip, wrong) in [(0, false), (1, true)] {
        bytes[1024 + 24] ^= flip;
        std::fs::write(&path, &bytes).unwrap();
        // Its status is 0 all the same.
        let output = Command::new("fsck.erofs").arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.contains("chksum doesn't match"), wrong, "{said}");
    }
}
