//! The kernel, unsquashfs and backhand's reader say what is in an image.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::layout::{MAX_BLOCK_SIZE, MIN_BLOCK_SIZE};
use super::*;
use crate::Codec;
use crate::sha256::Sha256;
use std::num::NonZeroUsize;
use tree::{Blob, Content, Extent, Kind, Meta, Node, ReadOptions, Tree, TreePath};

mod edge;

fn p(s: &str) -> TreePath {
    s.parse().unwrap()
}

fn options(codec: Codec) -> Options {
    Options {
        codec,
        level: codec.default_level(),
        block_size: DEFAULT_BLOCK_SIZE,
        mkfs_time: 0,
        threads: NonZeroUsize::new(2).unwrap(),
        first: Vec::new(),
    }
}

fn image(tree: &Tree, options: &Options) -> (tempfile::NamedTempFile, u64) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let len = write(tree, &mut file.as_file(), options, &mut |_| {}).unwrap();
    assert_eq!(file.as_file().metadata().unwrap().len(), len);
    (file, len)
}

fn run(command: &mut Command) -> String {
    let out =
        command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; install mount and squashfs-tools"));
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// A loop mount, by the kernel of this machine.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(image: &Path) -> Self {
        assert!(rustix::process::geteuid().is_root(), "mounting an image takes root: run the tests as root");
        let dir = tempfile::tempdir().unwrap();
        run(Command::new("mount").args(["-t", "squashfs", "-o", "loop,ro"]).arg(image).arg(dir.path()));
        Mounted(dir)
    }

    fn tree(&self) -> Tree {
        Tree::from_dir(self.0.path(), &ReadOptions::default()).unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A child that another thread is just starting may have a file of it open, too, until it runs its program.
        run(Command::new("umount").arg("--lazy").arg(self.0.path()));
    }
}

fn dump(tree: &Tree) -> String {
    let hash = |c: &Content| format!("{:x?}", Sha256::of([&c.read(1 << 30).unwrap()]));
    let contents: String = tree
        .iter()
        .filter_map(|(p, n)| n.content().map(|c| format!("{p} {} {}\n", c.len(), hash(c))))
        .collect();
    tree.dump_with(tree::DumpOptions { mtime: true, text: 0 }) + &contents
}

fn assert_kernel_agrees(tree: &Tree, options: &Options) {
    let (file, _) = image(tree, options);
    let mounted = Mounted::new(file.path());
    let seen = mounted.tree();
    assert_eq!(dump(tree), dump(&seen));
    for (path, ino, _) in tree.iter_inodes() {
        let got = std::fs::symlink_metadata(mounted.0.path().join(path.as_host_relative())).unwrap();
        let expected = match tree.get(path).unwrap().is_dir() {
            true => 2 + tree.children(path).filter(|(_, n)| n.is_dir()).count() as u64,
            false => u64::from(tree.nlink(ino)),
        };
        assert_eq!(std::os::unix::fs::MetadataExt::nlink(&got), expected, "link count of {path}");
    }
}

/// Text that compresses about as programs do.
fn text(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    (0..len).map(|_| b'a' + (next() % 16) as u8).collect()
}

fn noise(seed: u32, len: u32) -> Vec<u8> {
    let digest = |i: u32| Sha256::of([&seed.to_le_bytes(), &i.to_le_bytes()]);
    (0..len / 32).flat_map(digest).collect()
}

