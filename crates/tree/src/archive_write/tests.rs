use std::process::{Command, Stdio};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{Blob, Extent, archive::Limits, testing::trees, tree::DumpOptions};

fn p(s: &str) -> TreePath {
    s.parse().unwrap()
}

fn tar(tree: &Tree) -> Vec<u8> {
    let mut out = Vec::new();
    tree.write_tar(&mut out).unwrap();
    out
}

/// The tar as a blob. The file stays open when its name goes.
fn blob(bytes: &[u8]) -> Arc<Blob> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let (file, path) = file.into_parts();
    Blob::from_file(path.to_path_buf(), file)
}

fn back(bytes: &[u8]) -> Tree {
    Tree::from_tar(&blob(bytes), 0, bytes.len() as u64, &Limits::default()).unwrap()
}

fn dump(tree: &Tree) -> String {
    tree.dump_with(DumpOptions { mtime: true, text: 1 << 12 })
}

/// What needs more than the header's fields.
fn sample() -> Tree {
    let mut t = Tree::new(Meta { mode: 0o1777, uid: 5, ..Meta::dir() });
    let mut put = |path: &str, kind: Kind, change: &dyn Fn(&mut Meta)| {
        let mut meta = Meta { mtime: 1_700_000_000, ..Meta::with_mode(0o644) };
        change(&mut meta);
        t.insert_all(p(path), Node { meta, kind }, &Meta::dir()).unwrap();
    };
    let long = format!("/{}/{}", "d".repeat(90), "f".repeat(200));
    put(&long, Kind::File("long".into()), &|_| {});
    put("/exact", Kind::Symlink(vec![b't'; 100].into()), &|m| m.mode = 0o777);
    put("/over", Kind::Symlink(vec![b't'; 101].into()), &|m| m.mode = 0o777);
    put("/owner", Kind::File("x".into()), &|m| (m.uid, m.gid) = (0o777_7777, u32::MAX - 1));
    put("/before", Kind::File("".into()), &|m| m.mtime = -86_400);
    put("/after", Kind::File("".into()), &|m| m.mtime = 0o777_7777_7777 + 1);
    put("/tagged", Kind::File("y".into()), &|m| {
        m.xattrs.insert(b"user.nul".to_vec(), b"a\0b\nc=d".to_vec());
        m.xattrs.insert(b"security.capability".to_vec(), vec![1, 0, 0, 2]);
    });
    put("/null", Kind::CharDevice { major: 1, minor: 3 }, &|_| {});
    put("/disk", Kind::BlockDevice { major: 259, minor: 1_000_000 }, &|_| {});
    put("/pipe", Kind::Fifo, &|_| {});
    put("/odd \n\u{e4}", Kind::File(vec![7; 1025].into()), &|m| m.mode = 0o6755);
    t.link(p("/z"), &p("/tagged")).unwrap();
    t.link(p("/z-link"), &p("/exact")).unwrap();
    t
}

#[test]
fn a_tree_survives_a_tar() {
    let tree = sample();
    let bytes = tar(&tree);
    assert_eq!(dump(&back(&bytes)), dump(&tree));
    assert_eq!(bytes, tar(&tree));
    assert_eq!(bytes.len() % 512, 0);
}

