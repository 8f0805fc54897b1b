//! Releases, and what comes out upstream meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};
use e2e::upstream::site::{sha256, sums};
use e2e::{Program, Upstream};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::kitchen::{CATALOGUE, Kitchen};

/// A release file with all that the mirror has.
pub(crate) fn whole(base_url: &str) -> String {
    let mut offers: BTreeMap<&str, (Vec<&str>, &[&str])> = BTreeMap::new();
    for (name, version, set) in CATALOGUE {
        let (versions, settings) = offers.entry(*name).or_default();
        versions.push(version);
        *settings = *set;
    }
    let mut text = format!("title = \"Test catalogue\"\nbase-url = \"{base_url}\"\n\n[extensions]\n");
    for (name, (versions, settings)) in offers {
        let set: Vec<String> = settings
            .iter()
            .filter_map(|s| s.split_once('='))
            .map(|(k, v)| format!("{k} = \"{v}\""))
            .collect();
        text.push_str(&format!("{name} = {{ versions = {versions:?}, set = {{ {} }} }}\n", set.join(", ")));
    }
    text
}

/// Where the releases of tests say that they are hosted.
pub(crate) const BASE: &str = "https://example.org/extensions/";

/// The whole catalogue, released once for all tests of this process. Don't change its files.
pub(crate) fn released() -> Result<&'static Kitchen> {
    static RELEASED: OnceLock<Kitchen> = OnceLock::new();
    static MAKING: Mutex<()> = Mutex::new(());
    let _one = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kitchen) = RELEASED.get() {
        return Ok(kitchen);
    }
    let kitchen = Kitchen::new(Upstream::get()?)?;
    kitchen.write("release.toml", &whole(BASE))?;
    kitchen.bakery(&["release", "--update"])?.run()?;
    Ok(RELEASED.get_or_init(|| kitchen))
}

/// All files of a folder, by their paths in it.
pub(crate) fn files(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut out = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(at) = todo.pop() {
        for entry in fs::read_dir(&at).with_context(|| format!("{at:?}"))? {
            let path = entry?.path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path.strip_prefix(dir)?.to_string_lossy().into_owned();
                out.insert(name, fs::read(&path)?);
            }
        }
    }
    Ok(out)
}

/// Says which files differ, if any do.
pub(crate) fn same(a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>) {
    let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let differ: Vec<&String> = names.into_iter().filter(|n| a.get(*n) != b.get(*n)).collect();
    let text = |files: &BTreeMap<String, Vec<u8>>, name: &str| {
        let start = files.get(name).map(|bytes| bytes[..bytes.len().min(2000)].to_vec());
        start.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let first = differ.first().map(|name| (text(a, name), text(b, name)));
    assert!(differ.is_empty(), "{differ:?}: {first:#?}");
}

/// Every manifest agrees with the files.
pub(crate) fn agrees(dir: &Path) -> Result<()> {
    for at in std::iter::once(dir.to_owned()).chain(folders(dir)?) {
        Program::new("sha256sum").args(["--check", "--strict", "--quiet", "SHA256SUMS"]).dir(&at).run()?;
    }
    Ok(())
}

/// The folders of the extensions.
pub(crate) fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The same archive of another version.
fn renamed(archive: &[u8], old: &str, new: &str) -> Result<Vec<u8>> {
    let mut tar = Vec::new();
    GzDecoder::new(archive).read_to_end(&mut tar)?;
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(&replaced(&tar, old, new))?;
    Ok(out.finish()?)
}

/// Another version in what a stand-in says, which has room behind it for a longer one.
fn replaced(bytes: &[u8], old: &str, new: &str) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let found: Vec<usize> = bytes
        .windows(old.len())
        .enumerate()
        .filter(|(_, w)| *w == old.as_bytes())
        .map(|(at, _)| at)
        .collect();
    for at in found {
        let rest = at + old.len();
        let end = rest + bytes[rest..].iter().take_while(|&&b| b != 0).count();
        let more = new.len() - old.len();
        assert!(bytes[end..end + more].iter().all(|&b| b == 0), "{old} has no room behind it");
        bytes.copy_within(rest..end, rest + more);
        bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
    }
    bytes
}

