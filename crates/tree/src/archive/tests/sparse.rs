//! Sparse files in their four formats.

use super::*;

fn octal(n: u64) -> Vec<u8> {
    format!("{n:011o}\0").into_bytes()
}

fn pairs(list: &[(u64, u64)]) -> Vec<u8> {
    list.iter().flat_map(|&(at, len)| [octal(at), octal(len)].concat()).collect()
}

/// `real` bytes with the runs given; the map's entries past the fourth go to extension blocks.
fn old_gnu(real: u64, runs: &[(u64, u64)], data: &[u8]) -> TarBuilder {
    let (first, rest) = runs.split_at(runs.len().min(4));
    let mut blocks = Vec::new();
    let chunks: Vec<_> = rest.chunks(21).collect();
    for (i, chunk) in chunks.iter().enumerate() {
        let mut block = pairs(chunk);
        block.resize(512, 0);
        block[504] = u8::from(i + 1 < chunks.len());
        blocks.extend(block);
    }
    let patches = vec![(386, pairs(first)), (482, vec![u8::from(!rest.is_empty())]), (483, octal(real))];
    b().raw(&Raw {
        magic: *b"ustar  \0",
        patches,
        size: Some(data.len() as u64),
        data: [&blocks[..], data].concat(),
        ..Raw::new("s", b'S')
    })
}

fn pax_0_1(real: &str, map: &str, data: &str) -> TarBuilder {
    b().pax(
        b'x',
        &[
            ("GNU.sparse.major", "0"),
            ("GNU.sparse.minor", "1"),
            ("GNU.sparse.name", "s"),
            ("GNU.sparse.size", real),
            ("GNU.sparse.map", map),
        ],
    )
    .file("GNUSparseFile.0/s", data)
}

fn pax_0_0(real: &str, blocks: &str, runs: &[(&str, &str)], data: &str) -> TarBuilder {
    let mut records = vec![("GNU.sparse.size", real), ("GNU.sparse.numblocks", blocks)];
    for (at, len) in runs {
        records.push(("GNU.sparse.offset", at));
        records.push(("GNU.sparse.numbytes", len));
    }
    b().pax(b'x', &records).file("s", data)
}

fn pax_1_0(real: &str, map: &str, data: &str) -> TarBuilder {
    let mut body = map.as_bytes().to_vec();
    body.resize(body.len().next_multiple_of(512), 0);
    body.extend_from_slice(data.as_bytes());
    b().pax(
        b'x',
        &[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "s"),
            ("GNU.sparse.realsize", real),
        ],
    )
    .file("GNUSparseFile.0/s", body)
}

/// One archive with everything in it, for mutation.
pub(super) fn all_formats() -> Vec<u8> {
    let many: Vec<(u64, u64)> = (0..30).map(|i| (10 * i, 1)).collect();
    let mut all = b()
        .dir("d")
        .file("d/f", "content")
        .symlink("d/l", "f")
        .hardlink("d/h", "d/f")
        .device("null", b'3', 1, 3)
        .long(b'L', "d/long")
        .file("x", "y")
        .long(b'K', "target")
        .symlink("x", "y")
        .pax(b'g', &[("mtime", "1")])
        .pax(b'x', &[("path", "pax"), ("size", "3"), ("uid", "1"), ("SCHILY.xattr.user.a", "b")])
        .file("x", "abc")
        .unfinished();
    for part in [
        old_gnu(300, &many, &[b'x'; 30]),
        pax_0_0("9", "2", &[("1", "2"), ("4", "2")], "abcd"),
        pax_0_1("9", "1,2,4,2", "abcd"),
        pax_1_0("9", "2\n1\n2\n4\n2\n", "abcd"),
    ] {
        all.extend(part.unfinished());
    }
    all.resize(all.len() + 1024, 0);
    all
}

#[test]
fn all_formats_read_the_same() {
    let expected = b"\0ab\0cd\0\0\0";
    for (name, tar) in [
        ("old", old_gnu(9, &[(1, 2), (4, 2), (9, 0)], b"abcd")),
        ("0.0", pax_0_0("9", "2", &[("1", "2"), ("4", "2")], "abcd")),
        ("0.1", pax_0_1("9", "1,2,4,2", "abcd")),
        ("1.0", pax_1_0("9", "2\n1\n2\n4\n2\n", "abcd")),
        ("1.0 with more data than the map says", pax_1_0("9", "2\n1\n2\n4\n2\n", "abcdefgh")),
    ] {
        let tar = tar.file("after", "x").finish();
        assert_eq!(content(&tar, "/s"), expected, "{name}");
        assert_eq!(content(&tar, "/after"), b"x", "{name}");
        assert_eq!(tree(&tar).unwrap().len(), 3, "{name}");
    }
}

