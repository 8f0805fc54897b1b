use std::collections::BTreeMap;
use std::process::Command;

use super::*;
use crate::beneath::open_by_steps;
use crate::{Extent, Kind, Meta, Node, Tree, tree::DumpOptions};

fn p(s: &str) -> TreePath {
    s.parse().unwrap()
}

fn dump(tree: &Tree) -> String {
    tree.dump_with(DumpOptions { mtime: true, text: 1 << 12 })
}

/// All that a directory holds whoever fills it.
fn sample() -> Tree {
    let mut t = Tree::new(Meta { mode: 0o750, ..Meta::dir() });
    let mut put = |path: &str, mut node: Node| {
        node.meta.mtime = 1_000 + path.len() as i64;
        t.insert(p(path), node).unwrap();
    };
    put("/d", Node { meta: Meta::with_mode(0o500), kind: Kind::Dir });
    put("/d/deep", Node { meta: Meta::with_mode(0o2755), kind: Kind::Dir });
    put("/d/deep/file \\ \n\u{e4}", Node::file(0o4750, "text"));
    put("/d/empty", Node::file(0o000, ""));
    let mut tagged = Node::file(0o644, "tagged");
    tagged.meta.xattrs =
        BTreeMap::from([(b"user.a".to_vec(), b"1\0\xff".to_vec()), (b"user.b".to_vec(), vec![7; 300])]);
    put("/tagged", tagged);
    put("/pipe", Node { meta: Meta::with_mode(0o640), kind: Kind::Fifo });
    put("/socket", Node { meta: Meta::with_mode(0o600), kind: Kind::Socket });
    put("/up", Node::symlink("../../etc/passwd"));
    put("/odd", Node::symlink(b"\xff \n"));
    t.link(p("/z-link"), &p("/tagged")).unwrap();
    t.link(p("/z-pipe"), &p("/pipe")).unwrap();
    t
}

/// On a file system that takes user attributes, which /tmp (tmpfs) may not.
fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in("/var/tmp").unwrap()
}

fn owner_free(tree: &mut Tree) {
    let paths: Vec<TreePath> = tree.iter().map(|(p, _)| p.clone()).collect();
    for path in paths {
        let meta = tree.meta_mut(&path).unwrap();
        (meta.uid, meta.gid) = (0, 0);
    }
}

#[test]
fn a_tree_survives_a_directory() {
    let tree = sample();
    let dir = tempdir();
    let report =
        tree.write_dir(dir.path(), &WriteOptions { ownership: false, ..WriteOptions::all() }).unwrap();
    assert_eq!(report.skipped.len(), 0);
    let mut back = Tree::from_dir(dir.path(), &ReadOptions::default()).unwrap();
    owner_free(&mut back);
    if !rustix::process::geteuid().is_root() {
        // Only root reads a file of mode 0000.
        *back.content_mut(&p("/d/empty")).unwrap() = "".into();
    }
    assert_eq!(dump(&back), dump(&tree));
}

#[test]
fn owners_devices_and_capabilities_as_root() {
    assert!(rustix::process::geteuid().is_root(), "this test takes root: run the tests as root");
    let mut tree = sample();
    let mut put = |path: &str, mut node: Node| {
        (node.meta.uid, node.meta.gid) = (70_000, 7);
        tree.insert(p(path), node).unwrap();
    };
    put("/null", Node { meta: Meta::with_mode(0o666), kind: Kind::CharDevice { major: 1, minor: 3 } });
    put(
        "/disk",
        Node { meta: Meta::with_mode(0o600), kind: Kind::BlockDevice { major: 259, minor: 70_000 } },
    );
    put("/whiteout", Node { meta: Meta::with_mode(0), kind: Kind::CharDevice { major: 0, minor: 0 } });
    put("/sym", Node::symlink("x"));
    let mut ping = Node::file(0o6755, "x");
    // A version 2 capability: cap_net_raw=ep. linux/capability.h.
    let mut capability = vec![1, 0, 0, 2, 0, 0x20, 0, 0];
    capability.resize(20, 0);
    ping.meta.xattrs.insert(b"security.capability".to_vec(), capability);
    ping.meta.xattrs.insert(b"trusted.overlay.opaque".to_vec(), b"y".to_vec());
    put("/ping", ping);
    let dir = tempdir();
    let report = tree.write_dir(dir.path(), &WriteOptions::all()).unwrap();
    assert_eq!(report.skipped.len(), 0);
    let back = Tree::from_dir(dir.path(), &ReadOptions::default()).unwrap();
    assert_eq!(dump(&back), dump(&tree));
}

