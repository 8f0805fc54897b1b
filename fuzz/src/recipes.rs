//! What recipes are made of, and what they fetch.

use std::path::Path;

use recipes::{Lock, Recipe, UnpackOptions, unpack};
use signature::Scheme;
use store::{Cache, Digest};
use tree::{Content, Silent};

use crate::{images, seeds};

fn unpacked(data: &[u8], name: &str) {
    let Ok(dir) = tempfile::tempdir() else { return };
    let Ok(cache) = Cache::open(dir.path()) else { return };
    let content = Content::from(data);
    let tree = unpack(&content, &Digest::of(data), name, &UnpackOptions::default(), &cache, &Silent);
    if let Ok(tree) = tree {
        for (path, node) in tree.iter() {
            let head = node.content().map(|content| content.head(1 << 16));
            assert!(head.is_none_or(|h| h.is_ok()), "{path}");
        }
    }
}

pub(crate) fn deb(data: &[u8]) {
    unpacked(data, "a.deb");
}

pub(crate) fn zip(data: &[u8]) {
    unpacked(data, "a.zip");
}

/// Lists of checksums.
pub(crate) fn checksums(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = recipes::checksum::find(text, "a.tar.gz");
    }
}

/// Keys and signatures of all schemes: the first two bytes say where the one ends and the other begins.
pub(crate) fn signature(data: &[u8]) {
    let Some((len, rest)) = data.split_first_chunk::<2>() else { return };
    let (key, signature) = rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()));
    for scheme in [Scheme::OpenPgp, Scheme::Ed25519, Scheme::Minisign, Scheme::Cosign] {
        let _ = signature::verify(scheme, key, signature, &"content".into());
    }
    let _ = signature::fingerprints(key);
    let _ = signature::ReleaseSigner::parse(key);
}

/// Recipes, decided for a version.
pub(crate) fn recipe(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Recipe::parse("thing", text, recipes::recipe::Files::default());
    }
}

/// Lock files. What is understood is written as it was understood.
pub(crate) fn lock(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let path = Path::new("recipes.lock");
    if let Ok(lock) = Lock::parse(text, path) {
        let again = Lock::parse(&lock.text(), path);
        assert!(again.is_ok_and(|again| again.text() == lock.text()));
    }
}

/// Lists of versions, of all kinds.
pub(crate) fn versions(data: &[u8]) {
    for source in [
        "{ github-releases = \"a/b\" }",
        "{ github-tags = \"a/b\" }",
        "{ gitlab-tags = \"https://gitlab.com/a/b\" }",
        "{ html-index = \"https://e.org/\" }",
        "{ json-index = \"https://e.org/\", pointer = \"/*/version\" }",
        "{ text-index = \"https://e.org/\" }",
    ] {
        let text = RECIPE.replace("{ github-releases = \"a/b\" }", source);
        if let Ok(recipe) = Recipe::parse("thing", &text, recipes::recipe::Files::default()) {
            let _ = recipes::versions::all(&recipe, &|_| Ok(data.to_vec()));
        }
    }
}

const RECIPE: &str = "\
summary = \"A thing\"
homepage = \"https://e.org\"
licence = \"MIT\"

[versions]
source = { github-releases = \"a/b\" }
match = 'v\\d+\\.\\d+'

[[download]]
id = \"thing\"
url = \"https://e.org/{version}/thing-{goarch}.tar.gz\"
checksum = { list = \"{url}.sha256sum\" }

[[install]]
from = \"thing:thing\"
to = \"/usr/bin/thing\"
mode = \"0755\"
";

pub(crate) fn texts() -> Vec<Vec<u8>> {
    seeds(&[RECIPE])
}

pub(crate) fn locks() -> Vec<Vec<u8>> {
    const DIGEST: &str = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    seeds(&[&format!(
        "version = 1\n\n[[extension]]\nname = \"docker\"\nversion = \"27.1\"\narch = \"x86-64\"\nset = {{ a = \"b\" }}\n\n\
         [extension.inputs.a]\nurl = \"https://e.org/x\"\nsize = 7\nsha256 = \"{DIGEST}\"\nverified = \"a list\"\n\n\
         [extension.images]\n\"docker.io/library/alpine:3.21\" = \"{DIGEST}\"\n"
    )])
}

pub(crate) fn lists() -> Vec<Vec<u8>> {
    const HEX: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    seeds(&[
        &format!("{HEX}  a.tar.gz\n{HEX} *b.tar.gz\n"),
        &format!("SHA256 (a.tar.gz) = {HEX}\n"),
        &format!("{HEX}\n"),
    ])
}

/// An OpenPGP key and a signature's beginning, armoured; minisign's.
pub(crate) fn signatures() -> Vec<Vec<u8>> {
    const PAIRS: [(&str, &str); 2] = [
        (
            "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEZAAAABYJKwYBBAHaRw8BAQdAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nAAAAAAC0AWE=\n-----END PGP PUBLIC KEY BLOCK-----\n",
            "-----BEGIN PGP SIGNATURE-----\n\niHUEABYKAB0WIQQAAAAAAAAAAAAAAAAAAAAAAAAAAAUCZAAAAAAKCRAAAAAAAAAA\nAAAA\n-----END PGP SIGNATURE-----\n",
        ),
        (
            "untrusted comment: minisign public key\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n",
            "untrusted comment: x\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\ntrusted comment: y\nAAAA\n",
        ),
    ];
    PAIRS
        .iter()
        .map(|(key, signature)| {
            let len = u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes();
            [&len[..], key.as_bytes(), signature.as_bytes()].concat()
        })
        .collect()
}

pub(crate) fn debs() -> Vec<Vec<u8>> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, data) in [("debian-binary", b"2.0\n".to_vec()), ("data.tar", images::tars().concat())] {
        out.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, data.len()).bytes());
        out.extend(&data);
        out.resize(out.len().next_multiple_of(2), b'\n');
    }
    vec![out]
}

/// Two members that are stored: a file and a symlink.
pub(crate) fn zips() -> Vec<Vec<u8>> {
    const ZIP: &[u8] = b"PK\x03\x04\x14\0\0\0\0\0\0\0!\0\xa90\xc5\xfe\x07\0\0\0\x07\0\0\0\x03\0\0\0a/bcontent\
        PK\x03\x04\x14\0\0\0\0\0\0\0!\0\x1c@\xf4\x07\x03\0\0\0\x03\0\0\0\x01\0\0\0la/b\
        PK\x01\x02\x14\x03\x14\0\0\0\0\0\0\0!\0\xa90\xc5\xfe\x07\0\0\0\x07\0\0\0\x03\0\0\0\0\0\0\0\0\0\0\0\xed\x81\0\0\0\0a/b\
        PK\x01\x02\x14\x03\x14\0\0\0\0\0\0\0!\0\x1c@\xf4\x07\x03\0\0\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\xff\xa1(\0\0\0l\
        PK\x05\x06\0\0\0\0\x02\0\x02\0`\0\0\0J\0\0\0\0\0";
    vec![ZIP.to_vec()]
}

pub(crate) fn version_lists() -> Vec<Vec<u8>> {
    seeds(&[
        r#"[{"tag_name":"v1.2","draft":false,"prerelease":false},{"name":"v1.1"}]"#,
        "<a href=\"v1.2/\">v1.2/</a><a href='v1.1/?x'>v1.1</a>",
        r#"[{"version":"v1.2"},{"version":"v1.1"}]"#,
        "v1.2\nv1.1\n",
    ])
}
