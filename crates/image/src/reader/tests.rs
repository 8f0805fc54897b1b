use std::process::Command;

use super::*;
use crate::tests::{Sample, sample_volume};
use crate::{Codec, Compression, Format, ImageOptions, Verity, Volume, write};
use tree::archive::ENTRY_MEMORY;
use tree::{Node, ScratchDir, Silent};

struct Bench {
    dir: tempfile::TempDir,
    scratch: TempSpace,
}

#[derive(Debug)]
struct TempSpace;

#[derive(Debug)]
struct TempDir(tempfile::TempDir);

impl ScratchSpace for TempSpace {
    fn scratch_dir(&self, _what: &str) -> io::Result<Box<dyn ScratchDir>> {
        Ok(Box::new(TempDir(tempfile::tempdir_in("/var/tmp")?)))
    }
}

impl ScratchDir for TempDir {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        Bench { dir, scratch: TempSpace }
    }

    fn image(&self, sample: &Sample, format: Format, codec: Option<Codec>) -> PathBuf {
        let path = self.dir.path().join(format!("x{}", format.suffix()));
        let options = ImageOptions {
            format,
            compression: Compression { codec, level: None },
            ..ImageOptions::default()
        };
        write(sample.volume(), &path, &options, &Silent).unwrap();
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

fn samples() -> Sample {
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
    sample_volume(tree)
}

#[test]
fn squashfs_of_all_compressors() {
    let bench = Bench::new();
    let sample = samples();
    for codec in [Codec::Zstd, Codec::Gzip, Codec::Xz, Codec::Lz4] {
        let path = bench.image(&sample, Format::Squashfs, Some(codec));
        let contents = read(&path, &bench.scratch).unwrap();
        assert_eq!((contents.kind, contents.size), (ImageKind::Squashfs, path.metadata().unwrap().len()));
        assert!(contents.tree.dump() == sample.tree().dump(), "{codec}");
        let ino = |path: &str| contents.tree.ino(&path.parse().unwrap()).unwrap();
        assert_eq!(ino("/usr/bin/large"), ino("/usr/bin/other"));
        for (path, node) in sample.tree().iter() {
            let Some(content) = node.content() else { continue };
            let got = contents.tree.get(path).and_then(|n| n.content()).unwrap();
            assert!(got.read(1 << 20).unwrap() == content.read(1 << 20).unwrap(), "{codec} {path}");
        }
    }
}

#[test]
fn squashfs_of_others() {
    let bench = Bench::new();
    let dir = bench.dir.path().join("tree");
    std::fs::create_dir(&dir).unwrap();
    let _report = samples().tree().write_dir(&dir, &tree::WriteOptions::for_caller()).unwrap();
    let expected = read(&dir, &bench.scratch).unwrap();
    assert_eq!(expected.kind, ImageKind::Directory);
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
        let contents = read(&path, &bench.scratch).unwrap();
        assert!(contents.tree.dump() == expected.tree.dump(), "{arguments}");
        let large: TreePath = "/usr/bin/large".parse().unwrap();
        let content = contents.tree.get(&large).and_then(|n| n.content()).unwrap();
        assert!(content.read(1 << 20).unwrap() == noise(400_000), "{arguments}");
    }
}

#[test]
fn damage_is_an_error_or_shows() {
    let bench = Bench::new();
    let mut tree = Tree::default();
    let file = Node::file(0o644, noise(5000));
    tree.insert_all("/usr/lib/a".parse().unwrap(), file, &Meta::dir()).unwrap();
    let path = bench.image(&sample_volume(tree), Format::Squashfs, Some(Codec::Gzip));
    let good = std::fs::read(&path).unwrap();
    let mut failed = 0;
    for i in (0..good.len()).step_by(good.len() / 50 + 1).chain(0..96) {
        for value in [0xff, good[i] ^ 0x10] {
            let mut bad = good.clone();
            bad[i] = value;
            std::fs::write(&path, &bad).unwrap();
            failed += u32::from(read(&path, &bench.scratch).is_err());
        }
    }
    assert!(failed > 60, "{failed}");
    for len in [0, 3, 95, 96, 200, good.len() / 2] {
        std::fs::write(&path, &good[..len]).unwrap();
        let error = read(&path, &bench.scratch).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{path:?}: ")), "{error}");
    }
    let lzo = [&good[..20], &[3, 0], &good[22..]].concat();
    std::fs::write(&path, lzo).unwrap();
    let error = read(&path, &bench.scratch).unwrap_err().to_string();
    assert!(error.ends_with("squashfs is compressed with lzo, expected gzip, xz, lz4 or zstd"), "{error}");
}