#[test]
fn what_is_switched_off_is_reported() {
    let mut tree = sample();
    let device = Node { meta: Meta::with_mode(0o666), kind: Kind::CharDevice { major: 1, minor: 3 } };
    tree.insert(p("/null"), device).unwrap();
    let options = WriteOptions {
        ownership: false,
        devices: false,
        special: false,
        xattrs: false,
        ..WriteOptions::all()
    };
    let dir = tempdir();
    let report = tree.write_dir(dir.path(), &options).unwrap();
    let skipped: Vec<String> = report.skipped.iter().map(ToString::to_string).collect();
    assert_eq!(
        skipped,
        [
            "/null: device",
            "/pipe: special file",
            "/socket: special file",
            "/tagged: extended attribute user.a",
            "/tagged: extended attribute user.b",
            "/z-pipe: special file",
        ]
    );
}

#[test]
fn never_writes_through_a_symlink_or_over_a_file() {
    let outside = tempdir();
    let dir = tempdir();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("d")).unwrap();
    let mut tree = Tree::default();
    tree.insert(p("/d"), Node::dir()).unwrap();
    tree.insert(p("/d/x"), Node::file(0o644, "x")).unwrap();
    let options = WriteOptions { ownership: false, ..WriteOptions::all() };
    let error = tree.write_dir(dir.path(), &options).unwrap_err().to_string();
    assert!(error.contains("/d\": File exists"), "{error}");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    let root = rustix::fs::open(dir.path(), DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    assert_eq!(open_beneath(&root, &p("/d/x"), OFlags::RDONLY).unwrap_err(), Errno::LOOP);
    // Step by step, O_DIRECTORY speaks first.
    let stepped =
        open_by_steps(root.as_fd(), OsStr::new("d/x"), OFlags::RDONLY | OFlags::NOFOLLOW).unwrap_err();
    assert_eq!(stepped, Errno::NOTDIR);
}

/// Between reading a directory and reading its files there may be minutes, and other users.
#[test]
fn a_file_that_became_another_is_not_read() {
    type Change = fn(&Path);
    let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
    let rows: &[(&str, Change, Option<&str>)] = &[
        ("nothing", |_| {}, None),
        ("a new name", |d| std::fs::hard_link(d.join("a/b/c"), d.join("link")).unwrap(), None),
        (
            "a parent is a symlink",
            |d| {
                std::fs::rename(d.join("a"), d.join("was")).unwrap();
                std::os::unix::fs::symlink("was", d.join("a")).unwrap();
            },
            Some("symbolic links"),
        ),
        (
            "a symlink",
            |d| {
                std::fs::rename(d.join("a/b/c"), d.join("was")).unwrap();
                std::os::unix::fs::symlink("../../was", d.join("a/b/c")).unwrap();
            },
            Some("symbolic links"),
        ),
        (
            "another file",
            |d| {
                std::fs::rename(d.join("a/b"), d.join("was")).unwrap();
                std::fs::create_dir(d.join("a/b")).unwrap();
                std::fs::copy(d.join("was/c"), d.join("a/b/c")).unwrap();
            },
            Some("has changed"),
        ),
        ("longer", |d| std::fs::write(d.join("a/b/c"), "text and more").unwrap(), Some("has changed")),
        (
            "another time",
            |d| {
                let file = std::fs::File::options().write(true).open(d.join("a/b/c")).unwrap();
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
            },
            Some("has changed"),
        ),
        ("gone", |d| std::fs::remove_file(d.join("a/b/c")).unwrap(), Some("No such file")),
    ];
    for (name, change, expected) in rows {
        let dir = tempdir();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        write(&dir.path().join("a/b/c"), "text");
        let tree = Tree::from_dir(dir.path(), &ReadOptions::default()).unwrap();
        change(dir.path());
        let read = tree.get(&p("/a/b/c")).unwrap().content().unwrap().read(99);
        match (expected, read) {
            (None, read) => assert_eq!(read.unwrap(), b"text", "{name}"),
            (Some(word), read) => {
                let error = read.expect_err(name).to_string();
                assert!(error.contains("/a/b/c\": ") && error.contains(word), "{name}: {error}");
            }
        }
    }
}

