//! What well-formed archives mean.

use super::*;

#[test]
fn reads_all_kinds() {
    let tar = b()
        .dir("./")
        .dir("./bin/")
        .raw(&Raw {
            mode: 0o104_755,
            uid: 7,
            gid: 8,
            mtime: 99,
            data: b"hi".into(),
            ..Raw::new("./bin/su", b'0')
        })
        .hardlink("./bin/su2", "./bin/su")
        .symlink("./sh", "bin/su")
        .device("null", b'3', 1, 3)
        .device("sda", b'4', 8, 0)
        .raw(&Raw::new("pipe", b'6'))
        .raw(&Raw { magic: [0; 8], ..Raw::new("v7dir/", 0) })
        .raw(&Raw { magic: [0; 8], data: b"old".into(), ..Raw::new("v7file", 0) })
        .raw(&Raw { data: b"c".into(), ..Raw::new("contiguous", b'7') })
        .finish();
    insta::assert_snapshot!(dump(&tar), @r#"
    / dir 0755 0:0 @0
    /bin dir 0755 0:0 @0
    /bin/su file 4755 7:8 @99 2 "hi"
    /bin/su2 hardlink /bin/su
    /contiguous file 0644 0:0 @0 1 "c"
    /null char 0644 0:0 @0 1:3
    /pipe fifo 0644 0:0 @0
    /sda block 0644 0:0 @0 8:0
    /sh symlink 0777 0:0 @0 -> bin/su
    /v7dir dir 0644 0:0 @0
    /v7file file 0644 0:0 @0 3 "old"
    "#);
}

#[test]
fn long_names_of_all_sorts() {
    let long = "d".repeat(120);
    let tar = b()
        .raw(&Raw { patches: vec![(345, b"prefix/of".to_vec())], ..Raw::new("ustar", b'0') })
        .raw(&Raw {
            // Star keeps times behind the first 131 bytes of the prefix.
            patches: vec![(345, b"star".to_vec()), (476, b"00000000000 ".to_vec()), (508, b"tar\0".to_vec())],
            ..Raw::new("name", b'0')
        })
        .raw(&Raw { magic: *b"ustar  \0", patches: vec![(345, b"12345".to_vec())], ..Raw::new("gnu", b'0') })
        .long(b'L', &long)
        .file("short", "L")
        .long(b'K', format!("t{long}"))
        .long(b'L', format!("l{long}"))
        .symlink("short", "short")
        .pax(b'x', &[("path", format!("p{long}")), ("linkpath", long.clone())])
        .hardlink("short", "short")
        .finish();
    let shown = dump(&tar).replace(&long, "<long>");
    insta::assert_snapshot!(shown, @r#"
    / dir 0755 0:0 @0
    /<long> file 0644 0:0 @0 1 "L"
    /gnu file 0644 0:0 @0 0 ""
    /l<long> symlink 0777 0:0 @0 -> t<long>
    /p<long> hardlink /<long>
    /prefix dir 0755 0:0 @0
    /prefix/of dir 0755 0:0 @0
    /prefix/of/ustar file 0644 0:0 @0 0 ""
    /star dir 0755 0:0 @0
    /star/name file 0644 0:0 @0 0 ""
    "#);
}

#[test]
fn numbers_in_every_spelling() {
    let field = |at: usize, bytes: &[u8]| vec![(at, bytes.to_vec())];
    let one = |patches| b().raw(&Raw { patches, ..Raw::new("x", b'0') }).finish();
    let line = |tar: &[u8]| dump(tar).lines().last().unwrap_or_default().to_owned();
    let cases: &[(Vec<u8>, &str)] = &[
        (one(field(108, b"   17 \0\0")), "/x file 0644 15:0 @0 0 \"\""),
        (one(field(108, b"00000017")), "/x file 0644 15:0 @0 0 \"\""),
        (one(field(108, &[0; 8])), "/x file 0644 0:0 @0 0 \"\""),
        (one(field(108, &[0x80, 0, 0, 0, 0, 0x98, 0x96, 0x80])), "/x file 0644 10000000:0 @0 0 \"\""),
        (one(field(136, &[0xff; 12])), "/x file 0644 0:0 @-1 0 \"\""),
        (one(field(136, &[0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0])), "/x file 0644 0:0 @4294967296 0 \"\""),
        (one(field(100, b"0104755\0")), "/x file 4755 0:0 @0 0 \"\""),
    ];
    for (tar, expected) in cases {
        assert_eq!(line(tar), *expected);
    }
    for (mtime, expected) in [
        ("5", 5),
        ("5.9", 5),
        ("5.", 5),
        ("-5", -5),
        ("-5.0", -5),
        ("-5.1", -6),
        ("-0.5", -1),
        ("0.999999999", 0),
        ("9223372036854775807", i64::MAX),
    ] {
        let tar = b().pax(b'x', &[("mtime", mtime)]).file("x", "").finish();
        assert_eq!(line(&tar), format!("/x file 0644 0:0 @{expected} 0 \"\""), "{mtime}");
    }
}

#[test]
fn pax_size_wins_over_the_header_both_ways() {
    // CVE-2025-62518: the header hides an archive within the data from readers that believe it.
    let inner = b().file("smuggled", "").unfinished();
    let hidden = b()
        .pax(b'x', &[("size", inner.len().to_string())])
        .raw(&Raw { size: Some(0), data: inner.clone(), ..Raw::new("outer", b'0') })
        .file("after", "")
        .finish();
    let smaller = b()
        .pax(b'x', &[("size", "1")])
        .raw(&Raw { size: Some(600), data: b"A".into(), ..Raw::new("outer", b'0') })
        .file("after", "")
        .finish();
    for (tar, size) in [(hidden, inner.len()), (smaller, 1)] {
        let shown = dump(&tar);
        assert!(shown.contains(&format!("/outer file 0644 0:0 @0 {size}")), "{shown}");
        assert!(shown.contains("/after"), "{shown}");
        assert!(!shown.contains("smuggled"), "{shown}");
    }
}

#[test]
fn pax_records_belong_to_the_file_not_to_the_long_name_before_it() {
    // CVE-2026-33055, tar-rs#454.
    let name = "n".repeat(700);
    let tar = b()
        .pax(b'x', &[("size", "3"), ("uid", "5")])
        .long(b'L', "dir/".to_owned() + &name[..200])
        .pax(b'g', &[("comment", "in between")])
        .raw(&Raw { size: Some(0), data: b"abc".into(), ..Raw::new("short", b'0') })
        .file("after", "")
        .finish();
    let shown = dump(&tar).replace(&name[..200], "<long>");
    insta::assert_snapshot!(shown, @r#"
    / dir 0755 0:0 @0
    /after file 0644 0:0 @0 0 ""
    /dir dir 0755 0:0 @0
    /dir/<long> file 0644 5:0 @0 3 "abc"
    "#);
}

#[test]
fn global_records_last_and_are_taken_back() {
    let tar = b()
        .pax(b'g', &[("uid", "1"), ("mtime", "7"), ("comment", "path=x"), ("SCHILY.xattr.user.a", "g")])
        .file("one", "")
        .pax(b'x', &[("uid", "2"), ("SCHILY.xattr.user.a", "x")])
        .file("two", "")
        .pax(b'g', &[("uid", "")])
        .file("three", "")
        .finish();
    insta::assert_snapshot!(dump(&tar), @r#"
    / dir 0755 0:0 @0
    /one file 0644 1:0 @7 0 "" user.a=g
    /three file 0644 0:0 @7 0 "" user.a=g
    /two file 0644 2:0 @7 0 "" user.a=x
    "#);
}

#[test]
fn xattrs_are_bytes() {
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\n=";
    let tar = b()
        .pax(
            b'x',
            &[(&b"SCHILY.xattr.security.capability"[..], &capability[..]), (b"SCHILY.xattr.user.empty", b"")],
        )
        .file("ping", "")
        .pax(
            b'x',
            &[
                ("LIBARCHIVE.xattr.user.%61%3Db", "aGVsbG8"),
                ("LIBARCHIVE.xattr.user.both", "eA=="),
                ("SCHILY.xattr.user.both", "y"),
            ],
        )
        .file("bsd", "")
        .pax(b'x', &[("SCHILY.acl.access", "user::rwx"), ("RHT.security.selinux", "x"), ("VENDOR.key", "y")])
        .file("ignored", "")
        .finish();
    insta::assert_snapshot!(dump(&tar), @r#"
    / dir 0755 0:0 @0
    /bsd file 0644 0:0 @0 0 "" user.a=b=hello user.both=y
    /ignored file 0644 0:0 @0 0 ""
    /ping file 0644 0:0 @0 0 "" security.capability=\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0a= user.empty=
    "#);
}

#[test]
fn archives_end_in_several_ways() {
    let whole = b().file("x", "abc");
    let end = |bytes: &[u8]| dump(&[&whole.clone().unfinished()[..], bytes].concat());
    let expected = end(&[0; 1024]);
    assert!(expected.contains("/x file"));
    assert_eq!(end(b""), expected, "no end blocks");
    assert_eq!(end(&[0; 512]), expected, "one at the very end");
    assert_eq!(end(&[0; 10240]), expected, "padded to a record");
    assert_eq!(end(&[&[0u8; 1024][..], b"junk behind the end"].concat()), expected);
    assert_eq!(end(&[&[0u8; 1024][..], &b().file("y", "").finish()].concat()), expected, "another archive");
    let unpadded = &whole.unfinished()[..515];
    assert_eq!(dump(unpadded), expected, "the last file's padding is missing");
    assert_eq!(dump(b""), "/ dir 0755 0:0 @0\n");
}

#[test]
fn content_is_a_place_in_the_blob() {
    let tar = b().file("a", "first").file("b", "second").finish();
    // Read in place inside another file.
    let bytes = [&[0xee; 1000][..], &tar, &[0xee; 1000]].concat();
    let t = Tree::from_tar(&blob(&bytes), 1000, tar.len() as u64, &Limits::default()).unwrap();
    let read = |p: &str| t.get(&p.parse().unwrap()).unwrap().content().unwrap().read(99).unwrap();
    assert_eq!((read("/a"), read("/b")), (b"first".to_vec(), b"second".to_vec()));
}