#[test]
fn long_maps_and_empty_files() {
    let many: Vec<(u64, u64)> = (0..200).map(|i| (10 * i, 1)).collect();
    let data: Vec<u8> = (0..200).map(|i| b'0' + (i % 10) as u8).collect();
    let tar = old_gnu(2000, &many, &data).file("after", "x").finish();
    let read = content(&tar, "/s");
    assert!(many.iter().zip(&data).all(|(&(at, _), &b)| read[at as usize] == b));
    assert_eq!(read.iter().filter(|&&b| b != 0).count(), 200);
    assert_eq!(content(&tar, "/after"), b"x");
    let map = format!("200\n{}", many.iter().map(|(at, len)| format!("{at}\n{len}\n")).collect::<String>());
    assert_eq!(content(&pax_1_0("2000", &map, std::str::from_utf8(&data).unwrap()).finish(), "/s"), read);
    for tar in
        [old_gnu(7, &[], b""), pax_0_1("7", "", ""), pax_1_0("7", "0\n", ""), pax_0_0("7", "0", &[], "")]
    {
        assert_eq!(content(&tar.finish(), "/s"), [0; 7]);
    }
}

#[test]
fn malformed_maps_are_refused() {
    for (name, tar, expected) in [
        (
            "past the end",
            old_gnu(3, &[(1, 3)], b"abc"),
            "data runs overlap, are out of order or reach past its end",
        ),
        ("overlap", pax_0_1("9", "1,2,2,2", "abcd"), "data runs overlap"),
        ("out of order", pax_0_1("9", "4,2,1,2", "abcd"), "data runs overlap"),
        ("too little data", pax_0_1("9", "1,2,4,2", "abc"), "data runs are longer than the data"),
        ("odd map", pax_0_1("9", "1,2,4", "abcd"), "map has another length than it says"),
        ("no numbers", pax_0_1("9", "1,,2", "abcd"), "GNU.sparse.map is \"\""),
        ("huge offset", pax_0_1("9", "9223372036854775807,2", "abcd"), "data runs overlap"),
        (
            "count too small",
            pax_0_0("9", "1", &[("1", "2"), ("4", "2")], "abcd"),
            "another length than it says",
        ),
        (
            "half a pair",
            b().pax(b'x', &[("GNU.sparse.size", "9"), ("GNU.sparse.numbytes", "1")]).file("s", ""),
            "alternate",
        ),
        ("no map", b().pax(b'x', &[("GNU.sparse.size", "9")]).file("s", ""), "its map is missing"),
        ("no size", b().pax(b'x', &[("GNU.sparse.map", "0,1")]).file("s", "a"), "its size is missing"),
        ("huge size", pax_0_1("9223372036854775807", "0,1", "a"), "size of a file exceeds the limit"),
        (
            "map without end",
            pax_1_0("9", &format!("400\n{}", "1\n".repeat(254)), ""),
            "map is longer than its data",
        ),
        ("huge count", pax_1_0("9", "99999999\n", "abcd"), "number of data runs exceeds the limit"),
        ("no list", pax_1_0("9", &"1".repeat(99), "abcd"), "map is not a list of numbers"),
        (
            "unknown version",
            b().pax(b'x', &[("GNU.sparse.major", "2"), ("GNU.sparse.minor", "0")]).file("s", ""),
            "version",
        ),
        (
            "a sparse directory",
            b().pax(b'x', &[("GNU.sparse.map", "0,1")]).dir("s"),
            "it is not a regular file",
        ),
        ("old format in ustar", b().raw(&Raw::new("s", b'S')), "entry has type 'S'"),
    ] {
        let e = tree(&tar.finish()).expect_err(name);
        assert!(e.contains(expected), "{name}: got {e:?}, expected {expected:?}");
    }
    // Extension blocks that say "more" for ever.
    let mut block = vec![0; 512];
    block[504] = 1;
    let endless = b().raw(&Raw {
        magic: *b"ustar  \0",
        patches: vec![(482, vec![1])],
        data: block.repeat(50),
        size: Some(0),
        ..Raw::new("s", b'S')
    });
    let e = tree_at(&endless.finish(), &Limits { extents: 100, ..Limits::default() }).unwrap_err();
    assert!(e.contains("map has empty blocks"), "{e}");
}

/// A log with a hole of hundreds of gigabytes, in an image whose other files are wanted.
#[test]
fn a_file_that_is_too_large_spoils_no_other() {
    let tar = b()
        .pax(
            b'x',
            &[
                ("GNU.sparse.major", "0"),
                ("GNU.sparse.minor", "1"),
                ("GNU.sparse.size", "292057776128"),
                ("GNU.sparse.numblocks", "1"),
                ("GNU.sparse.map", "292057776127,1"),
            ],
        )
        .file("lastlog", "x")
        .file("good", "content")
        .finish();
    let tree = tree_at(&tar, &Limits::default()).unwrap();
    let content = |path: &str| tree.get(&path.parse().unwrap()).unwrap().content().unwrap().clone();
    assert_eq!(content("/good").read(100).unwrap(), b"content");
    let log = content("/lastlog");
    assert!(log.is_too_large() && log.len() == 292_057_776_128 && log.next_data(0) == 0);
    let e = log.head(4).unwrap_err().to_string();
    assert_eq!(e, "content is 292057776128 bytes, expected at most 68719476736");
    let e = tree.write_tar(std::io::sink()).unwrap_err().to_string();
    assert!(e.contains("lastlog") && e.contains("expected at most 68719476736"), "{e}");
}
