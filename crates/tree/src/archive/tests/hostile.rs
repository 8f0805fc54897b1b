//! What no honest program writes.

use super::*;

fn error(bytes: &[u8]) -> String {
    tree(bytes).map(|t| t.dump()).expect_err("an error")
}

#[test]
fn malformed_archives_are_refused() {
    let patched = |at: usize, bytes: &[u8]| {
        b().raw(&Raw { patches: vec![(at, bytes.to_vec())], ..Raw::new("x", b'0') }).finish()
    };
    let pax =
        |record: &[u8]| b().raw(&Raw { data: record.to_vec(), ..Raw::new("p", b'x') }).file("x", "").finish();
    let px = |key: &str, value: &str| b().pax(b'x', &[(key, value)]).file("x", "").finish();
    let file = b().file("x", "abc").finish();
    let mut bad_sum = file.clone();
    bad_sum[0] ^= 1;
    let lone = [&[0; 512][..], &file].concat();
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("checksum", bad_sum, "byte 0: not a tar header: checksum is wrong"),
        ("no tar at all", vec![b'A'; 2048], "byte 0: checksum is \"AAAAAAAA\", expected octal digits"),
        ("lone zero block", lone, "byte 0: lone zero block"),
        ("half a header", file[..300].to_vec(), "byte 0: archive ends early, expected 212 more bytes"),
        (
            "half a file",
            file[..514].to_vec(),
            "entry \"x\" at byte 0: archive ends early, expected 1 more bytes",
        ),
        (
            "half a block",
            [&file[..1024], &[0; 7]].concat(),
            "byte 1024: archive ends early, expected 505 more",
        ),
        ("size", patched(124, b"99999999999\0"), "expected octal digits"),
        (
            "huge size",
            patched(124, &[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            "exceeds the limit",
        ),
        ("over-long size", patched(124, &[0x8f; 12]), "expected a number of 63 bits"),
        ("negative size", patched(124, &[0xff; 12]), "expected 0 or more"),
        ("size past the end", patched(124, b"00000100000\0"), "archive ends early"),
        ("negative uid", patched(108, &[0xff; 8]), "expected 0 to 4294967294"),
        (
            "uid -1 in 32 bits",
            patched(108, &[0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
            "expected 0 to 4294967294",
        ),
        (
            "octal with junk",
            patched(100, b"0x644\0\0\0"),
            "entry \"x\" at byte 0: mode is \"0x644\\x00\\x00\\x00\"",
        ),
        ("pax uid", px("uid", "-1"), "PAX uid is \"-1\", expected 0 to 4294967294"),
        ("pax gid", px("gid", "4294967295"), "PAX gid is"),
        ("pax size", px("size", "-5"), "PAX size is \"-5\""),
        ("pax size sign", px("size", "+5"), "PAX size is \"+5\""),
        ("pax huge size", px("size", "9223372036854775808"), "less than 2^63"),
        ("pax long size", px("size", "9223372036854775807"), "limit of 17592186044416"),
        ("pax mtime", px("mtime", "1.5.5"), "PAX mtime is"),
        ("pax mtime", px("mtime", "."), "PAX mtime is"),
        ("pax mtime", px("mtime", "--5"), "PAX mtime is"),
        ("nul in a pax path", px("path", "a\0b"), "a name has a NUL byte"),
        ("nul in a pax link", px("linkpath", "a\0b"), "a name has a NUL byte"),
        ("xattr name", px(&format!("SCHILY.xattr.{}", "n".repeat(256)), ""), "extended attribute"),
        ("xattr without name", px("SCHILY.xattr.", "x"), "extended attribute \"\""),
        ("xattr value", px("SCHILY.xattr.user.x", &"v".repeat(65537)), "extended attribute \"user.x\""),
        ("xattr base64", px("LIBARCHIVE.xattr.user.x", "?"), "extended attribute \"user.x\""),
        ("no length", pax(b"path=x\n"), "a record has no length"),
        ("short length", pax(b"5 path=x\n"), "a record doesn't end with a newline"),
        ("tiny length", pax(b"2 path=x\n"), "a record's length doesn't fit"),
        ("zero length", pax(b"0 path=x\n"), "a record's length doesn't fit"),
        ("long length", pax(b"99 path=x\n"), "a record's length doesn't fit"),
        ("huge length", pax(b"99999999999999999999 a=x\n"), "a record has no length"),
        ("no equals", pax(b"9 pathxx\n"), "a record has no equals sign"),
        ("no key", pax(b"5 =x\n"), "a record's keyword is empty"),
        ("no newline", pax(b"10 path=xy"), "a record doesn't end with a newline"),
        (
            "global path",
            b().pax(b'g', &[("path", "y")]).file("x", "").finish(),
            "global PAX header sets \"path\"",
        ),
        (
            "global size",
            b().pax(b'g', &[("size", "0")]).file("x", "").finish(),
            "global PAX header sets \"size\"",
        ),
        (
            "two x",
            b().pax(b'x', &[("uid", "1")]).pax(b'x', &[("gid", "1")]).file("x", "").finish(),
            "two PAX headers",
        ),
        ("two L", b().long(b'L', "a").long(b'L', "b").file("x", "").finish(), "two long name headers"),
        ("two K", b().long(b'K', "a").long(b'K', "b").symlink("x", "").finish(), "two long link headers"),
        (
            "x and L differ",
            b().pax(b'x', &[("path", "a")]).long(b'L', "b").file("x", "").finish(),
            "entry \"b\" at",
        ),
        ("x at the end", b().pax(b'x', &[("path", "a")]).finish(), "archive ends after an extension header"),
        ("L at the end", b().long(b'L', "a").unfinished(), "archive ends after an extension header"),
        (
            "2 GiB long name",
            b().raw(&Raw { size: Some(2 << 30), ..Raw::new("L", b'L') }).finish(),
            "exceeds the limit of 1048576",
        ),
        (
            "truncated long name",
            b().raw(&Raw { size: Some(1 << 16), ..Raw::new("L", b'L') }).finish(),
            "archive ends early",
        ),
        ("volume label", b().raw(&Raw::new("v", b'V')).finish(), "entry has type 'V'"),
        ("multi-volume", b().raw(&Raw::new("v", b'M')).finish(), "entry has type 'M'"),
        ("unknown type", b().raw(&Raw::new("v", b'Z')).finish(), "entry has type 'Z'"),
        ("type in high bits", b().raw(&Raw::new("v", 0xb5)).finish(), "entry has type 'µ'"),
        ("symlink to nothing", b().symlink("l", "").finish(), "link target is empty"),
        ("hard link to nothing", b().hardlink("l", "").finish(), "link target is empty"),
        (
            "symlink too long",
            b().long(b'K', "t".repeat(4096)).symlink("l", "x").finish(),
            "symlink target of 4096 bytes",
        ),
        (
            "negative device",
            b().raw(&Raw { patches: vec![(329, vec![0xff; 8])], ..Raw::new("d", b'3') }).finish(),
            "devmajor",
        ),
    ];
    for (name, tar, expected) in cases {
        let e = error(tar);
        assert!(e.contains(expected), "{name}: got {e:?}, expected {expected:?}");
        assert!(e.len() < 500, "{name}: {} bytes", e.len());
    }
}

#[test]
fn paths_stay_inside() {
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("up", b().file("../x", "").finish(), "path \"../x\" has a \"..\" component"),
        ("up from the root", b().file("/../x", "").finish(), "has a \"..\" component"),
        ("up and down", b().file("a/../x", "").finish(), "has a \"..\" component"),
        ("link up", b().file("x", "").hardlink("y", "../x").finish(), "has a \"..\" component"),
        ("root as a link", b().symlink(".", "/etc").finish(), "would replace the root directory"),
        ("root as a file", b().file("/", "").finish(), "would replace the root directory"),
        ("root as nothing", b().symlink("", "x").finish(), "would replace the root directory"),
        (
            "root as a hard link",
            b().file("x", "").hardlink("./.", "x").finish(),
            "would replace the root directory",
        ),
        ("link named ..", b().symlink("..", "x").finish(), "has a \"..\" component"),
        ("link named a/..", b().symlink("a/..", "x").finish(), "has a \"..\" component"),
        (
            "256-byte component",
            b().long(b'L', "c".repeat(256)).file("x", "").finish(),
            "component of 256 bytes",
        ),
        ("long path", b().long(b'L', "c/".repeat(3000)).file("x", "").finish(), "expected at most 4095"),
        ("link to the root", b().hardlink("x", "/").finish(), "hard link target / is a directory"),
        (
            "link to a directory",
            b().dir("d").hardlink("x", "d").finish(),
            "hard link target /d is a directory",
        ),
        (
            "link to nothing",
            b().hardlink("x", "y").file("y", "").finish(),
            "hard link target \"y\" is missing",
        ),
        (
            "link to itself",
            b().file("x", "").hardlink("x", "./x").finish(),
            "hard link target /x is the link itself",
        ),
        (
            "link over its target",
            b().file("d/x", "").hardlink("d", "d/x").finish(),
            "hard link target /d/x is the link",
        ),
        (
            "loop",
            b().symlink("a", "b").symlink("b", "a").file("a/x", "").finish(),
            "too many levels of symbolic links",
        ),
        (
            "file behind a link",
            b().file("f", "").symlink("l", "f").file("l/x", "").finish(),
            "/f is not a directory",
        ),
    ];
    for (name, tar, expected) in cases {
        let e = error(tar);
        assert!(e.contains(expected), "{name}: got {e:?}, expected {expected:?}");
    }
}

#[test]
fn links_lead_inside_as_in_a_chroot() {
    let tar = b()
        .dir("etc")
        .symlink("up", "../../../etc")
        .file("up/one", "1")
        .symlink("absolute", "/etc")
        .file("absolute/two", "2")
        .symlink("p", "/proc/self/root")
        .file("p/three", "3")
        .hardlink("four", "up/one")
        .symlink("final", "/etc/one")
        .file("final", "replaces the link, not its target")
        .symlink("dir", "etc")
        .dir("dir")
        .hardlink("five", "absolute")
        .finish();
    insta::assert_snapshot!(tree(&tar).unwrap().dump(), @r#"
    / dir 0755 0:0
    /absolute symlink 0777 0:0 -> /etc
    /dir dir 0755 0:0
    /etc dir 0755 0:0
    /etc/one file 0644 0:0 1 "1"
    /etc/two file 0644 0:0 1 "2"
    /final file 0644 0:0 33 "replaces the link, not its target"
    /five hardlink /absolute
    /four hardlink /etc/one
    /p symlink 0777 0:0 -> /proc/self/root
    /proc dir 0755 0:0
    /proc/self dir 0755 0:0
    /proc/self/root dir 0755 0:0
    /proc/self/root/three file 0644 0:0 1 "3"
    /up symlink 0777 0:0 -> ../../../etc
    "#);
}

#[test]
fn the_last_entry_wins() {
    let tar = b()
        .file("f", "old")
        .hardlink("g", "f")
        .file("f", "new")
        .file("d/x/y", "")
        .file("d", "a file")
        .file("e", "")
        .file("e/f/g", "a directory now")
        .raw(&Raw { mode: 0o700, ..Raw::new("e", b'5') })
        .raw(&Raw { mode: 0, ..Raw::new("closed", b'5') })
        .file("closed/inside", "")
        .file("h", "")
        .dir("k/l")
        .hardlink("k", "h")
        .finish();
    insta::assert_snapshot!(tree(&tar).unwrap().dump(), @r#"
    / dir 0755 0:0
    /closed dir 0000 0:0
    /closed/inside file 0644 0:0 0 ""
    /d file 0644 0:0 6 "a file"
    /e dir 0700 0:0
    /e/f dir 0755 0:0
    /e/f/g file 0644 0:0 15 "a directory now"
    /f file 0644 0:0 3 "new"
    /g file 0644 0:0 3 "old"
    /h file 0644 0:0 0 ""
    /k hardlink /h
    "#);
}

#[test]
fn names_are_bytes() {
    let long = "c".repeat(255);
    let tar = b()
        .file(b"\xff\xfe", "")
        .file("new\nline", "")
        .file(" ", "")
        .file("...", "")
        .long(b'L', &long)
        .file("x", "")
        .finish();
    let shown = tree(&tar).unwrap().dump().replace(&long, "<255>");
    insta::assert_snapshot!(shown, @r#"
    / dir 0755 0:0
    /  file 0644 0:0 0 ""
    /... file 0644 0:0 0 ""
    /<255> file 0644 0:0 0 ""
    /new\x0aline file 0644 0:0 0 ""
    /\xff\xfe file 0644 0:0 0 ""
    "#);
}

#[test]
fn limits_hold() {
    let tar =
        b().file("a", "").file("b", "12345").pax(b'x', &[("comment", "long enough")]).file("c", "").finish();
    let with = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        tree_at(&tar, &limits).map(|t| t.len())
    };
    assert_eq!(with(|l| l.entries = 4), Ok(4), "the PAX header counts, the root doesn't");
    assert!(with(|l| l.entries = 3).unwrap_err().ends_with("number of entries exceeds the limit of 3"));
    assert!(with(|l| l.metadata = 8).unwrap_err().ends_with("size of all metadata exceeds the limit of 8"));
    assert!(with(|l| l.extension = 8).unwrap_err().ends_with("extension header exceeds the limit of 8"));
    assert_eq!(with(|l| l.file = 4), Ok(4), "a file that is too large is there, but nobody reads it");
    assert_eq!(with(|l| (l.file, l.data) = (4, 4)), Ok(4));
    assert!(with(|l| l.data = 4).unwrap_err().ends_with("size of all files exceeds the limit of 4"));
}

#[test]
fn directories_that_no_entry_makes_count_as_metadata() {
    let deep = (0..20).fold(b(), |t, i| t.long(b'L', format!("{i}{}", "/a".repeat(2000))).file("x", ""));
    // Each makes 1,999 directories with names of 2,000 bytes on average, out of 6 KiB.
    let e = tree_at(&deep.finish(), &Limits { metadata: 10 << 20, ..Limits::default() }).unwrap_err();
    assert!(e.starts_with("entry \"2/a/a/a"), "{e}");
    assert!(e.ends_with("size of all metadata exceeds the limit of 10485760"), "{e}");
}

/// 14 KB made 1.1 GB of directories before they had reached the limit for all metadata.
#[test]
fn directories_that_no_entry_makes_have_a_limit_of_their_own() {
    let deep = (0..40).fold(b(), |t, i| t.long(b'L', format!("{i}{}", "/a".repeat(2000))).file("x", ""));
    let e = tree(&deep.finish()).unwrap_err();
    assert!(e.starts_with("entry \"16/a/a/a"), "{e}");
    let expected = "length of the names of directories without entries exceeds the limit of 67108864";
    assert!(e.ends_with(expected), "{e}");
}

/// A pair made 2,000 directories one by one, each after a new start at the root: 20 s.
#[test]
fn paths_through_links_have_a_limit() {
    let pairs = |n: u32| {
        let pair = |t: TarBuilder, i| {
            let target = format!("x{i}{}", "/x".repeat(500));
            t.long(b'K', target).symlink(format!("l{i}"), "x").file(format!("l{i}/y"), "")
        };
        (0..n).fold(b(), pair).finish()
    };
    let limits = Limits { resolution: 1_200_000, ..Limits::default() };
    let two = tree_at(&pairs(2), &limits).unwrap();
    assert!(two.contains(&format!("/x1{}/y", "/x".repeat(500)).parse().unwrap()));
    let e = tree_at(&pairs(100), &limits).unwrap_err();
    assert!(e.starts_with("entry \"l2/y\""), "{e}");
    assert!(e.ends_with("length of all paths through symbolic links exceeds the limit of 1200000"), "{e}");
    // The target of a hard link is a path, too.
    let target = format!("x0{}", "/x".repeat(500));
    let links = b().long(b'K', target).symlink("l0", "x").file("l0/y", "");
    let links = (0..100).fold(links, |t, i| t.hardlink(format!("h{i}"), "l0/y"));
    let e = tree_at(&links.finish(), &limits).unwrap_err();
    assert!(e.ends_with("length of all paths through symbolic links exceeds the limit of 1200000"), "{e}");
    // Components that lead nowhere cost time, too.
    for (target, entries) in [("./".repeat(2000), 700), ("a/../".repeat(800), 700)] {
        let start = b().dir("a").long(b'K', target).symlink("l", "x");
        let all = (0..entries).fold(start, |t, i| t.file(format!("l/{i}"), ""));
        let e = tree_at(&all.finish(), &limits).unwrap_err();
        assert!(
            e.ends_with("length of all paths through symbolic links exceeds the limit of 1200000"),
            "{e}"
        );
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2000))]

    /// Whole archives with some bytes changed: an error or a tree, never a panic, and never a place outside the blob.
    #[test]
    fn mutated_archives_end_without_panic(
        changes in proptest::collection::vec((proptest::sample::Index::arbitrary(), proptest::num::u8::ANY), 1..6),
        fix in proptest::bool::ANY,
        cut in proptest::option::of(proptest::sample::Index::arbitrary()),
    ) {
        let mut bytes = super::sparse::all_formats();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
            if fix {
                fix_checksum(&mut bytes, at / 512 * 512);
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(t) = tree(&bytes) {
            for (_, node) in t.iter() {
                if let Some(content) = node.content().filter(|c| c.len() < 1 << 20) {
                    proptest::prop_assert!(content.read(1 << 20).is_ok());
                }
            }
        }
    }
}

use proptest::arbitrary::Arbitrary as _;

/// Makes the block's checksum right again, so that the change is seen by what comes behind the check.
fn fix_checksum(bytes: &mut [u8], block: usize) {
    let Some(header) = bytes.get_mut(block..block + 512).filter(|h| h[257..262] == *b"ustar") else { return };
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