/// Nebula comes out in a new version, which is all that its list has.
pub(crate) fn publish_nebula(upstream: &Upstream, version: &str) -> Result<()> {
    let url = |version: &str, file: &str| {
        format!("https://github.com/slackhq/nebula/releases/download/{version}/{file}")
    };
    let mut assets = Vec::new();
    let mut list = Vec::new();
    for arch in ["amd64", "arm64"] {
        let file = format!("nebula-linux-{arch}.tar.gz");
        let archive = renamed(&upstream.read(&url("v1.9.5", &file))?, "1.9.5", &version[1..])?;
        list.extend(sums([(file.as_str(), archive.as_slice())]));
        assets.push(json!({
            "name": file, "browser_download_url": url(version, &file),
            "digest": format!("sha256:{}", sha256(&archive)), "size": archive.len(),
        }));
        upstream.replace(&url(version, &file), archive)?;
    }
    upstream.replace(&url(version, "SHASUM256.txt"), list)?;
    let release = json!({ "tag_name": version, "draft": false, "prerelease": false, "assets": assets });
    let api = "https://api.github.com/repos/slackhq/nebula/releases/";
    upstream.replace(&format!("{api}tags/{version}"), release.to_string())?;
    upstream.replace(api, json!([release]).to_string())
}

/// Kubernetes v1.31.6 comes out in a new version; its schedule doesn't know yet.
pub(crate) fn publish_kubernetes(upstream: &Upstream, version: &str) -> Result<()> {
    for arch in ["amd64", "arm64"] {
        for program in ["kubeadm", "kubectl", "kubelet"] {
            let url = |version: &str| format!("https://dl.k8s.io/{version}/bin/linux/{arch}/{program}");
            let bytes = replaced(&upstream.read(&url("v1.31.6"))?, "1.31.6", &version[1..]);
            upstream.replace(&format!("{}.sha256", url(version)), sha256(&bytes))?;
            upstream.replace(&url(version), bytes)?;
        }
    }
    Ok(())
}

impl Kitchen {
    /// Writes a file into the directory.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.work.path().join(name), text).with_context(|| name.to_owned())
    }

    /// A path in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// The pins of another one.
    pub(crate) fn take_lock(&self, other: &Kitchen) -> Result<()> {
        fs::copy(other.path("recipes.lock"), self.path("recipes.lock")).map(drop).context("recipes.lock")
    }
}

/// Keys that gpg has made.
#[derive(Debug)]
pub(crate) struct Keys {
    home: PathBuf,
}

/// Files with both halves of one.
#[derive(Debug)]
pub(crate) struct KeyFiles {
    pub secret: PathBuf,
    pub public: PathBuf,
}

impl Keys {
    /// A keyring in this directory.
    pub(crate) fn new(home: &Path) -> Result<Keys> {
        fs::set_permissions(home, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        Ok(Keys { home: home.to_owned() })
    }

    fn gpg(&self, passphrase: &str, args: &[&str]) -> Result<Program> {
        let program = Program::new("gpg").arg("--homedir").arg(&self.home);
        let quiet = ["--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", passphrase];
        Ok(program.args(quiet).args(args))
    }

    /// A key of gpg's kind, `subkey`: one that certifies and another below it that signs, `passphrase`: with one. Files of it
    /// as a person would export them.
    pub(crate) fn make(&self, name: &str, kind: &str) -> Result<KeyFiles> {
        let user = format!("{name} <{name}@example.org>");
        let passphrase = if kind == "passphrase" { "secret" } else { "" };
        let gpg = |args: &[&str]| self.gpg(passphrase, args)?.run();
        let secret = self.home.join(format!("{name}.asc"));
        let public = self.home.join(format!("{name}.gpg"));
        let (file, of_public) =
            (secret.to_string_lossy().into_owned(), public.to_string_lossy().into_owned());
        if kind == "subkey" {
            gpg(&["--quick-generate-key", &user, "rsa3072", "cert", "never"])?;
            let list = gpg(&["--with-colons", "--list-keys", &user])?.stdout;
            let fingerprint = list.lines().find_map(|l| l.strip_prefix("fpr:::::::::")).context("no key")?;
            gpg(&["--quick-add-key", fingerprint.trim_end_matches(':'), "ed25519", "sign", "never"])?;
            // The primary key stays at home.
            gpg(&["--armor", "--output", &file, "--export-secret-subkeys", &user])?;
        } else {
            let kind = if kind == "passphrase" { "ed25519" } else { kind };
            gpg(&["--quick-generate-key", &user, kind, "sign", "never"])?;
            gpg(&["--armor", "--output", &file, "--export-secret-keys", &user])?;
        }
        gpg(&["--output", &of_public, "--export", &user])?;
        Ok(KeyFiles { secret, public })
    }

    /// Has gpg verify a file's signature, which has to be a binary one.
    pub(crate) fn verify(&self, file: &Path) -> Result<()> {
        let signature = file.with_file_name("SHA256SUMS.gpg");
        let bytes = fs::read(&signature).with_context(|| format!("{signature:?}"))?;
        assert!(bytes[0] & 0x80 != 0, "{signature:?} is armoured");
        self.gpg("", &["--verify"])?.args([&signature, &file.to_owned()]).run().map(drop)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = Program::new("gpgconf").arg("--homedir").arg(&self.home).args(["--kill", "all"]).outcome();
    }
}
