//! OCI image layouts, written by hand: a second opinion on the format that `oci` reads.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

/// One platform of an image.
#[derive(Debug)]
pub struct Platform {
    /// As Go says it: `amd64`, `arm64`.
    pub architecture: &'static str,
    /// Its layers, uncompressed tars, the lowest first.
    pub layers: Vec<PathBuf>,
}

/// Writes an image of one or more platforms as an OCI layout; the index names them all. image-layout.md.
///
/// # Errors
/// A tar can't be read, or `dir` can't be written.
pub fn write(dir: &Path, tag: &str, platforms: &[Platform]) -> Result<()> {
    fs::create_dir_all(dir.join("blobs/sha256")).with_context(|| format!("{dir:?}"))?;
    let mut manifests = Vec::new();
    for p in platforms {
        let mut layers = Vec::new();
        let mut diff_ids = Vec::new();
        for tar in &p.layers {
            let (descriptor, diff_id) = layer(dir, tar).with_context(|| format!("{tar:?}"))?;
            layers.push(descriptor);
            diff_ids.push(diff_id);
        }
        let config = json!({
            "architecture": p.architecture, "os": "linux",
            "config": { "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["/bin/sh"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = json_blob(dir, "application/vnd.oci.image.config.v1+json", &config)?;
        let media = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({ "schemaVersion": 2, "mediaType": media, "config": config, "layers": layers });
        let mut manifest = json_blob(dir, media, &manifest)?;
        manifest["platform"] = json!({ "architecture": p.architecture, "os": "linux" });
        manifests.push(manifest);
    }
    let media = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": media, "manifests": manifests });
    let mut index = json_blob(dir, media, &index)?;
    index["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let top = json!({ "schemaVersion": 2, "manifests": [index] });
    fs::write(dir.join("index.json"), serde_json::to_vec(&top)?)?;
    Ok(())
}

fn json_blob(dir: &Path, media: &str, value: &serde_json::Value) -> Result<serde_json::Value> {
    let bytes = serde_json::to_vec(value)?;
    let digest = hex(Sha256::digest(&bytes).as_slice());
    fs::write(dir.join("blobs/sha256").join(&digest), &bytes)?;
    Ok(json!({ "mediaType": media, "digest": format!("sha256:{digest}"), "size": bytes.len() }))
}

/// The layer's descriptor and diff_id.
fn layer(dir: &Path, tar: &Path) -> Result<(serde_json::Value, String)> {
    let fresh = dir.join("blobs/sha256/new");
    let out = Hashing { inner: File::create(&fresh)?, hash: Sha256::new(), len: 0 };
    let mut gz = flate2::write::GzEncoder::new(out, flate2::Compression::default());
    let mut plain = Sha256::new();
    let mut from = File::open(tar)?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let n = from.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        plain.update(&buffer[..n]);
        gz.write_all(&buffer[..n])?;
    }
    let out = gz.finish()?;
    let digest = hex(out.hash.finalize().as_slice());
    fs::rename(&fresh, dir.join("blobs/sha256").join(&digest))?;
    let media = "application/vnd.oci.image.layer.v1.tar+gzip";
    let layer = json!({ "mediaType": media, "digest": format!("sha256:{digest}"), "size": out.len });
    Ok((layer, format!("sha256:{}", hex(plain.finalize().as_slice()))))
}

struct Hashing {
    inner: File,
    hash: Sha256,
    len: u64,
}

impl Write for Hashing {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hash.update(&buf[..n]);
        self.len += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}
