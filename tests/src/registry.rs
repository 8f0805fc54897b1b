//! A real registry (Debian's docker-registry) with or without logins and TLS, and images made on the spot.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{Program, layout::hex};

/// A running registry; it ends with this value, or with this process, whatever ends that.
#[derive(Debug)]
pub struct Registry {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

/// What a registry is like.
#[derive(Debug, Default)]
pub struct Settings {
    /// User and password that it wants.
    pub login: Option<(&'static str, &'static str)>,
    /// Its certificate and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The authority whose certificates it wants to see.
    pub client_ca: Option<PathBuf>,
    /// Whether the directory is removed when the registry ends: for statics, which are never dropped.
    pub remove: bool,
}

impl Registry {
    /// Starts one over a directory. Several may share it: what one takes in, the others have.
    ///
    /// # Errors
    /// It doesn't start.
    pub fn start(dir: &Path, settings: &Settings) -> Result<Registry> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut text = format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n\
             storage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            dir.join("storage").display()
        );
        if let Some((cert, key)) = &settings.tls {
            text += &format!("  tls:\n    certificate: {}\n    key: {}\n", cert.display(), key.display());
            if let Some(ca) = &settings.client_ca {
                text += &format!("    clientcas:\n      - {}\n", ca.display());
            }
        }
        let config = dir.join(format!("registry-{}.yml", address.port()));
        if let Some((user, password)) = settings.login {
            let made = Program::new("htpasswd").args(["-nbB", user, password]).run()?;
            let file = config.with_extension("htpasswd");
            fs::write(&file, made.stdout)?;
            text += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", file.display());
        }
        fs::write(&config, text)?;
        let script = r#"docker-registry serve "$1" >"$1.log" 2>&1 & read -r _; kill $!; wait; [ -z "$2" ] || rm -r "$2""#;
        let mut shell = Program::new("sh").args(["-c", script, "registry"]).arg(&config);
        // The shell reads from a pipe whose other end is ours, so that it notices the end of this process, however it comes.
        shell = if settings.remove { shell.arg(dir) } else { shell };
        shell.command().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = shell.start()?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                let log = fs::read_to_string(config.with_extension("yml.log")).unwrap_or_default();
                bail!("docker-registry doesn't listen on {address} (package docker-registry)\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Registry { address, child })
    }

    /// Takes in an image.
    ///
    /// # Errors
    /// The registry refuses it.
    pub fn push(&self, name: &str, tag: &str, image: &Image) -> Result<()> {
        self.push_blobs(name, image)?;
        self.push_manifest(name, tag, "application/vnd.oci.image.manifest.v1+json", &image.manifest)
    }

    /// Takes in a manifest or an index whose parts are there.
    ///
    /// # Errors
    /// The registry refuses it.
    pub fn push_manifest(&self, name: &str, tag: &str, media_type: &str, manifest: &[u8]) -> Result<()> {
        let path = format!("/v2/{name}/manifests/{tag}");
        let done = self.request("PUT", &path, media_type, manifest)?;
        ensure!(done.starts_with("HTTP/1.1 201"), "{done}");
        Ok(())
    }

    /// Takes in an image's layers and config, not its manifest.
    ///
    /// # Errors
    /// The registry refuses it.
    pub fn push_blobs(&self, name: &str, image: &Image) -> Result<()> {
        for blob in image.layers.iter().map(|l| &l.blob).chain([&image.config]) {
            let digest = digest(blob);
            let started = self.request("POST", &format!("/v2/{name}/blobs/uploads/"), "", b"")?;
            ensure!(started.starts_with("HTTP/1.1 202"), "{started}");
            let location =
                started.lines().find_map(|l| l.strip_prefix("Location: ")).context("no Location")?;
            let path =
                location.trim().split_once(&self.address.to_string()).map_or(location.trim(), |(_, p)| p);
            let joint = if path.contains('?') { '&' } else { '?' };
            let done = self.request(
                "PUT",
                &format!("{path}{joint}digest={digest}"),
                "application/octet-stream",
                blob,
            )?;
            ensure!(done.starts_with("HTTP/1.1 201"), "{done}");
        }
        Ok(())
    }

