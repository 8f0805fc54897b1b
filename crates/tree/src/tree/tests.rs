use super::*;

fn p(s: &str) -> TreePath {
    s.parse().unwrap()
}

fn sample() -> Tree {
    let mut t = Tree::default();
    for d in ["/usr", "/usr/bin", "/usr-local", "/etc"] {
        t.insert(p(d), Node::dir()).unwrap();
    }
    t.insert(p("/usr/bin/a"), Node::file(0o755, "x")).unwrap();
    t.link(p("/usr/bin/b"), &p("/usr/bin/a")).unwrap();
    t.insert(p("/bin"), Node::symlink("usr/bin")).unwrap();
    t
}

#[test]
fn a_directory_and_its_subtree_are_one_range() {
    let t = sample();
    let below: Vec<String> = t.subtree(&p("/usr")).map(|(p, _)| p.to_string()).collect();
    assert_eq!(below, ["/usr", "/usr/bin", "/usr/bin/a", "/usr/bin/b"]);
    let children: Vec<String> = t.children(&TreePath::root()).map(|(p, _)| p.to_string()).collect();
    assert_eq!(children, ["/bin", "/etc", "/usr", "/usr-local"]);
    assert_eq!(t.children(&p("/usr/bin/a")).count(), 0);
}

#[test]
fn hard_links_share_metadata_until_one_is_replaced() {
    let mut t = sample();
    t.meta_mut(&p("/usr/bin/b")).unwrap().mode = 0o700;
    assert_eq!(t.get(&p("/usr/bin/a")).unwrap().meta.mode, 0o700);
    assert_eq!(t.nlink(t.ino(&p("/usr/bin/a")).unwrap()), 2);
    t.insert(p("/usr/bin/b"), Node::file(0o644, "new")).unwrap();
    assert_eq!(t.nlink(t.ino(&p("/usr/bin/a")).unwrap()), 1);
    assert_eq!(t.get(&p("/usr/bin/a")).unwrap().meta.mode, 0o700);
}

#[test]
fn linking_a_path_to_itself_keeps_it() {
    let mut t = sample();
    t.link(p("/usr/bin/a"), &p("/usr/bin/a")).unwrap();
    assert_eq!(t.nlink(t.ino(&p("/usr/bin/a")).unwrap()), 2);
    assert_eq!(t.get(&p("/usr/bin/a")).unwrap().content().unwrap().read(9).unwrap(), b"x");
}

#[test]
fn refuses_what_a_file_system_refuses() {
    let mut t = sample();
    assert!(matches!(t.insert(p("/no/where"), Node::dir()), Err(TreeError::NoParent(_))));
    assert!(matches!(t.insert(p("/bin/x"), Node::dir()), Err(TreeError::ParentNotDirectory(_))));
    assert!(matches!(t.insert(p("/usr"), Node::symlink("x")), Err(TreeError::IsDirectory(_))));
    assert!(matches!(t.link(p("/x"), &p("/usr")), Err(TreeError::IsDirectory(_))));
    assert!(matches!(t.insert(TreePath::root(), Node::symlink("x")), Err(TreeError::Root)));
}