#[test]
fn both_ways_of_opening_agree() {
    let dir = tempdir();
    std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
    std::fs::write(dir.path().join("a/b/c"), "text").unwrap();
    let root = rustix::fs::open(dir.path(), DIRECTORY, rustix::fs::Mode::empty()).unwrap();
    for fd in [
        open_beneath(&root, &p("/a/b/c"), OFlags::RDONLY).unwrap(),
        open_by_steps(root.as_fd(), OsStr::new("a/b/c"), OFlags::RDONLY | OFlags::NOFOLLOW).unwrap(),
    ] {
        assert_eq!(io::read_to_string(std::fs::File::from(fd)).unwrap(), "text");
    }
}

#[test]
fn exclude_and_only() {
    let dir = tempdir();
    for file in ["usr/bin/a", "usr/lib/b", "home/me/c", "home/me/d/e", "var/f"] {
        let file = dir.path().join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "").unwrap();
    }
    let files = |options: ReadOptions| -> Vec<String> {
        let tree = Tree::from_dir(dir.path(), &options).unwrap();
        tree.iter().map(|(p, _)| p.to_string()).collect()
    };
    let exclude = vec![p("/home/me"), p("/var")];
    assert_eq!(
        files(ReadOptions { exclude, ..Default::default() }),
        ["/", "/home", "/home/me", "/usr", "/usr/bin", "/usr/bin/a", "/usr/lib", "/usr/lib/b", "/var"]
    );
    let only = vec![p("/usr/lib"), p("/home/me/d")];
    assert_eq!(
        files(ReadOptions { only, ..Default::default() }),
        ["/", "/home", "/home/me", "/home/me/d", "/home/me/d/e", "/usr", "/usr/lib", "/usr/lib/b"]
    );
    let (only, single) = (vec![p("/usr/lib")], vec![p("/home/me"), p("/var/f"), p("/var/none/x")]);
    assert_eq!(
        files(ReadOptions { only, single, ..Default::default() }),
        ["/", "/home", "/home/me", "/usr", "/usr/lib", "/usr/lib/b", "/var", "/var/f"]
    );
}

#[test]
fn holes_stay_holes() {
    let dir = tempdir();
    let (mib, path) = (1 << 20, dir.path().join("sparse"));
    let file = std::fs::File::create(&path).unwrap();
    use std::os::unix::fs::FileExt as _;
    file.set_len(64 * mib).unwrap();
    file.write_all_at(b"data", 8 * mib).unwrap();
    file.sync_all().unwrap();
    let tree = Tree::from_dir(dir.path(), &ReadOptions::default()).unwrap();
    let content = tree.get(&p("/sparse")).unwrap().content().unwrap().clone();
    assert_eq!(content.len(), 64 * mib);
    let extents = content.extents().expect("extents of a sparse file");
    assert!(matches!(extents, [Extent { at, .. }] if *at == 8 * mib), "{extents:?}");

    let out = tempdir();
    let _report = tree.write_dir(out.path(), &WriteOptions::for_caller()).unwrap();
    use std::os::unix::fs::MetadataExt as _;
    let copy = out.path().join("sparse").metadata().unwrap();
    assert_eq!(copy.len(), 64 * mib);
    assert!(copy.blocks() * 512 < mib, "{} blocks", copy.blocks());
    assert!(std::fs::read(out.path().join("sparse")).unwrap() == std::fs::read(&path).unwrap());
}

#[test]
fn zeros_inside_data_are_written_right() {
    let mut bytes = vec![0u8; 300_000];
    for at in [0, 4095, 4096, 131_071, 131_072, 200_000, 299_999] {
        bytes[at] = 1;
    }
    let mut tree = Tree::default();
    tree.insert(p("/x"), Node::file(0o644, bytes.clone())).unwrap();
    tree.insert(p("/zeros"), Node::file(0o644, vec![0u8; 9000])).unwrap();
    let dir = tempdir();
    let _report = tree.write_dir(dir.path(), &WriteOptions::for_caller()).unwrap();
    assert!(std::fs::read(dir.path().join("x")).unwrap() == bytes);
    assert_eq!(std::fs::read(dir.path().join("zeros")).unwrap(), [0; 9000]);
}