#[test]
fn file_systems_that_others_read() {
    let bench = Bench::new();
    let sample = samples();
    for (format, kind) in
        [(Format::Erofs, ImageKind::Erofs), (Format::Ext4, ImageKind::Ext), (Format::Btrfs, ImageKind::Btrfs)]
    {
        let path = bench.image(&sample, format, None);
        let contents = read(&path, &bench.scratch).unwrap();
        assert_eq!(contents.kind, kind);
        for (path, node) in sample.tree().iter() {
            let got = contents.tree.get(path).unwrap_or_else(|| panic!("{kind}: {path} is missing"));
            let Some(content) = node.content() else { continue };
            let got = got.content().unwrap().read(1 << 20).unwrap();
            assert!(got == content.read(1 << 20).unwrap(), "{kind} {path}");
        }
    }
    let path = bench.image(&sample, Format::Tar, None);
    assert_eq!(read(&path, &bench.scratch).unwrap().kind, ImageKind::Tar);
}

#[test]
fn disk_images() {
    let bench = Bench::new();
    let sample = samples();
    let path = bench.dir.path().join("x.raw");
    let verity = Verity { signer: None, architecture: Some(tree::Arch::X86_64) };
    for format in [Format::Squashfs, Format::Ext4] {
        let options = ImageOptions { format, verity: Some(verity.clone()), ..ImageOptions::default() };
        write(sample.volume(), &path, &options, &Silent).unwrap();
        let contents = read(&path, &bench.scratch).unwrap();
        assert_eq!(contents.partitions.len(), 2, "{:?}", contents.partitions);
        assert!(contents.tree.contains(&"/usr/bin/other".parse().unwrap()));
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
        let error = read(&path, &bench.scratch).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{path:?}: ")) && error.contains(word), "{error}");
    }
    assert!(
        read(&bench.dir.path().join("gone.raw"), &bench.scratch)
            .unwrap_err()
            .to_string()
            .contains("No such file")
    );
}

#[test]
fn squashfs_has_one_budget_of_names_targets_and_attributes() {
    let bench = Bench::new();
    let sample = samples();
    let path = bench.image(&sample, Format::Squashfs, None);
    let read_within = |limits: &Limits| {
        let file = File::open(&path).unwrap();
        let len = file.metadata().unwrap().len();
        let section = Section { path: path.clone(), file, offset: 0, len };
        let spool = tempfile::tempfile().unwrap();
        let blob = Blob::at_path("/nowhere");
        squashfs::read(&section, &spool, &blob, limits).map(|tree| tree.len()).map_err(|e| e.to_string())
    };
    let all = sample.tree();
    // All but the root have a name.
    let entries = all.iter().count() as u64 - 1;
    let (names, enough) = (entries * ENTRY_MEMORY as u64, Limits::image().metadata);
    let limits = |entries, metadata| Limits { entries, metadata, ..Limits::default() };
    assert_eq!(read_within(&limits(entries, enough)), Ok(all.len()));
    for (limits, word) in [(limits(entries - 1, enough), "files"), (limits(entries, names), "attributes")] {
        let error = read_within(&limits).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
}

/// Inodes that share one list of attributes, and long paths: small images that unfold to gigabytes.
#[test]
fn images_that_unfold_are_refused() {
    let bench = Bench::new();
    let mut files = Tree::default();
    for i in 0..40 {
        let mut node = Node::file(0o644, "");
        node.meta.xattrs.insert(b"user.note".to_vec(), vec![b'x'; 60_000]);
        files.insert(format!("/{i}").parse().unwrap(), node).unwrap();
    }
    let mut names = Tree::default();
    let deep = "d/".repeat(1000);
    names.insert_all(format!("/{deep}d").parse().unwrap(), Node::dir(), &Meta::dir()).unwrap();
    for i in 0..500 {
        names.insert(format!("/{deep}d/{i}").parse().unwrap(), Node::symlink("x")).unwrap();
    }
    for (name, tree) in [("attributes", files), ("paths", names)] {
        let path = bench.dir.path().join(name);
        let volume = Volume { tree: &tree, name: "x", architecture: None, epoch: 0 };
        write(volume, &path, &ImageOptions::default(), &Silent).unwrap();
        let file = File::open(&path).unwrap();
        let len = file.metadata().unwrap().len();
        assert!(len < 32 << 10, "{name}: {len} bytes");
        let section = Section { path, file, offset: 0, len };
        let read = |metadata| {
            let spool = tempfile::tempfile().unwrap();
            let limits = Limits { metadata, ..Limits::image() };
            squashfs::read(&section, &spool, &Blob::at_path("/nowhere"), &limits).map(|tree| tree.len())
        };
        let error = read(2 << 20).unwrap_err().to_string();
        assert!(error.contains("has too many names, targets, attributes and tables"), "{name}: {error}");
        assert_eq!(read(8 << 20).unwrap(), tree.len(), "{name}");
    }
}