#[test]
fn remove_takes_the_subtree_and_frees_inodes() {
    let mut t = sample();
    assert_eq!(t.remove(&p("/usr")), 4);
    assert!(t.contains(&p("/usr-local")));
    t.insert(p("/x"), Node::dir()).unwrap();
    insta::assert_snapshot!(t.dump(), @r"
    / dir 0755 0:0
    /bin symlink 0777 0:0 -> usr/bin
    /etc dir 0755 0:0
    /usr-local dir 0755 0:0
    /x dir 0755 0:0
    ");
}

#[test]
fn resolves_as_in_a_chroot() {
    let mut t = sample();
    t.insert(p("/etc/up"), Node::symlink("../../../bin/a")).unwrap();
    t.insert(p("/loop"), Node::symlink("loop")).unwrap();
    t.insert(p("/abs"), Node::symlink("/usr/bin/")).unwrap();
    let r = t.resolve("/etc/up", true).unwrap();
    assert_eq!(r.path, p("/usr/bin/a"));
    assert_eq!(r.links, [p("/etc/up"), p("/bin")]);
    assert_eq!(t.resolve("/etc/up", false).unwrap().path, p("/etc/up"));
    assert_eq!(t.resolve("/abs/../..", true).unwrap().path, TreePath::root());
    assert_eq!(t.resolve("abs/", false).unwrap().path, p("/usr/bin"));
    assert!(matches!(t.resolve("/loop", true), Err(ResolveError::Loop { .. })));
    assert!(matches!(t.resolve("/usr/bin/a/x", true), Err(ResolveError::NotADirectory { .. })));
    assert!(matches!(t.resolve("/usr/bin/a/", true), Err(ResolveError::NotADirectory { .. })));
    assert!(matches!(t.resolve("/nope", true), Err(ResolveError::NotFound { .. })));
    // etc, etc/up, three times .. (4, then 1), bin, usr, usr/bin, usr/bin/a
    let mut left = 3 + 6 + (4 + 1 + 1) + 3 + 3 + 7 + 9;
    assert!(t.resolve_within("/etc/up", true, &mut left).is_ok());
    assert_eq!(left, 0);
    assert!(matches!(t.resolve_within("/etc/up", true, &mut 30), Err(ResolveError::Spent { .. })));
}

#[test]
fn paths_are_normal() {
    assert_eq!(p("//usr/./bin/"), p("usr/bin"));
    assert!(TreePath::new("a/../b").is_err());
    assert!(TreePath::new(b"a\0b").is_err());
    assert!(TreePath::new("x".repeat(256)).is_err());
    assert!(TreePath::new("x/".repeat(2047)).is_ok());
    assert!(TreePath::new("x/".repeat(2048)).is_err());
    assert!(TreePath::new("xy/".repeat(1500)).is_err());
    assert_eq!(TreePath::new(b"a\xffb\n\\").unwrap().to_string(), "/a\\xffb\\x0a\\\\");
    assert_eq!(p("/usr/bin/a").strip_prefix(&p("/usr")).unwrap(), b"bin/a");
    assert!(!p("/usr-local").starts_with(&p("/usr")));
    let up: Vec<String> = p("/a/b").ancestors_from_root().map(|p| p.to_string()).collect();
    assert_eq!(up, ["/", "/a", "/a/b"]);
}

#[test]
fn sparse_content_reads_zeros_between_extents() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("blob");
    std::fs::write(&file, b"__ABCD").unwrap();
    let extents = vec![Extent { at: 2, offset: 2, len: 2 }, Extent { at: 6, offset: 4, len: 2 }];
    let c = Content::sparse(Blob::at_path(&file), 9, extents).unwrap();
    assert_eq!(c.read(9).unwrap(), b"\0\0AB\0\0CD\0");
    let mut buf = [9; 3];
    assert_eq!(c.read_at(&mut buf, 3).unwrap(), 3);
    assert_eq!(&buf, b"B\0\0");
    assert!(c.read(8).is_err());
    let bad = vec![Extent { at: 2, offset: 0, len: 8 }];
    assert!(Content::sparse(Blob::at_path(&file), 9, bad).is_err());
}

#[test]
fn holes_are_known_without_reading() {
    // No such file: nothing is read.
    let blob = Blob::at_path("/nonexistent");
    let extents = vec![Extent { at: 10, offset: 0, len: 5 }, Extent { at: 50, offset: 5, len: 5 }];
    let sparse = Content::sparse(blob.clone(), 100, extents).unwrap();
    let patched = sparse.patched(200, vec![Patch { at: 30, bytes: vec![1; 4] }]).unwrap();
    let table = [
        (0, 10, 10),
        (10, 10, 10),
        (14, 14, 14),
        (15, 50, 30),
        (33, 50, 33),
        (34, 50, 50),
        (54, 54, 54),
        (55, 100, 200),
        (300, 100, 200),
    ];
    for (offset, in_sparse, in_patched) in table {
        assert_eq!(sparse.next_data(offset), in_sparse, "{offset}");
        assert_eq!(patched.next_data(offset), in_patched, "{offset}");
    }
    assert_eq!(Content::in_blob(blob, 3, 9).next_data(4), 4);
    assert_eq!(Content::EMPTY.next_data(0), 0);
}

