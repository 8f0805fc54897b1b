//! A tree of URLs on disk, and how its files are made.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Program;

/// A file of an archive: path, permissions, content.
pub type Member = (String, u32, Vec<u8>);

/// Files of a release: name, content.
pub type Assets = Vec<(String, Vec<u8>)>;

/// A directory whose paths are URLs without their scheme.
#[derive(Debug)]
pub struct Site {
    dir: PathBuf,
}

impl Site {
    /// One in this directory.
    pub fn new(dir: &Path) -> Site {
        Site { dir: dir.to_owned() }
    }

    /// Where the content of a URL is.
    ///
    /// # Errors
    /// Another scheme than https.
    pub fn path(&self, url: &str) -> Result<PathBuf> {
        let rest = url.strip_prefix("https://").with_context(|| format!("{url}: not https"))?;
        let index = if rest.ends_with('/') { "index" } else { "" };
        Ok(self.dir.join(format!("{rest}{index}")))
    }

    /// Puts content there.
    ///
    /// # Errors
    /// It can't be written.
    pub fn put(&self, url: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path(url)?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("{parent:?}"))?;
        }
        fs::write(&path, content).with_context(|| format!("{path:?}"))
    }

    /// A project's releases on GitHub, newest first: tag and assets of each, with what the API says about them.
    ///
    /// # Errors
    /// It can't be written.
    pub fn releases(&self, project: &str, releases: &[(&str, Assets)]) -> Result<()> {
        let api = format!("https://api.github.com/repos/{project}/releases/");
        let mut list = Vec::new();
        for (tag, assets) in releases {
            let base = format!("https://github.com/{project}/releases/download/{tag}");
            let told: Vec<Value> = assets
                .iter()
                .map(|(name, content)| {
                    json!({
                        "name": name,
                        "browser_download_url": format!("{base}/{name}"),
                        "digest": format!("sha256:{}", sha256(content)),
                        "size": content.len(),
                    })
                })
                .collect();
            let release = json!({ "tag_name": tag, "draft": false, "prerelease": false, "assets": told });
            self.put(&format!("{api}tags/{tag}"), serde_json::to_vec(&release)?)?;
            list.push(release);
            for (name, content) in assets {
                self.put(&format!("{base}/{name}"), content)?;
            }
        }
        // What doesn't count as a version.
        list.push(json!({ "tag_name": "v99.0.0", "draft": false, "prerelease": true, "assets": [] }));
        list.push(json!({ "tag_name": "nightly", "draft": false, "prerelease": false, "assets": [] }));
        self.put(&api, serde_json::to_vec(&list)?)
    }
}

/// In hexadecimal.
pub fn sha256(content: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(content))
}

/// A list as `sha256sum` makes it.
pub fn sums<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    files
        .into_iter()
        .flat_map(|(name, content)| format!("{}  {name}\n", sha256(content)).into_bytes())
        .collect()
}

/// Adds a list of the assets' checksums to them.
pub fn with_sums(mut assets: Assets, name: &str) -> Assets {
    let list = sums(assets.iter().map(|(n, c)| (n.as_str(), c.as_slice())));
    assets.push((name.to_owned(), list));
    assets
}

/// A tar as upstream's builders make it: somebody's files, at some time.
///
/// # Errors
/// A path that tar doesn't take.
pub fn tar(members: &[Member]) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, mode, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_uid(1001);
        header.set_gid(127);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, content.as_slice()).with_context(|| path.clone())?;
    }
    Ok(builder.into_inner()?)
}

/// The same, through gzip.
///
/// # Errors
/// As of [`tar()`].
pub fn tgz(members: &[Member]) -> Result<Vec<u8>> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(&tar(members)?)?;
    Ok(out.finish()?)
}

/// The same, through a program that compresses its standard input's file: `zstd`, `xz`.
///
/// # Errors
/// The program's.
pub fn tar_by(program: &str, dir: &Path, members: &[Member]) -> Result<Vec<u8>> {
    let path = dir.join("archive.tar");
    fs::write(&path, tar(members)?).with_context(|| format!("{path:?}"))?;
    let out = dir.join("archive.out");
    Program::new("sh")
        .args(["-euc", r#""$1" -q -c "$2" > "$3""#, "compress", program])
        .args([&path, &out])
        .run()?;
    fs::read(&out).with_context(|| format!("{out:?}"))
}

/// A Debian package.
///
/// # Errors
/// dpkg-deb's.
pub fn deb(dir: &Path, name: &str, version: &str, arch: &str, members: &[Member]) -> Result<Vec<u8>> {
    let root = dir.join("deb");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(root.join("DEBIAN"))?;
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: {arch}\nMaintainer: x <x@y.z>\nDescription: {name}\n"
    );
    fs::write(root.join("DEBIAN/control"), control)?;
    for (path, mode, content) in members {
        let path = root.join(path);
        fs::create_dir_all(path.parent().context("a member without a directory")?)?;
        fs::write(&path, content)?;
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(*mode))?;
    }
    let out = dir.join("out.deb");
    Program::new("dpkg-deb")
        .args(["--root-owner-group", "-Zxz", "-z1", "--build"])
        .args([&root, &out])
        .run()?;
    fs::read(&out).with_context(|| format!("{out:?}"))
}
