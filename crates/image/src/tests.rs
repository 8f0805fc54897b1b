use std::num::NonZeroUsize;
use std::process::Command;

use super::*;
use std::path::{Path, PathBuf};
use tree::{Arch, Events, Kind, Meta, Node, Silent, Tree, TreePath};

pub(crate) fn p(s: &str) -> TreePath {
    s.parse().unwrap()
}

/// Bytes that compress neither to nothing nor not at all.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed | 1;
    let mut out = Vec::with_capacity(len);
    while out.len() < len {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        out.push((x >> 60) as u8 + b'a');
    }
    out
}

/// All kinds of sizes around a block, a hole, a duplicate, a hard link and a symlink.
pub(crate) fn sample() -> Tree {
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

/// A tree and what its volume is called.
pub(crate) struct Sample(Tree);

impl Sample {
    pub(crate) fn tree(&self) -> &Tree {
        &self.0
    }

    pub(crate) fn volume(&self) -> Volume<'_> {
        Volume { tree: &self.0, name: "sample", architecture: Some(Arch::X86_64), epoch: 0 }
    }
}

pub(crate) fn sample_volume(tree: Tree) -> Sample {
    Sample(tree)
}

fn squashfs(sample: &Sample, codec: Codec, threads: usize) -> (tempfile::TempDir, PathBuf, Written) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sample.raw");
    let options = ImageOptions {
        compression: Compression { codec: Some(codec), level: None },
        threads: NonZeroUsize::new(threads),
        ..ImageOptions::default()
    };
    let written = write(sample.volume(), &path, &options, &Silent).unwrap();
    (dir, path, written)
}

#[track_caller]
pub(crate) fn run(command: &mut Command, package: &str) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}: apt-get install {package}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn the_bytes_depend_on_nothing_but_the_tree() {
    let input = sample_volume(sample());
    for codec in Codec::ALL {
        let (_a, first, written) = squashfs(&input, codec, 1);
        let (_b, second, again) = squashfs(&input, codec, 8);
        assert!(std::fs::read(first).unwrap() == std::fs::read(second).unwrap(), "{codec}");
        assert_eq!(written.sha256, again.sha256);
    }
}