fn sample() -> Tree {
    let mut t = Tree::default();
    let mut put = |path: &str, node: Node| t.insert_all(p(path), node, &Meta::dir()).unwrap();
    put("/empty", Node::file(0o600, ""));
    put("/small", Node::file(0o644, "small"));
    put("/block", Node::file(0o644, text(128 << 10, 3)));
    put("/large", Node::file(0o755, text(300_001, 5)));
    put("/copy/of/large", Node::file(0o4755, text(300_001, 5)));
    put("/zeros", Node::file(0o644, vec![0; 400_000]));
    put(
        "/noise",
        Node::file(
            0o644,
            (0..200_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>(),
        ),
    );
    put("/link", Node::symlink("copy/of/large"));
    put("/long", Node::symlink("x/".repeat(2000)));
    put(&format!("/{}", "n".repeat(255)), Node::file(0o644, "n"));
    put("/null", Node { meta: Meta::with_mode(0o666), kind: Kind::CharDevice { major: 1, minor: 3 } });
    put(
        "/disk",
        Node { meta: Meta::with_mode(0o660), kind: Kind::BlockDevice { major: 259, minor: 70_000 } },
    );
    put("/fifo", Node { meta: Meta::with_mode(0o600), kind: Kind::Fifo });
    put("/socket", Node { meta: Meta::with_mode(0o700), kind: Kind::Socket });
    t.link(p("/copy/small"), &p("/small")).unwrap();
    t.link(p("/copy/fifo"), &p("/fifo")).unwrap();
    let capability = vec![1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let xattrs = BTreeMap::from([
        (b"security.capability".to_vec(), capability),
        (b"user.long".to_vec(), vec![b'v'; 3000]),
    ]);
    t.meta_mut(&p("/large")).unwrap().xattrs = xattrs.clone();
    t.meta_mut(&p("/block")).unwrap().xattrs = xattrs;
    t.meta_mut(&p("/copy")).unwrap().xattrs = BTreeMap::from([(b"user.dir".to_vec(), b"1".to_vec())]);
    t.meta_mut(&p("/null")).unwrap().xattrs = BTreeMap::from([(b"trusted.x".to_vec(), b"".to_vec())]);
    let m = t.meta_mut(&p("/small")).unwrap();
    (m.uid, m.gid, m.mtime) = (1000, 70_000, 1_700_000_000);
    t
}

#[test]
fn the_kernel_sees_the_tree_in_every_codec() {
    for codec in Codec::ALL {
        assert_kernel_agrees(&sample(), &options(codec));
    }
    assert_kernel_agrees(&sample(), &Options { level: 12, ..options(Codec::Lz4) });
    // A real program, for the levels whose sequences are ours. The default is one of them.
    let mut tree = sample();
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    tree.insert(p("/program"), Node::file(0o755, program)).unwrap();
    for level in [Codec::Zstd.default_level(), 12, 15] {
        assert_kernel_agrees(&tree, &Options { level, ..options(Codec::Zstd) });
    }
    for block_size in [MIN_BLOCK_SIZE, MAX_BLOCK_SIZE] {
        assert_kernel_agrees(&sample(), &Options { block_size, ..options(Codec::Zstd) });
    }
    assert_kernel_agrees(&Tree::default(), &options(Codec::Zstd));
}

#[test]
fn bytes_do_not_depend_on_threads() {
    let tree = sample();
    let one = |n| {
        let (file, _) =
            image(&tree, &Options { threads: NonZeroUsize::new(n).unwrap(), ..options(Codec::Zstd) });
        std::fs::read(file.path()).unwrap()
    };
    let first = one(1);
    assert!(first == one(2) && first == one(7));
}

#[test]
fn equal_files_and_zeros_are_stored_once_or_not_at_all() {
    let noise: Vec<u8> = (0..1_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let mut t = Tree::default();
    t.insert(p("/a"), Node::file(0o644, noise.clone())).unwrap();
    let (_, alone) = image(&t, &options(Codec::Lz4));
    t.insert(p("/b"), Node::file(0o755, noise)).unwrap();
    t.insert(p("/z"), Node::file(0o755, vec![0; 128 << 13])).unwrap();
    let (file, both) = image(&t, &options(Codec::Lz4));
    assert!(both <= alone + 4096, "{both} bytes, {alone} without the copy");
    assert_eq!(dump(&Mounted::new(file.path()).tree()), dump(&t));
}

#[test]
fn files_that_are_read_together_lie_together() {
    let names = ["/a", "/b", "/c", "/d"];
    let mut t = Tree::default();
    for (seed, name) in (1..).zip(names) {
        t.insert(p(name), Node::file(0o644, noise(seed, 200_000))).unwrap();
    }
    t.link(p("/e"), &p("/b")).unwrap();
    let order = |first: &[&str]| {
        let first = first.iter().copied().map(p).collect();
        let (file, _) = image(&t, &Options { first, ..options(Codec::Zstd) });
        assert_eq!(dump(&Mounted::new(file.path()).tree()), dump(&t));
        let bytes = std::fs::read(file.path()).unwrap();
        let mut order = names.to_vec();
        order.sort_by_key(|name| {
            let start = t.get(&p(name)).unwrap().content().unwrap().head(32).unwrap();
            bytes.windows(32).position(|w| w == start).unwrap()
        });
        order.concat()
    };
    assert_eq!(order(&[]), "/a/b/c/d");
    assert_eq!(order(&["/d", "/missing", "/", "/e", "/b", "/d"]), "/d/b/a/c");
}

/// Tails of files that come first lie behind their blocks, before all else; alike ones of the others lie together.
#[test]
fn tails_of_what_comes_first_lie_with_it_and_alike_ones_together() {
    let mut t = Tree::default();
    for (seed, name) in (1..).zip(["/a.c", "/b.h", "/c.c", "/d.h", "/z"]) {
        t.insert(p(name), Node::file(0o644, noise(seed, 5_000))).unwrap();
    }
    let first = vec![p("/z"), p("/d.h")];
    let options = Options { first, block_size: MIN_BLOCK_SIZE, ..options(Codec::Zstd) };
    let (file, _) = image(&t, &options);
    assert_eq!(dump(&Mounted::new(file.path()).tree()), dump(&t));
    let bytes = std::fs::read(file.path()).unwrap();
    let place = |name: &str, offset: usize| {
        let content = t.get(&p(name)).unwrap().content().unwrap().read(1 << 20).unwrap();
        bytes.windows(32).position(|w| w == &content[offset..offset + 32]).unwrap()
    };
    let (block, tail) = (|name| place(name, 0), |name| place(name, MIN_BLOCK_SIZE as usize));
    let mut order =
        [block("/z"), block("/d.h"), tail("/z"), tail("/d.h"), block("/a.c"), block("/b.h"), block("/c.c")];
    assert!(order.is_sorted(), "{order:?}");
    // One ending before the other, whichever it is.
    order[..3].copy_from_slice(&[tail("/a.c"), tail("/c.c"), tail("/b.h")]);
    assert!(order[0] < order[1] && !(order[0]..order[1]).contains(&order[2]), "{order:?}");
}

#[test]
fn unsquashfs_and_backhand_read_it() {
    let tree = sample();
    let (file, _) = image(&tree, &options(Codec::Zstd));
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("root");
    run(Command::new("unsquashfs").args(["-q", "-n", "-d"]).arg(&place).arg(file.path()));
    assert_eq!(dump(&Tree::from_dir(&place, &ReadOptions::default()).unwrap()), dump(&tree));

    // backhand 0.25 knows no attributes but files' and directories', and refuses long symlinks.
    let mut plain = tree.clone();
    plain.remove(&p("/long"));
    for (path, _) in tree.iter() {
        if let Some(meta) = plain.meta_mut(path) {
            meta.xattrs.clear();
        }
    }
    let (file, _) = image(&plain, &options(Codec::Zstd));
    let reader = BufReader::new(std::fs::File::open(file.path()).unwrap());
    let read = backhand::FilesystemReader::from_reader(reader).unwrap();
    let mut names: Vec<TreePath> = read
        .files()
        .map(|n| TreePath::new(std::os::unix::ffi::OsStrExt::as_bytes(n.fullpath.as_os_str())).unwrap())
        .collect();
    names.sort();
    assert_eq!(names, plain.iter().map(|(p, _)| p.clone()).collect::<Vec<_>>());
}

#[test]
fn a_large_directory_is_indexed_and_every_name_found() {
    let mut t = Tree::default();
    for i in 0..100_000 {
        t.insert(p(&format!("/file-with-a-name-of-some-length-{i:06}")), Node::file(0o644, "")).unwrap();
    }
    t.link(p("/zz"), &p("/file-with-a-name-of-some-length-000000")).unwrap();
    let (file, _) = image(&t, &options(Codec::Zstd));
    let mounted = Mounted::new(file.path());
    assert_eq!(std::fs::read_dir(mounted.0.path()).unwrap().count(), 100_001);
    for i in [0, 1, 255, 256, 4095, 50_000, 99_998, 99_999] {
        let name = format!("file-with-a-name-of-some-length-{i:06}");
        assert!(mounted.0.path().join(&name).exists(), "{name}");
    }
    assert!(mounted.0.path().join("zz").exists());
    assert!(!mounted.0.path().join("file-with-a-name-of-some-length-1").exists());
}

#[test]
fn a_sparse_file_of_ten_gibibytes() {
    let dir = tempfile::tempdir().unwrap();
    let blob = dir.path().join("blob");
    std::fs::write(&blob, b"middle-end").unwrap();
    let len = 10 << 30;
    let extents = vec![Extent { at: 5 << 30, offset: 0, len: 6 }, Extent { at: len - 4, offset: 6, len: 4 }];
    let mut t = Tree::default();
    t.insert(p("/big"), Node::file(0o644, Content::sparse(Blob::at_path(&blob), len, extents).unwrap()))
        .unwrap();
    let options = Options { block_size: MAX_BLOCK_SIZE, ..options(Codec::Lz4) };
    let (file, size) = image(&t, &options);
    assert!(size < 1 << 20, "{size} bytes");
    let mounted = Mounted::new(file.path());
    let big = std::fs::File::open(mounted.0.path().join("big")).unwrap();
    let at = |offset| {
        let mut buf = [0; 6];
        std::os::unix::fs::FileExt::read_exact_at(&big, &mut buf, offset).unwrap();
        buf
    };
    assert_eq!(&at(5 << 30), b"middle");
    assert_eq!(&at(len - 6), b"\0\0-end");
    assert_eq!(big.metadata().unwrap().len(), len);
}

#[test]
fn refuses_what_the_format_cannot_hold() {
    let mut t = sample();
    t.meta_mut(&p("/small")).unwrap().xattrs.insert(b"system.posix_acl_access".to_vec(), vec![1]);
    let mut file = tempfile::tempfile().unwrap();
    let error = write(&t, &mut file, &options(Codec::Zstd), &mut |_| {}).unwrap_err().to_string();
    // The first path of the inode in the order of writing.
    assert!(
        error.contains("small: squashfs can't store the extended attribute \"system.posix_acl_access\""),
        "{error}"
    );

    let mut t = Tree::default();
    t.insert(p("/old"), Node::file(0o644, "")).unwrap();
    t.meta_mut(&p("/old")).unwrap().mtime = -1;
    let error = write(&t, &mut file, &options(Codec::Zstd), &mut |_| {}).unwrap_err().to_string();
    assert_eq!(error, "/old: modification time -1 is out of range, expected 0 to 4294967295");

    let holes = Content::sparse(Blob::at_path("/nonexistent"), 1 << 45, Vec::new()).unwrap();
    t.insert(p("/old"), Node::file(0o644, holes)).unwrap();
    let error = write(&t, &mut file, &options(Codec::Zstd), &mut |_| {}).unwrap_err().to_string();
    assert_eq!(error, "files have more than 16777216 blocks of 131072 bytes");

    let odd = Options { block_size: 100_000, ..options(Codec::Zstd) };
    assert!(matches!(write(&t, &mut file, &odd, &mut |_| {}), Err(WriteError::BlockSize(100_000))));
}

#[test]
fn content_that_cannot_be_read_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let blob = dir.path().join("short");
    std::fs::write(&blob, b"short").unwrap();
    for len in [9, 1 << 20] {
        let mut t = sample();
        t.insert(p("/cut"), Node::file(0o644, Content::in_blob(Blob::at_path(&blob), 0, len))).unwrap();
        let error =
            write(&t, &mut tempfile::tempfile().unwrap(), &options(Codec::Zstd), &mut |_| {}).unwrap_err();
        assert!(error.to_string().starts_with("/cut: "), "{error}");
    }
}

fn any_tree() -> impl Strategy<Value = Tree> {
    let name = prop_oneof!["[a-c]{1,2}", "[\\x01-\\x2e\\x30-\\x7e]{1,20}", "[x-z]{200,255}"]
        .prop_filter("no dots", |n| n != "." && n != "..");
    let path = proptest::collection::vec(name, 1..4);
    let content = prop_oneof![
        Just(Vec::new()),
        proptest::collection::vec(any::<u8>(), 1..50),
        (1usize..20_000, any::<u32>()).prop_map(|(n, seed)| text(n, seed % 3)),
        (1usize..20_000).prop_map(|n| vec![0; n]),
    ];
    let kind = prop_oneof![
        3 => content.prop_map(|c| Kind::File(c.into())),
        1 => Just(Kind::Dir),
        1 => "[a-z/.]{1,300}".prop_map(|t| Kind::Symlink(t.into_bytes().into())),
        1 => (0u32..4096, 0u32..1 << 20).prop_map(|(major, minor)| Kind::CharDevice { major, minor }),
        1 => Just(Kind::Fifo),
    ];
    let xattrs = proptest::collection::btree_map(
        "(user|trusted)\\.[a-z]{1,40}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..100),
        0..3,
    );
    let meta = (0u32..0o10000, any::<u16>(), any::<u32>(), any::<u32>());
    let entry = (path, kind, meta, xattrs, any::<proptest::sample::Index>());
    proptest::collection::vec(entry, 0..60).prop_map(|entries| {
        let mut tree = Tree::default();
        for (path, kind, (mode, uid, gid, mtime), mut xattrs, link) in entries {
            let Ok(path) = TreePath::new(path.join("/")) else { continue };
            if !matches!(kind, Kind::File(_) | Kind::Dir) {
                // user(7) attributes are for files and directories only.
                xattrs.retain(|k, _| k.starts_with(b"trusted."));
            }
            // -1 is no owner: chown(2).
            let meta =
                Meta { mode, uid: uid.into(), gid: gid.min(u32::MAX - 1), mtime: mtime.into(), xattrs };
            let leaves: Vec<TreePath> =
                tree.iter().filter(|(_, n)| !n.is_dir()).map(|(p, _)| p.clone()).collect();
            let made = tree.insert_all(path.clone(), Node { meta, kind }, &Meta::dir());
            if made.is_ok() && !leaves.is_empty() && mode % 4 == 0 {
                let _ = tree.link(path, link.get(&leaves));
            }
        }
        tree
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_tree_comes_back_from_the_kernel(tree in any_tree(), lead in proptest::collection::vec(any::<u8>(), 0..4)) {
        // What comes first, whatever it is: files, directories, links to the same.
        let paths: Vec<TreePath> = tree.iter().map(|(path, _)| path.clone()).collect();
        let first = lead.iter().map(|i| paths[usize::from(*i) % paths.len()].clone()).collect();
        assert_kernel_agrees(&tree, &Options { block_size: MIN_BLOCK_SIZE, first, ..options(Codec::Zstd) });
    }
}