#[test]
fn gnu_tar_reads_it_alike() {
    let bytes = tar(&sample());
    let mut child = Command::new("tar")
        .args(["--list", "--verbose", "--numeric-owner", "--full-time", "--utc", "--xattrs", "-f", "-"])
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tar: apt-get install tar");
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    // Widths of columns are tar's own matter.
    let list = String::from_utf8(output.stdout).unwrap();
    let list: Vec<String> =
        list.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let (d, f, t) = ("d".repeat(90), "f".repeat(200), "t".repeat(100));
    let expected = [
        "drwxrwxrwt 5/0 0 1970-01-01 00:00:00 ./".to_owned(),
        "-rw-r--r-- 0/0 0 2242-03-16 12:56:32 after".to_owned(),
        "-rw-r--r-- 0/0 0 1969-12-31 00:00:00 before".to_owned(),
        format!("drwxr-xr-x 0/0 0 1970-01-01 00:00:00 {d}/"),
        format!("-rw-r--r-- 0/0 4 2023-11-14 22:13:20 {d}/{f}"),
        "brw-r--r-- 0/0 259,1000000 2023-11-14 22:13:20 disk".to_owned(),
        format!("lrwxrwxrwx 0/0 0 2023-11-14 22:13:20 exact -> {t}"),
        "crw-r--r-- 0/0 1,3 2023-11-14 22:13:20 null".to_owned(),
        "-rwsr-sr-x 0/0 1025 2023-11-14 22:13:20 odd \\n\u{e4}".to_owned(),
        format!("lrwxrwxrwx 0/0 0 2023-11-14 22:13:20 over -> {t}t"),
        "-rw-r--r-- 2097151/4294967294 1 2023-11-14 22:13:20 owner".to_owned(),
        "prw-r--r-- 0/0 0 2023-11-14 22:13:20 pipe".to_owned(),
        "-rw-r--r--* 0/0 1 2023-11-14 22:13:20 tagged".to_owned(),
        "hrw-r--r-- 0/0 0 2023-11-14 22:13:20 z link to tagged".to_owned(),
        "hrwxrwxrwx 0/0 0 2023-11-14 22:13:20 z-link link to exact".to_owned(),
    ];
    assert_eq!(list, expected);
}

#[test]
fn what_a_tar_cant_hold_is_refused() {
    let mut tree = Tree::default();
    tree.insert(p("/s"), Node { meta: Meta::with_mode(0o600), kind: Kind::Socket }).unwrap();
    let error = tree.write_tar(Vec::new()).unwrap_err().to_string();
    assert_eq!(error, "/s: is a socket, which a tar can't hold");
    let mut tree = Tree::default();
    let mut node = Node::file(0o644, "");
    node.meta.xattrs.insert(b"user.a=b".to_vec(), vec![]);
    tree.insert(p("/f"), node).unwrap();
    let error = tree.write_tar(Vec::new()).unwrap_err().to_string();
    assert_eq!(error, "/f: extended attribute \"user.a=b\" has a '=' in its name, which a tar can't hold");
}

#[test]
fn sparse_and_missing_content() {
    let stored = blob(b"data");
    let content = Content::sparse(stored, 3000, vec![Extent { at: 1000, offset: 0, len: 4 }]).unwrap();
    let mut tree = Tree::default();
    tree.insert(p("/sparse"), Node::file(0o644, content)).unwrap();
    let read = back(&tar(&tree)).get(&p("/sparse")).unwrap().content().unwrap().read(3000).unwrap();
    assert_eq!(&read[998..1006], b"\0\0data\0\0");
    assert_eq!(read.len(), 3000);

    let stored = blob(b"data");
    let runs =
        vec![Extent { at: 1 << 35, offset: 0, len: 3 }, Extent { at: (1 << 35) + 99, offset: 3, len: 1 }];
    let content = Content::sparse(stored.clone(), 1 << 36, runs.clone()).unwrap();
    tree.insert(p("/holes"), Node::file(0o644, content)).unwrap();
    tree.insert(p("/none"), Node::file(0o644, Content::sparse(stored, 1 << 34, Vec::new()).unwrap()))
        .unwrap();
    tree.link(p("/same"), &p("/holes")).unwrap();
    let mut bytes = Vec::new();
    tree.write_sparse_tar(&mut bytes).unwrap();
    assert!(bytes.len() < 16 << 10, "{} bytes", bytes.len());
    let again = back(&bytes);
    assert_eq!(again.dump(), tree.dump());
    let content = again.get(&p("/same")).unwrap().content().unwrap();
    let mut found = [7; 101];
    assert_eq!(content.read_at(&mut found, (1 << 35) - 1).unwrap(), 101);
    assert_eq!((&found[..5], found[100]), (&b"\0dat\0"[..], b'a'));
    assert_eq!(content.extents().unwrap().len(), runs.len());
    assert_eq!(again.get(&p("/none")).unwrap().content().unwrap().len(), 1 << 34);

    let gone = Content::in_blob(Blob::at_path("/nonexistent/blob"), 0, 9);
    tree.insert(p("/gone"), Node::file(0o644, gone)).unwrap();
    let error = tree.write_tar(Vec::new()).unwrap_err().to_string();
    assert!(error.starts_with("/gone: \"/nonexistent/blob\": No such file"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn through_a_tar(tree in trees()) {
        prop_assert_eq!(dump(&back(&tar(&tree))), dump(&tree));
    }
}