#[test]
fn mounts_are_entered_as_asked() {
    let tree = Tree::from_dir(Path::new("/"), &ReadOptions::live_root([], Vec::new())).unwrap();
    assert!(tree.contains(&p("/usr/bin/env")));
    assert!(tree.resolve("/bin/sh", true).is_ok());
    assert!(!tree.contains(&p("/proc")));
    // devpts is mounted in every /dev.
    let names = |options: ReadOptions| {
        let (tree, skipped) = Tree::from_dir_skipping(Path::new("/dev"), &options).unwrap();
        let skipped: Vec<String> = skipped.iter().map(ToString::to_string).collect();
        (tree.children(&p("/pts")).count() > 0, skipped.contains(&"/pts: mount".to_owned()))
    };
    let mounts =
        |mounts| ReadOptions { mounts, exclude: vec![p("/shm"), p("/mqueue")], ..Default::default() };
    assert_eq!(names(mounts(Mounts::All)), (true, false));
    assert_eq!(names(mounts(Mounts::Stored)), (false, true));
    assert_eq!(names(mounts(Mounts::Local)), (false, true));
    assert_eq!(names(mounts(Mounts::None)), (false, true));
    assert_eq!(names(ReadOptions { only: vec![p("/pts")], ..mounts(Mounts::Local) }), (true, false));
}

/// Not a test by itself: the unprivileged process of [`a_lenient_reader_goes_on`].
#[test]
fn helper_that_reads_without_privileges() {
    let Some(dir) = std::env::var_os("SYSEXT_TEST_READ_DIR") else { return };
    assert!(!rustix::process::geteuid().is_root());
    let strict = Tree::from_dir(Path::new(&dir), &ReadOptions::default()).unwrap_err().to_string();
    assert!(strict.ends_with("locked\": Permission denied (os error 13)"), "{strict}");
    let options = ReadOptions { lenient: true, ..Default::default() };
    let (tree, skipped) = Tree::from_dir_skipping(Path::new(&dir), &options).unwrap();
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert_eq!(skipped[0].to_string(), "/locked: children: Permission denied (os error 13)");
    assert_eq!(tree.get(&p("/open/file")).unwrap().content().unwrap().read(9).unwrap(), b"text");
    let secret = tree.get(&p("/secret")).unwrap().content().unwrap().read(9).unwrap_err().to_string();
    assert!(secret.ends_with("secret\": Permission denied (os error 13)"), "{secret}");
}

#[test]
fn a_lenient_reader_goes_on() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempdir();
    let place = dir.path();
    std::fs::create_dir_all(place.join("locked/in")).unwrap();
    std::fs::create_dir_all(place.join("open")).unwrap();
    std::fs::write(place.join("open/file"), "text").unwrap();
    std::fs::write(place.join("secret"), "text").unwrap();
    let chmod = |path: &str, mode| {
        std::fs::set_permissions(place.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    chmod(".", 0o755);
    chmod("locked", 0o000);
    chmod("secret", 0o000);
    // The test program may lie where nobody else can reach it.
    let program = place.join("program");
    crate::testing::place_program(&program);
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        command
    } else {
        Command::new(&program)
    };
    let status = command
        .args(["--exact", "host::tests::helper_that_reads_without_privileges"])
        .env("SYSEXT_TEST_READ_DIR", place)
        .current_dir("/")
        .stdout(std::process::Stdio::null())
        .status()
        .expect("setpriv: apt-get install util-linux");
    chmod("locked", 0o755);
    assert!(status.success());
}

mod round_trip {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::trees;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn through_a_directory(tree in trees()) {
            let dir = tempdir();
            let options = WriteOptions { ownership: false, ..WriteOptions::all() };
            let report = tree.write_dir(dir.path(), &options).unwrap();
            prop_assert!(report.skipped.is_empty());
            let mut back = Tree::from_dir(dir.path(), &ReadOptions::default()).unwrap();
            owner_free(&mut back);
            prop_assert_eq!(dump(&back), dump(&tree));
        }
    }
}
