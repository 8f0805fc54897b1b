use std::process::Command;

use sysext::image::{Codec, Compression, Format, ImageOptions, write};
use sysext::{Extension, ExtensionName, ExtensionOptions, Release};
use tree::{Node, Silent};

use super::*;

struct Bench {
    dir: tempfile::TempDir,
    cache: Cache,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(&dir.path().join("cache"))).unwrap();
        Bench { dir, cache }
    }

    fn image(&self, extension: &Extension, format: Format, codec: Option<Codec>) -> PathBuf {
        let path = self.dir.path().join(format!("x{}", format.suffix()));
        let options = ImageOptions {
            format,
            compression: Compression { codec, level: None },
            ..ImageOptions::default()
        };
        write(extension, &path, &options, &Silent).unwrap();
        path
    }
}

/// Bytes that don't compress to nothing, and aren't equal to their neighbours.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if state & 0x30_0000 == 0 { 7 } else { (state >> 24) as u8 }
    };
    (0..len).map(step).collect()
}

/// cap_net_bind_service, effective. `struct vfs_cap_data` of revision 2, linux/capability.h.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn extension() -> Extension {
    let mut tree = Tree::default();
    let mut add =
        |path: &str, node: Node| tree.insert_all(path.parse().unwrap(), node, &Meta::dir()).unwrap();
    add("/usr/bin/small", Node::file(0o755, "#!/bin/sh\n"));
    add("/usr/bin/large", Node::file(0o755, noise(400_000)));
    add("/usr/bin/exact", Node::file(0o644, noise(2 * 131_072)));
    add("/usr/bin/link", Node::symlink("small"));
    add("/usr/lib/empty", Node::file(0o644, ""));
    let mut holes = vec![0; 3 * 131_072 + 5];
    holes[200_000] = 1;
    add("/usr/lib/holes", Node::file(0o644, holes));
    for i in 0..1000 {
        add(&format!("/usr/share/many/file with a longer name {i:04}"), Node::file(0o644, format!("{i}")));
    }
    let mut capable = Node::file(0o755, "c");
    capable.meta.xattrs.insert(b"security.capability".to_vec(), CAPABILITY.to_vec());
    capable.meta.xattrs.insert(b"user.note".to_vec(), b"x".to_vec());
    add("/usr/bin/capable", capable);
    tree.link("/usr/bin/other".parse().unwrap(), &"/usr/bin/large".parse().unwrap()).unwrap();
    let name: ExtensionName = "x".parse().unwrap();
    Extension::new(tree, name, Release::default(), &ExtensionOptions::default()).unwrap()
}

#[test]
fn squashfs_of_all_compressors() {
    let bench = Bench::new();
    let extension = extension();
    for codec in [Codec::Zstd, Codec::Gzip, Codec::Xz, Codec::Lz4] {
        let path = bench.image(&extension, Format::Squashfs, Some(codec));
        let opened = open(&path, &bench.cache).unwrap();
        assert_eq!((opened.kind, opened.size), (Kind::Squashfs, path.metadata().unwrap().len()));
        assert!(opened.tree.dump() == extension.tree().dump(), "{codec}");
        let ino = |path: &str| opened.tree.ino(&path.parse().unwrap()).unwrap();
        assert_eq!(ino("/usr/bin/large"), ino("/usr/bin/other"));
        for (path, node) in extension.tree().iter() {
            let Some(content) = node.content() else { continue };
            let got = opened.tree.get(path).and_then(|n| n.content()).unwrap();
            assert!(got.read(1 << 20).unwrap() == content.read(1 << 20).unwrap(), "{codec} {path}");
        }
    }
}

#[test]
fn squashfs_of_others() {
    let bench = Bench::new();
    let dir = bench.dir.path().join("tree");
    std::fs::create_dir(&dir).unwrap();
    let _report = extension().tree().write_dir(&dir, &tree::WriteOptions::for_caller()).unwrap();
    let expected = open(&dir, &bench.cache).unwrap();
    assert_eq!(expected.kind, Kind::Directory);
    for arguments in [
        "-comp gzip -b 4096",
        "-comp xz -no-fragments",
        "-comp zstd -noI -noD -noF -noX",
        "-comp lz4 -always-use-fragments",
    ] {
        let path = bench.dir.path().join("others.raw");
        let mut command = Command::new("mksquashfs");
        command
            .args([&dir, &path])
            .args(["-noappend", "-quiet", "-no-progress", "-xattrs"])
            .args(arguments.split(' '));
        let status = command.status().expect("mksquashfs is missing: apt-get install squashfs-tools");
        assert!(status.success());
        let opened = open(&path, &bench.cache).unwrap();
        assert!(opened.tree.dump() == expected.tree.dump(), "{arguments}");
        let large: TreePath = "/usr/bin/large".parse().unwrap();
        let content = opened.tree.get(&large).and_then(|n| n.content()).unwrap();
        assert!(content.read(1 << 20).unwrap() == noise(400_000), "{arguments}");
    }
}