#[test]
fn unsquashfs_finds_what_went_in() {
    let input = sample_volume(sample());
    for codec in Codec::ALL {
        let (dir, image, written) = squashfs(&input, codec, 2);
        assert_eq!(written.bytes, image.metadata().unwrap().len());
        let sum = run(Command::new("sha256sum").arg(&image), "coreutils");
        assert_eq!(written.sha256.as_deref(), Some(&*String::from_utf8_lossy(&sum[..64])));
        let out = dir.path().join("out");
        run(Command::new("unsquashfs").arg("-q").arg("-n").arg("-d").arg(&out).arg(&image), "squashfs-tools");
        for (path, node) in input.tree().iter() {
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

/// File capabilities are kept or the format refuses.
#[test]
fn attributes_are_never_lost_in_silence() {
    let mut tree = sample();
    for i in 0..7 {
        let path = p(&format!("/usr/lib/sample/cap{i}"));
        let mut node = Node::file(0o755, "x");
        node.meta.xattrs.insert(b"security.capability".to_vec(), capability());
        tree.insert(path, node).unwrap();
    }
    let with_capabilities = sample_volume(tree);
    let dir = tempfile::tempdir().unwrap();
    for format in Format::ALL {
        let options = ImageOptions { format, ..ImageOptions::default() };
        let path = dir.path().join(format!("x{}", format.suffix()));
        write(with_capabilities.volume(), &path, &options, &Silent)
            .unwrap_or_else(|e| panic!("{format}: {e}"));
        let has = match format {
            Format::Dir => run(Command::new("getcap").arg("-r").arg(&path), "libcap2-bin"),
            Format::Tar => {
                let tar = std::fs::read(&path).unwrap();
                let at = tar.windows(32).filter(|w| w.starts_with(b"SCHILY.xattr.security.capability"));
                vec![b'='; at.count()]
            }
            _ => {
                let mounted = mount(&path, format.as_str());
                run(Command::new("getcap").arg("-r").arg(mounted.0.path()), "libcap2-bin")
            }
        };
        assert_eq!(has.iter().filter(|&&b| b == b'=').count(), 7, "{format}");
        let remove = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        remove.unwrap();
    }
}

/// cap_net_raw=ep, version 2. linux/capability.h.
fn capability() -> Vec<u8> {
    let mut capability = vec![1, 0, 0, 2, 0, 0x20, 0, 0];
    capability.resize(20, 0);
    capability
}

/// ramfs takes no attributes at all.
#[test]
fn a_directory_tells_what_its_file_system_does_not_take() {
    let ram = Mounted(tempfile::tempdir().unwrap());
    run(Command::new("mount").args(["-t", "ramfs", "ramfs"]).arg(ram.0.path()), "mount");
    let place = ram.0.path().join("x");
    let options = ImageOptions { format: Format::Dir, ..ImageOptions::default() };
    let with = |name: &str| {
        let mut tree = sample();
        for i in 0..3 {
            let mut node = Node::file(0o755, "x");
            node.meta.xattrs.insert(name.as_bytes().to_vec(), capability());
            tree.insert(p(&format!("/usr/lib/sample/x{i}")), node).unwrap();
        }
        sample_volume(tree)
    };
    let error = write(with("security.capability").volume(), &place, &options, &Silent).unwrap_err();
    let said = error.to_string();
    assert!(said.ends_with("/usr/lib/sample/x0\": extended attribute security.capability can't be set: Operation not supported (os error 95)"), "{said}");
    assert!(matches!(error, ImageError::Host(tree::HostError::Xattr { .. })), "{error:?}");
    assert_eq!(std::fs::read_dir(ram.0.path()).unwrap().count(), 0);

    #[derive(Default)]
    struct Heard(std::sync::Mutex<Vec<String>>);
    impl Events for Heard {
        fn event(&self, event: tree::Event<'_>) {
            if let tree::Event::Warning(text) = event {
                self.0.lock().unwrap().push(text.into_owned());
            }
        }
    }
    let heard = Heard::default();
    write(with("trusted.note").volume(), &place, &options, &heard).unwrap();
    assert_eq!(
        heard.0.into_inner().unwrap(),
        [
            "/usr/lib/sample/x0 and 2 others: extended attribute trusted.note is left out: Operation not supported (os error 95)"
        ]
    );
}

/// Removes the mount when the test is over, however it ends.
struct Mounted(tempfile::TempDir);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

fn mount(image: &Path, kind: &str) -> Mounted {
    assert!(rustix::process::geteuid().is_root(), "mounting an image takes root: run the tests as root");
    let mounted = Mounted(tempfile::tempdir().unwrap());
    run(Command::new("mount").args(["-t", kind, "-o", "loop,ro"]).arg(image).arg(mounted.0.path()), "mount");
    mounted
}

pub(crate) fn dump(tree: &Tree) -> String {
    tree.dump_with(tree::DumpOptions { mtime: true, text: 50 })
}

/// What a mounted image holds, without what its mkfs adds.
pub(crate) fn read_back(image: &Path, kind: &str) -> Tree {
    let mounted = mount(image, kind);
    let mut tree = Tree::from_dir(mounted.0.path(), &tree::ReadOptions::default()).unwrap();
    tree.remove(&p("/lost+found"));
    // The content has to be read while it is mounted.
    let paths: Vec<TreePath> = tree.iter().map(|(p, _)| p.clone()).collect();
    for path in paths {
        if let Some(content) = tree.content_mut(&path) {
            *content = content.read(1 << 30).unwrap().into();
        }
    }
    tree
}

/// The content of all files, which the dump cuts short.
pub(crate) fn contents(tree: &Tree) -> Vec<(String, Vec<u8>)> {
    tree.iter().filter_map(|(p, n)| Some((p.to_string(), n.content()?.read(1 << 30).ok()?))).collect()
}

/// What only some formats can hold.
fn rich_sample() -> Tree {
    let mut t = sample();
    let mut ping = Node::file(0o4755, "ping");
    let mut capability = vec![1, 0, 0, 2, 0, 0x20, 0, 0];
    capability.resize(20, 0);
    ping.meta.xattrs.insert(b"security.capability".to_vec(), capability);
    t.insert(p("/usr/lib/sample/ping"), ping).unwrap();
    let mut dir = Node::dir();
    dir.meta.xattrs.insert(b"user.note".to_vec(), b"a \"b\"\0".to_vec());
    t.insert(p("/usr/lib/sample/dir \"q\""), dir).unwrap();
    t.link(p("/usr/lib/sample/dir \"q\"/ping"), &p("/usr/lib/sample/ping")).unwrap();
    t.insert(p("/usr/lib/sample/<12>"), Node::file(0o000, "")).unwrap();
    let long = "x".repeat(300);
    t.insert(p("/usr/lib/sample/long"), Node::symlink(&long)).unwrap();
    for (name, kind) in [
        ("null", Kind::CharDevice { major: 1, minor: 3 }),
        ("disk", Kind::BlockDevice { major: 8, minor: 300 }),
        ("pipe", Kind::Fifo),
    ] {
        let node = Node { meta: Meta::with_mode(0o640), kind };
        t.insert(p(&format!("/usr/lib/sample/{name}")), node).unwrap();
    }
    t
}

/// What `format` is tried with.
fn sample_for(format: Format) -> Tree {
    let root = rustix::process::geteuid().is_root();
    let mut tree = match format {
        Format::Btrfs if !root => return sample(),
        _ => rich_sample(),
    };
    if format == Format::Btrfs {
        for device in ["null", "disk"] {
            tree.remove(&p(&format!("/usr/lib/sample/{device}")));
        }
    }
    tree
}

fn image(sample: &Sample, format: Format) -> (tempfile::TempDir, PathBuf, Written) {
    // Staged files need attributes, which not every tmpfs holds.
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let path = dir.path().join("sample.raw");
    let written = write(sample.volume(), &path, &ImageOptions { format, ..ImageOptions::default() }, &Silent)
        .unwrap_or_else(|e| panic!("{format}: {e}"));
    (dir, path, written)
}

#[test]
fn the_kernel_finds_what_went_in() {
    for (format, fsck) in [
        (Format::Ext4, Some(("e2fsck", &["-fn"][..]))),
        (Format::Ext2, Some(("e2fsck", &["-fn"][..]))),
        (Format::Erofs, Some(("fsck.erofs", &[][..]))),
        (Format::Btrfs, Some(("btrfs", &["check", "--check-data-csum"][..]))),
        (Format::Squashfs, None),
    ] {
        let input = sample_volume(sample_for(format));
        let (dir, path, written) = image(&input, format);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "{format} left something");
        assert_eq!(written.bytes, path.metadata().unwrap().len(), "{format}");
        if let Some((tool, args)) = fsck {
            run(Command::new(tool).args(args).arg(&path), "e2fsprogs erofs-utils btrfs-progs");
        }
        let found = read_back(&path, format.as_str());
        assert_eq!(dump(&found), dump(input.tree()), "{format}");
        assert!(contents(&found) == contents(input.tree()), "{format}");
    }
}

/// debugfs would take the rest of a line that is longer than its buffer for another, and `!` for a shell command.
#[test]
fn no_name_or_target_reaches_the_shell() {
    let ran = tempfile::tempdir().unwrap();
    let ran = ran.path().join("ran");
    for quotes in 3600..4000 {
        let mut tree = sample();
        let target = format!("{}!touch {} #", "\"".repeat(quotes), ran.display());
        tree.insert(p(&format!("/usr/lib/sample/{}", "\"".repeat(200))), Node::symlink(&target)).unwrap();
        let script = super::ext::script_for_tests(&tree);
        if let Ok(script) = script {
            let longest = script.split_inclusive('\n').map(str::len).max();
            assert!(longest < Some(8191), "{quotes} quotes: {longest:?} bytes");
        }
    }
    let mut tree = sample();
    tree.insert(
        p("/usr/lib/sample/x"),
        Node::symlink(format!("{}!touch {} #", "\"".repeat(4050), ran.display())),
    )
    .unwrap();
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let options = ImageOptions { format: Format::Ext4, ..ImageOptions::default() };
    let error =
        write(sample_volume(tree).volume(), &dir.path().join("x.raw"), &options, &Silent).unwrap_err();
    assert!(matches!(error, ImageError::Unstorable { .. }), "{error}");
    assert!(!ran.exists());
}

#[test]
fn mkfs_images_depend_on_the_tree_alone() {
    for format in [Format::Ext4, Format::Ext2, Format::Erofs, Format::Btrfs] {
        let input = sample_volume(sample_for(format));
        let (_a, first, _) = image(&input, format);
        let (_b, second, _) = image(&input, format);
        let differing: Vec<usize> = std::fs::read(&first)
            .unwrap()
            .iter()
            .zip(&std::fs::read(&second).unwrap())
            .enumerate()
            .filter_map(|(i, (a, b))| (a != b).then_some(i))
            .collect();
        assert!(
            differing.is_empty(),
            "{format}: {} bytes, from {:?}",
            differing.len(),
            &differing[..differing.len().min(9)]
        );
    }
}

#[test]
fn devices_are_not_lost_in_silence() {
    let mut tree = sample();
    let null = Node { meta: Meta::with_mode(0o666), kind: Kind::CharDevice { major: 1, minor: 3 } };
    tree.insert(p("/usr/lib/null"), null).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = ImageOptions { format: Format::Btrfs, ..ImageOptions::default() };
    let error =
        write(sample_volume(tree).volume(), &dir.path().join("x.raw"), &options, &Silent).unwrap_err();
    assert_eq!(error.to_string(), "/usr/lib/null: is a device, which btrfs can't take");
}

#[test]
fn devices_that_linux_has_no_numbers_for_are_refused() {
    for (major, minor) in [(0x1000, 0), (1, 0x10_0000), (u32::MAX, u32::MAX)] {
        let mut tree = Tree::default();
        tree.insert_all(p("/usr/lib/disk"), node_of(Kind::BlockDevice { major, minor }), &Meta::dir())
            .unwrap();
        for format in [Format::Squashfs, Format::Erofs, Format::Ext4] {
            let dir = tempfile::tempdir().unwrap();
            let options = ImageOptions { format, ..ImageOptions::default() };
            let place = dir.path().join("x.raw");
            let error = write(sample_volume(tree.clone()).volume(), &place, &options, &Silent).unwrap_err();
            let text = format!(
                "/usr/lib/disk: is a device with a larger number than Linux has, which {format} can't take"
            );
            assert_eq!(error.to_string(), text);
        }
    }
}

/// What precedes the last slash of "/usr" is, for debugfs, the directory in which it is.
#[test]
fn ext4_has_more_top_directories_than_one() {
    let mut tree = Tree::default();
    for path in ["/opt/a/file", "/usr/bin/file"] {
        tree.insert_all(p(path), Node::file(0o644, "x"), &Meta::dir()).unwrap();
    }
    tree.link(p("/top"), &p("/opt/a/file")).unwrap();
    tree.insert(p("/usr/link"), Node::symlink("bin")).unwrap();
    tree.insert(p("/zlink"), Node::symlink("usr")).unwrap();
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let place = dir.path().join("x.raw");
    let options = ImageOptions { format: Format::Ext4, ..ImageOptions::default() };
    write(sample_volume(tree).volume(), &place, &options, &Silent).unwrap();
    let list = |path: &str| {
        let debugfs =
            Command::new("/usr/sbin/debugfs").args(["-R", &format!("ls -p {path}")]).arg(&place).output();
        let text = String::from_utf8(debugfs.unwrap().stdout).unwrap();
        let names = text.lines().filter_map(|line| line.split('/').nth(5));
        names.filter(|name| !name.starts_with('.')).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(list("/"), "lost+found opt top usr zlink");
    assert_eq!(list("/usr"), "bin link");
    assert_eq!(list("/opt/a"), "file");
}

fn node_of(kind: Kind) -> Node {
    Node { meta: Meta::with_mode(0o600), kind }
}

/// mkfs.btrfs leaves in a node what stood there before it was split: parts of inodes with the time of the build.
#[test]
fn nothing_of_a_large_btrfs_image_is_of_the_time_of_its_build() {
    let mut tree = Tree::default();
    for i in 0..3000 {
        let path = p(&format!("/usr/share/sample/d{:02}/file-{i}", i % 37));
        tree.insert_all(path, Node::file(0o644, format!("{i}")), &Meta::dir()).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("x.raw");
    let options = ImageOptions { format: Format::Btrfs, ..ImageOptions::default() };
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let begin = now();
    write(sample_volume(tree).volume(), &place, &options, &Silent).unwrap();
    let time = begin..=now();
    let image = std::fs::read(&place).unwrap();
    let at = image.windows(8).position(|w| time.contains(&u64::from_le_bytes(w.try_into().unwrap())));
    assert_eq!(at, None);
}

/// As on a host where the image is merged: mkfs.btrfs refuses the UUID of another device.
#[test]
fn a_btrfs_image_is_written_again_while_a_device_has_it() {
    struct Attached(String);
    impl Drop for Attached {
        fn drop(&mut self) {
            let _ = Command::new("losetup").args(["--detach", &self.0]).status();
        }
    }
    let mut tree = Tree::default();
    tree.insert_all(p("/usr/share/attached"), Node::file(0o644, "x"), &Meta::dir()).unwrap();
    let sample = sample_volume(tree);
    let dir = tempfile::tempdir().unwrap();
    let options = ImageOptions { format: Format::Btrfs, ..ImageOptions::default() };
    let place = |name: &str| dir.path().join(name);
    write(sample.volume(), &place("one.raw"), &options, &Silent).unwrap();
    let attach =
        Command::new("losetup").args(["--find", "--show", "--read-only"]).arg(place("one.raw")).output();
    let attached = attach.unwrap();
    assert!(attached.status.success(), "{attached:?}: run the tests as root");
    let _attached = Attached(String::from_utf8(attached.stdout).unwrap().trim().to_owned());
    write(sample.volume(), &place("two.raw"), &options, &Silent).unwrap();
    assert_eq!(std::fs::read(place("one.raw")).unwrap(), std::fs::read(place("two.raw")).unwrap());
}

#[test]
fn missing_tools_are_named_with_their_package() {
    let tool = super::tool::Tool { name: "mkfs.of-tomorrow", package: "tomorrow-utils" };
    let error = tool.find().unwrap_err();
    assert_eq!(error.to_string(), "mkfs.of-tomorrow: program is missing");
    assert!(matches!(error, ImageError::NoTool { package: "tomorrow-utils", .. }), "{error:?}");
}

/// Not a test by itself: the unprivileged process of [`images_need_no_privileges`].
#[test]
fn helper_that_writes_without_privileges() {
    let Some(dir) = std::env::var_os("SYSEXT_TEST_IMAGE_DIR") else { return };
    assert!(!rustix::process::geteuid().is_root());
    for format in Format::ALL {
        let path = Path::new(&dir).join(format.as_str());
        let options = ImageOptions { format, ..ImageOptions::default() };
        // Capabilities and devices, where the writer doesn't need them on disk.
        let rich = matches!(format, Format::Ext4 | Format::Ext2 | Format::Erofs | Format::Tar);
        let input = sample_volume(if rich { rich_sample() } else { sample() });
        write(input.volume(), &path, &options, &Silent).unwrap_or_else(|e| panic!("{format}: {e}"));
    }
}

#[test]
fn images_need_no_privileges() {
    use std::os::unix::fs::PermissionsExt as _;
    assert!(rustix::process::geteuid().is_root(), "this test takes root: run the tests as root");
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let program = dir.path().join("program");
    tree::testing::place_program(&program);
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["--exact", "tests::helper_that_writes_without_privileges"])
        .env("SYSEXT_TEST_IMAGE_DIR", dir.path())
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .output()
        .expect("setpriv: apt-get install util-linux");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    for (format, rich) in
        [(Format::Ext4, true), (Format::Ext2, true), (Format::Erofs, true), (Format::Btrfs, false)]
    {
        // The same bytes as root's; compared before the kernel mounts it.
        let (_dir, path, _) = image(&sample_volume(if rich { rich_sample() } else { sample() }), format);
        assert!(
            std::fs::read(path).unwrap() == std::fs::read(dir.path().join(format.as_str())).unwrap(),
            "{format}"
        );
        let mut expected = sample_volume(if rich { rich_sample() } else { sample() }).tree().clone();
        let found = read_back(&dir.path().join(format.as_str()), format.as_str());
        expected.remove(&p("/lost+found"));
        assert_eq!(dump(&found), dump(&expected), "{format}");
    }
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, Format::ALL.len() + 1);
}

#[test]
fn large_and_deep_directories() {
    let mut tree = Tree::default();
    // More than 64 KiB of entries in one directory, more than 256 under one header, a path of nearly PATH_MAX.
    for i in 0..3000 {
        let name = format!("/usr/lib/many/{i:05}{}", "n".repeat(i % 240));
        tree.insert_all(p(&name), Node::file(0o644, format!("{i}")), &Meta::dir()).unwrap();
    }
    let deep = format!("/usr/lib{}/end", "/d23456789012345678".repeat(200));
    tree.insert_all(p(&deep), Node::file(0o644, "end"), &Meta::dir()).unwrap();
    let input = sample_volume(tree);
    let (dir, path, _) = squashfs(&input, Codec::Zstd, 2);
    let list = run(Command::new("unsquashfs").arg("-lc").arg(&path), "squashfs-tools");
    assert_eq!(list.split(|&b| b == b'\n').filter(|l| !l.is_empty()).count(), 3001);
    let found = read_back(&path, "squashfs");
    assert!(dump(&found) == dump(input.tree()));
    drop(dir);
}

mod round_trip {
    use proptest::prelude::*;

    use super::*;
    use tree::testing::trees;

    /// The random tree with times that the formats have room for.
    fn in_range(mut tree: Tree) -> Tree {
        let paths: Vec<TreePath> = tree.iter().map(|(path, _)| path.clone()).collect();
        for path in &paths {
            let meta = tree.meta_mut(path).unwrap();
            meta.mtime = meta.mtime.rem_euclid(1 << 32);
        }
        tree
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn through_the_kernel(tree in trees()) {
            let input = sample_volume(in_range(tree));
            for format in [Format::Squashfs, Format::Erofs] {
                let (_dir, path, _) = image(&input, format);
                let found = read_back(&path, format.as_str());
                prop_assert_eq!(dump(&found), dump(input.tree()), "{}", format);
            }
        }
    }
}