    fn request(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {media_type}\r\n\
             Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // The end of its pipe ends the shell, which ends the registry.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A layer of an image.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The tar.
    pub tar: Vec<u8>,
    /// As the registry has it.
    pub blob: Vec<u8>,
}

/// An image that nobody has pushed yet. What its documents say may be changed before.
#[derive(Debug, Clone)]
pub struct Image {
    /// The layers, the lowest first.
    pub layers: Vec<Layer>,
    /// JSON.
    pub config: Vec<u8>,
    /// JSON.
    pub manifest: Vec<u8>,
}

impl Image {
    /// An image of gzipped layers, each a tar with one file of `sizes[i]` bytes that don't compress.
    ///
    /// # Errors
    /// None that a disk could be blamed for.
    pub fn noise(sizes: &[usize]) -> Result<Image> {
        let mut layers = Vec::new();
        for (i, size) in sizes.iter().enumerate() {
            let mut header = tar::Header::new_ustar();
            header.set_size(*size as u64);
            header.set_mode(0o644);
            let mut builder = tar::Builder::new(Vec::new());
            builder.append_data(&mut header, format!("file{i}"), &noise(*size, i as u64 + 1)[..])?;
            let tar = builder.into_inner()?;
            let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
            gz.write_all(&tar)?;
            layers.push(Layer { blob: gz.finish()?, tar });
        }
        Image::of(layers, |_| {}, |_| {})
    }

    /// An image of these layers; `config` and `manifest` may be changed on the way.
    ///
    /// # Errors
    /// The documents can't be written as JSON.
    pub fn of(
        layers: Vec<Layer>,
        change_config: impl FnOnce(&mut serde_json::Value),
        change_manifest: impl FnOnce(&mut serde_json::Value),
    ) -> Result<Image> {
        let diff_ids: Vec<String> = layers.iter().map(|l| digest(&l.tar)).collect();
        let mut config = json!({
            "architecture": architecture(), "os": "linux",
            "config": { "Env": ["PATH=/bin"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        change_config(&mut config);
        let config = serde_json::to_vec(&config)?;
        let descriptor = |media_type: &str, blob: &[u8]| json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() });
        let of_layer = |l: &Layer| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &l.blob);
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers.iter().map(of_layer).collect::<Vec<_>>(),
        });
        change_manifest(&mut manifest);
        let manifest = serde_json::to_vec(&manifest)?;
        Ok(Image { layers, config, manifest })
    }

    /// The digest of its manifest.
    pub fn digest(&self) -> String {
        digest(&self.manifest)
    }

    /// The digest of a layer as the registry has it.
    pub fn layer_digest(&self, i: usize) -> String {
        digest(&self.layers[i].blob)
    }
}

/// `sha256:…`.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(Sha256::digest(bytes).as_slice()))
}

/// Bytes that don't compress, the same for each seed.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = 0x9e37_79b9_7f4a_7c15 ^ seed;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..len).map(|_| next()).collect()
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A throw-away authority, and a certificate of it for 127.0.0.1, localhost and 10.0.2.2, which this machine is to a [`crate::Vm`].
#[derive(Debug)]
pub struct Authority {
    /// Its certificate.
    pub ca: PathBuf,
    /// The server's certificate and key.
    pub server: (PathBuf, PathBuf),
}

impl Authority {
    /// The one that was made in a directory.
    pub(crate) fn made(dir: &Path) -> Authority {
        let file = |name: &str| dir.join(name);
        Authority { ca: file("ca.crt"), server: (file("server.crt"), file("server.key")) }
    }

    /// Makes one in a directory.
    ///
    /// # Errors
    /// openssl's.
    pub fn new(dir: &Path) -> Result<Authority> {
        fs::create_dir_all(dir)?;
        let file = |name: &str| dir.join(name);
        let openssl = |args: &[&str]| Program::new("openssl").args(args).dir(dir).run();
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let with_key = |args: &[&'static str]| [args, &key].concat();
        openssl(&with_key(&[
            "req",
            "-x509",
            "-days",
            "3650",
            "-subj",
            "/CN=test authority",
            // Python 3.13 and later want the extensions that RFC 5280 wants.
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout",
            "ca.key",
            "-out",
            "ca.crt",
        ]))?;
        fs::write(
            file("ext"),
            "subjectAltName=IP:127.0.0.1,IP:10.0.2.2,DNS:localhost\nbasicConstraints=CA:FALSE\n\
             subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
        )?;
        openssl(&with_key(&[
            "req",
            "-subj",
            "/CN=localhost",
            "-keyout",
            "server.key",
            "-out",
            "server.csr",
        ]))?;
        openssl(&[
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "3650",
            "-extfile",
            "ext",
            "-out",
            "server.crt",
        ])?;
        Ok(Authority { ca: file("ca.crt"), server: (file("server.crt"), file("server.key")) })
    }
}
