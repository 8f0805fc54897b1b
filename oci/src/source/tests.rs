use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tree::{
    Silent,
    archive::testing::{Raw, TarBuilder},
};

use super::*;
use store::Digest;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    e.write_all(data).unwrap();
    e.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).unwrap()
}

fn xz(data: &[u8]) -> Vec<u8> {
    let mut e = liblzma::write::XzEncoder::new(Vec::new(), 1);
    e.write_all(data).unwrap();
    e.finish().unwrap()
}

fn b() -> TarBuilder {
    TarBuilder::new()
}

/// The files of a layout or an archive.
#[derive(Clone, Default)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Files {
    fn blob(&mut self, bytes: &[u8]) -> String {
        let digest = Digest::of(bytes);
        self.0.insert(format!("blobs/sha256/{}", digest.hex()), bytes.to_vec());
        digest.to_string()
    }

    fn descriptor(&mut self, media_type: &str, bytes: &[u8], more: &str) -> String {
        let digest = self.blob(bytes);
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}{more}}}"#, bytes.len())
    }

    /// An image of tars that are compressed by `pack`; its descriptor.
    fn image(&mut self, layers: &[Vec<u8>], pack: fn(usize, &[u8]) -> Vec<u8>, more: &str) -> String {
        let architecture = if more.contains("arm64") { "arm64" } else { "amd64" };
        let config = config(layers, architecture);
        let config = self.descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes(), "");
        let layers: Vec<String> = layers
            .iter()
            .enumerate()
            // The media type lies for most of them.
            .map(|(i, l)| self.descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &pack(i, l), ""))
            .collect();
        let layers = layers.join(",");
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#);
        self.descriptor(MANIFEST, manifest.as_bytes(), more)
    }

    fn layout(&mut self, manifests: &[String]) -> &mut Self {
        self.0.insert("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, manifests.join(","));
        self.0.insert("index.json".into(), index.into_bytes());
        self
    }

    fn tar(&self) -> Vec<u8> {
        let add = |t: TarBuilder, (name, bytes): (&String, &Vec<u8>)| t.file(name, bytes);
        self.0.iter().fold(b(), add).finish()
    }

    fn write(&self, dir: &Path) {
        for (name, bytes) in &self.0 {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
}

fn config(layers: &[Vec<u8>], architecture: &str) -> String {
    let diff_ids: Vec<String> = layers.iter().map(|l| format!("\"{}\"", Digest::of(l))).collect();
    format!(
        r#"{{"architecture":"{architecture}","os":"linux","config":{{"Env":["A=B"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        diff_ids.join(",")
    )
}

fn tag(name: &str) -> String {
    format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{name}"}}"#)
}

fn layers() -> Vec<Vec<u8>> {
    vec![
        b().dir("usr").file("usr/a", "one").file("usr/b", "one").finish(),
        b().file("usr/.wh.a", "").file("usr/c", "two").finish(),
        b().file("usr/d", "three").finish(),
        b().file("usr/e", "four").finish(),
    ]
}

const EXPECTED: &str = "/ dir 0755 0:0
/usr dir 0755 0:0
/usr/b file 0644 0:0 3 \"one\"
/usr/c file 0644 0:0 3 \"two\"
/usr/d file 0644 0:0 5 \"three\"
/usr/e file 0644 0:0 4 \"four\"
";

fn mixed(i: usize, tar: &[u8]) -> Vec<u8> {
    [|t: &[u8]| t.to_vec(), gzip, zstd, xz][i % 4](tar)
}

/// A cache, and a place for images.
struct Place {
    dir: tempfile::TempDir,
    cache: Cache,
    policy: Policy,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        Place { dir, cache, policy: Policy::accept_anything() }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn layout(&self, name: &str, files: &Files) -> PathBuf {
        let path = self.dir.path().join(name);
        files.write(&path);
        path
    }

    fn read(&self, image: &ImageRef) -> Result<Rootfs, String> {
        self.read_for(image, "amd64", &Silent)
    }

    fn read_for(&self, image: &ImageRef, platform: &str, events: &dyn Events) -> Result<Rootfs, String> {
        let reader =
            Reader { cache: &self.cache, platform: &platform.parse().unwrap(), policy: &self.policy, events };
        let rootfs =
            reader.rootfs(image).map_err(|e| e.to_string().replace(self.dir.path().to_str().unwrap(), ""))?;
        Ok(rootfs.expect("a local image"))
    }

    fn oci(&self, name: &str, files: &Files, tag: Option<&str>) -> Result<String, String> {
        let path = self.layout(name, files);
        let image = ImageRef::OciDir { path, which: tag.map(|t| t.parse().unwrap()) };
        self.read(&image).map(|r| r.tree.dump())
    }
}

mod archives;
mod layouts;
mod skopeo;