#[test]
fn patches_stand_over_and_behind_the_base() {
    let base = Content::from("0123456789");
    let patch = |at, bytes: &str| Patch { at, bytes: bytes.into() };
    let c = base.patched(14, vec![patch(2, "AB"), patch(4, "C"), patch(12, "Z")]).unwrap();
    assert_eq!(c.read(14).unwrap(), b"01ABC56789\0\0Z\0");
    let mut buf = [9; 4];
    assert_eq!(c.read_at(&mut buf, 3).unwrap(), 4);
    assert_eq!(&buf, b"BC56");
    assert_eq!(c.read_at(&mut buf, 12).unwrap(), 2);
    assert_eq!(base.patched(3, vec![]).unwrap().read(3).unwrap(), b"012");
    assert!(base.patched(4, vec![patch(3, "AB")]).is_err());
    assert!(base.patched(9, vec![patch(3, "AB"), patch(4, "A")]).is_err());
}

#[test]
fn paths_are_ordered_by_components() {
    let parts = ["a", "a-b", "b", "usr", "12345678", "1234567", "123456789", "\u{1}", "\u{ff}"];
    let mut all = vec![TreePath::root()];
    for one in parts {
        all.push(p(one));
        all.extend(parts.iter().map(|two| p(&format!("{one}/{two}"))));
        all.extend(parts.iter().map(|two| p(&format!("{one}/12345678/{two}"))));
    }
    for a in &all {
        for b in &all {
            assert_eq!(a.cmp(b), a.components().cmp(b.components()), "{a} {b}");
        }
    }
}

#[test]
fn paths_of_the_source_are_those_that_are_normal() {
    const UNITS: StaticPath = StaticPath::new("/usr/lib/systemd/system");
    assert_eq!((UNITS.path(), UNITS.as_str()), (p("/usr/lib/systemd/system"), "/usr/lib/systemd/system"));
    assert_eq!(StaticPath::new("/").path(), TreePath::root());
    assert_eq!(StaticPath::new("/..a/.b/c..").path(), p("/..a/.b/c.."));
    for bad in ["", "usr", "/usr/", "//usr", "/usr//lib", "/.", "/usr/..", "/../x", "/a/./b", "/a\0b"] {
        assert!(std::panic::catch_unwind(|| StaticPath::new(bad)).is_err(), "{bad:?}");
    }
}

#[test]
fn what_changes_the_direction_of_text_is_escaped() {
    assert_eq!(escape("a\u{202e}gpj.exe".as_bytes()), "a\\xe2\\x80\\xaegpj.exe");
    assert_eq!(
        escape("\u{2066}\u{2028}\u{200f}".as_bytes()),
        "\\xe2\\x81\\xa6\\xe2\\x80\\xa8\\xe2\\x80\\x8f"
    );
    for c in ['\u{61c}', '\u{202a}', '\u{2069}', '\u{7f}', '\u{85}'] {
        assert!(is_control(c), "{c:?}");
    }
    for c in ['\u{2010}', '\u{200d}', 'é', '\u{5d0}'] {
        assert!(!is_control(c), "{c:?}");
    }
}

/// As a child has it that another thread is starting.
#[test]
fn a_blob_unlocks_its_file_whoever_else_has_the_descriptor() {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let file = std::fs::File::open(&path).unwrap();
    let other = std::fs::File::open(&path).unwrap();
    let _copy = file.try_clone().unwrap();
    file.lock_shared().unwrap();
    let blob = Blob::from_file(&*path, file);
    assert!(other.try_lock().is_err());
    drop(blob);
    other.try_lock().unwrap();
}
