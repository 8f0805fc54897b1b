//! What comes from registries: names, documents, layers.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use oci::{Config, ImageRef, ManifestOrIndex, Rootfs};
use store::{DecodeLimits, Decoder, LayerBlob};
use tree::{Blob, Limits, Meta, Node, Tree};

use crate::seeds;

/// Names of images and what stands for them elsewhere. What is understood is written as it was understood.
pub(crate) fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(ImageRef::Registry(reference)) = text.parse::<ImageRef>() {
        let again = reference.to_string().parse::<ImageRef>();
        let Ok(ImageRef::Registry(again)) = again else { panic!("{reference} is no reference: {again:?}") };
        assert_eq!(again.to_string(), reference.to_string());
    }
    let _ = text.parse::<store::Digest>();
    let _ = text.parse::<oci::Platform>();
}

/// Manifests, indexes and configs.
pub(crate) fn manifest(data: &[u8]) {
    let _ = ManifestOrIndex::parse(data, None);
    let _ = Config::parse(data);
}

/// registries.conf.
pub(crate) fn registries(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut registries = oci::Registries::default();
    let Ok(image) = "docker.io/library/alpine:latest".parse() else { return };
    if registries.add(Path::new("registries.conf"), text).is_ok() {
        let _ = (registries.endpoints(&image), registries.candidates(&image), registries.insecure_hosts());
    }
}

/// gzip, zstd, bzip2 and xz.
pub(crate) fn decoder(data: &[u8]) {
    let limits = DecodeLimits { bytes: 1 << 20, memory: 1 << 20, ..DecodeLimits::default() };
    if let Ok(decoder) = Decoder::new(data, limits) {
        let mut bytes = Vec::new();
        let _ = decoder.take(2 << 20).read_to_end(&mut bytes);
        assert!(bytes.len() <= (1 << 20) + (64 << 10), "{} bytes", bytes.len());
    }
}

pub(crate) fn blob(data: &[u8]) -> Option<Arc<Blob>> {
    let fd = rustix::fs::memfd_create("fuzz", rustix::fs::MemfdFlags::CLOEXEC).ok()?;
    let mut file = File::from(fd);
    file.write_all(data).ok()?;
    Some(Blob::from_file("fuzz", file))
}

fn small() -> Limits {
    Limits { entries: 1 << 12, metadata: 1 << 20, ..Limits::default() }
}

/// Tars as trees, which are read from end to end as far as they are stored.
pub(crate) fn tar(data: &[u8]) {
    let Some(blob) = blob(data) else { return };
    let Ok(tree) = Tree::from_tar(&blob, 0, data.len() as u64, &small()) else { return };
    for (path, node) in tree.iter() {
        let Some(content) = node.content() else { continue };
        let head = content.head(1 << 16);
        assert!(head.is_ok(), "{path}: {head:?}");
        for extent in content.extents().unwrap_or_default() {
            let n = content.read_at(&mut [0; 16], extent.at);
            assert!(n.is_ok(), "{path}: {n:?}");
        }
    }
    let _ = tree.dump();
}

/// Tars as layers, once over nothing and once over themselves.
pub(crate) fn layer(data: &[u8]) {
    let Some(blob) = blob(data) else { return };
    let layer =
        LayerBlob { diff_id: store::Digest::of(data), digest: None, blob, offset: 0, len: data.len() as u64 };
    let _ = Rootfs::from_layers(Config::default(), &[layer.clone(), layer], &tree::Silent);
}

pub(crate) fn references() -> Vec<Vec<u8>> {
    const DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";
    seeds(&[
        &format!("docker.io/library/alpine:3.20@sha256:{DIGEST}"),
        "oci:dir:tag",
        "docker-archive:a.tar:name:tag",
        "linux/arm/v7",
        &format!("sha256:{DIGEST}"),
    ])
}

pub(crate) fn manifests() -> Vec<Vec<u8>> {
    seeds(&[
        r#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":3,"platform":{"os":"linux","architecture":"arm","variant":"v7"}}]}"#,
        r#"{"architecture":"amd64","os":"linux","config":{"Env":["A=b"]},"rootfs":{"type":"layers","diff_ids":[]}}"#,
    ])
}

pub(crate) fn configurations() -> Vec<Vec<u8>> {
    seeds(&[
        "[[registry]]\nprefix = \"*.x.io\"\nlocation = \"y\"\n[[registry.mirror]]\nlocation = \"z\"\ninsecure = true\n",
        "unqualified-search-registries = [\"a.io\"]\n[aliases]\nx = \"y.io/x\"\n",
    ])
}

/// A few words by gzip, zstd, bzip2 and xz.
pub(crate) fn streams() -> Vec<Vec<u8>> {
    const ALL: [&[u8]; 4] = [
        b"\x1f\x8b\x08\0\0\0\0\0\x02\x03\xcbH\xcd\xc9\xc9W\xc8@'\x01\xe3Q=\x8d\x17\0\0\0",
        b"(\xb5/\xfd\x04Xe\0\x000hello \x01\x001J\x11\xa2\xed\x1e\x0c",
        b"BZh91AY&SY\x04\x08\r\x8e\0\0\x01\x91\x04\0\0\x02D\xa0\0!f\x83Q\xca`\xe2\xeeH\xa7\n\x12\0\x81\x01\xb1\xc0",
        b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4F\x02\0!\x01\x16\0\0\0t/\xe5\xa3\xe0\0\x10\0\x0b]\0\x18\x1a\xf9\x8d\xfd\x9c",
    ];
    ALL.iter().map(|bytes| bytes.to_vec()).collect()
}

/// A tree with something of everything.
pub(crate) fn sample() -> Tree {
    let mut tree = Tree::default();
    for (path, node) in [
        ("/usr/bin/tool", Node::file(0o755, "content")),
        ("/usr/bin/link", Node::symlink("tool")),
        ("/usr/lib/extension-release.d/extension-release.x", Node::file(0o644, "ID=_any\n")),
        (
            "/usr/share/some/long/path/of/a/file/that/is/in/many/directories",
            Node::file(0o600, "x".repeat(5000)),
        ),
    ] {
        if let Ok(path) = path.parse() {
            let _ = tree.insert_all(path, node, &Meta::dir());
        }
    }
    tree
}

pub(crate) fn tars() -> Vec<Vec<u8>> {
    let mut tar = Vec::new();
    let _ = sample().write_tar(&mut tar);
    vec![tar]
}
