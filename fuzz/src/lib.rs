//! What each target does with its bytes. None may panic, hang, or take memory out of proportion.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use elf::{Edit, Elf, rewrite};
use oci::{Config, ImageRef, ManifestOrIndex, Rootfs};
use store::{DecodeLimits, Decoder, LayerBlob};
use tree::{Blob, Content, Limits, Tree};

/// A target's name and function.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("reference", reference),
    ("manifest", manifest),
    ("registries", registries),
    ("decoder", decoder),
    ("tar", tar),
    ("layer", layer),
    ("elf", elf),
    ("rewriter", rewriter),
    ("units", units),
];

/// Names of images and what stands for them elsewhere. What is understood is written as it was understood.
pub fn reference(data: &[u8]) {
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
pub fn manifest(data: &[u8]) {
    let _ = ManifestOrIndex::parse(data, None);
    let _ = Config::parse(data);
}

/// registries.conf.
pub fn registries(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut registries = oci::Registries::default();
    let Ok(image) = "docker.io/library/alpine:latest".parse() else { return };
    if registries.add(Path::new("registries.conf"), text).is_ok() {
        let _ = (registries.endpoints(&image), registries.candidates(&image), registries.insecure_hosts());
    }
}

/// gzip, zstd, bzip2 and xz.
pub fn decoder(data: &[u8]) {
    let limits = DecodeLimits { bytes: 1 << 20, memory: 1 << 20, ..DecodeLimits::default() };
    if let Ok(decoder) = Decoder::new(data, limits) {
        let mut bytes = Vec::new();
        let _ = decoder.take(2 << 20).read_to_end(&mut bytes);
        assert!(bytes.len() <= (1 << 20) + (64 << 10), "{} bytes", bytes.len());
    }
}

fn blob(data: &[u8]) -> Option<Arc<Blob>> {
    let fd = rustix::fs::memfd_create("fuzz", rustix::fs::MemfdFlags::CLOEXEC).ok()?;
    let mut file = File::from(fd);
    file.write_all(data).ok()?;
    Some(Blob::from_file("fuzz", file))
}

fn small() -> Limits {
    Limits { entries: 1 << 12, metadata: 1 << 20, ..Limits::default() }
}

/// Tars as trees, which are read from end to end as far as they are stored.
pub fn tar(data: &[u8]) {
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
pub fn layer(data: &[u8]) {
    let Some(blob) = blob(data) else { return };
    let layer =
        LayerBlob { diff_id: store::Digest::of(data), digest: None, blob, offset: 0, len: data.len() as u64 };
    let _ = Rootfs::from_layers(Config::default(), &[layer.clone(), layer], &tree::Silent);
}

/// Executables and libraries.
pub fn elf(data: &[u8]) {
    let _ = Elf::parse(&Content::from(data));
}

/// Executables and libraries, changed. What comes out is as readable as what went in.
pub fn rewriter(data: &[u8]) {
    let content = Content::from(data);
    let Ok(Some(before)) = Elf::parse(&content) else { return };
    let path = b"/usr/lib/flix/some-name/lib:/usr/lib/flix/some-name/usr/lib/x86_64-linux-gnu".to_vec();
    let edit = Edit {
        interpreter: before.interpreter.as_ref().map(|_| b"/usr/lib/flix/some-name/lib64/ld.so".to_vec()),
        runpath: Some(path.clone()),
        nodeflib: true,
        ..Edit::default()
    };
    let Ok(changed) = rewrite(&content, &edit) else { return };
    match Elf::parse(&changed) {
        Ok(Some(after)) => {
            assert_eq!(after.needed, before.needed);
            assert_eq!(after.runpath, Some(path));
        }
        other => panic!("rewritten file is not readable: {other:?}"),
    }
}

/// systemd's units.
pub fn units(data: &[u8]) {
    let directives = sysext::extension::units::parse(data);
    let _ = sysext::extension::units::exec_lines(&directives);
}