#[test]
fn damage_is_an_error_or_shows() {
    let bench = Bench::new();
    let mut tree = Tree::default();
    let file = Node::file(0o644, noise(5000));
    tree.insert_all("/usr/lib/a".parse().unwrap(), file, &Meta::dir()).unwrap();
    let extension =
        Extension::new(tree, "x".parse().unwrap(), Release::default(), &ExtensionOptions::default());
    let path = bench.image(&extension.unwrap(), Format::Squashfs, Some(Codec::Gzip));
    let good = std::fs::read(&path).unwrap();
    let mut failed = 0;
    for i in (0..good.len()).step_by(good.len() / 50 + 1).chain(0..96) {
        for value in [0xff, good[i] ^ 0x10] {
            let mut bad = good.clone();
            bad[i] = value;
            std::fs::write(&path, &bad).unwrap();
            failed += u32::from(open(&path, &bench.cache).is_err());
        }
    }
    assert!(failed > 60, "{failed}");
    for len in [0, 3, 95, 96, 200, good.len() / 2] {
        std::fs::write(&path, &good[..len]).unwrap();
        let error = open(&path, &bench.cache).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{path:?}: ")), "{error}");
    }
    let lzo = [&good[..20], &[3, 0], &good[22..]].concat();
    std::fs::write(&path, lzo).unwrap();
    let error = open(&path, &bench.cache).unwrap_err().to_string();
    assert!(error.ends_with("squashfs is compressed with lzo, expected gzip, xz, lz4 or zstd"), "{error}");
}

#[test]
fn file_systems_that_others_read() {
    let bench = Bench::new();
    let extension = extension();
    for (format, kind) in
        [(Format::Erofs, Kind::Erofs), (Format::Ext4, Kind::Ext), (Format::Btrfs, Kind::Btrfs)]
    {
        let path = bench.image(&extension, format, None);
        let opened = open(&path, &bench.cache).unwrap();
        assert_eq!(opened.kind, kind);
        for (path, node) in extension.tree().iter() {
            let got = opened.tree.get(path).unwrap_or_else(|| panic!("{kind}: {path} is missing"));
            let Some(content) = node.content() else { continue };
            let got = got.content().unwrap().read(1 << 20).unwrap();
            assert!(got == content.read(1 << 20).unwrap(), "{kind} {path}");
        }
    }
    let path = bench.image(&extension, Format::Tar, None);
    assert_eq!(open(&path, &bench.cache).unwrap().kind, Kind::Tar);
}

#[test]
fn disk_images() {
    let bench = Bench::new();
    let extension = extension();
    let path = bench.dir.path().join("x.raw");
    let verity = sysext::image::Verity { signer: None, architecture: Some(tree::Arch::X86_64) };
    for format in [Format::Squashfs, Format::Ext4] {
        let options = ImageOptions { format, verity: Some(verity.clone()), ..ImageOptions::default() };
        write(&extension, &path, &options, &Silent).unwrap();
        let opened = open(&path, &bench.cache).unwrap();
        assert_eq!(opened.partitions.len(), 2, "{:?}", opened.partitions);
        assert!(opened.tree.contains(&"/usr/bin/other".parse().unwrap()));
    }
    // A usr partition has no usr.
    let mut tree = Tree::default();
    let file = Node::file(0o644, "ID=_any\n");
    tree.insert_all("/lib/extension-release.d/extension-release.x".parse().unwrap(), file, &Meta::dir())
        .unwrap();
    let moved = below_usr(tree).unwrap();
    assert!(moved.contains(&"/usr/lib/extension-release.d/extension-release.x".parse().unwrap()));
}

#[test]
fn other_files_are_none() {
    let bench = Bench::new();
    let path = bench.dir.path().join("x.raw");
    for (bytes, word) in
        [(&b""[..], "is no image"), (b"#!/bin/sh\n", "is no image"), (&[0; 9000], "is no image")]
    {
        std::fs::write(&path, bytes).unwrap();
        let error = open(&path, &bench.cache).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{path:?}: ")) && error.contains(word), "{error}");
    }
    assert!(
        open(&bench.dir.path().join("gone.raw"), &bench.cache)
            .unwrap_err()
            .to_string()
            .contains("No such file")
    );
}
