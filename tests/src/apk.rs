//! A signed Alpine package repository, made by hand.
//!
//! An .apk is three gzip streams, one after the other: signature, control, data; an index is two. Each stream but the
//! last holds a tar without its end. Alpine wiki, "Apk spec".

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::{Program, layout::hex};

/// A package and what it installs.
#[derive(Debug)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// Its version, with the `-r0` of the release.
    pub version: &'static str,
    /// What it depends on, separated by spaces: names, `so:libz.so.1`, `cmd:sh`.
    pub depends: &'static str,
    /// What it provides, likewise: `so:libz.so.1=1`.
    pub provides: &'static str,
    /// Path without a leading slash, permission bits, content. Directories are made on the way.
    pub files: Vec<(&'static str, u32, Vec<u8>)>,
}

/// File name of the public key: the index says who signed it, and `apk` looks for that name in /etc/apk/keys.
pub const KEY: &str = "flix-e2e.rsa.pub";

/// Writes `x86_64/APKINDEX.tar.gz` and the packages into `dir`, signed by a key of the moment. Returns the public key.
///
/// # Errors
/// `dir` can't be written, or openssl fails.
pub fn repository(dir: &Path, packages: &[Package]) -> Result<Vec<u8>> {
    let arch = dir.join("x86_64");
    fs::create_dir_all(&arch).with_context(|| format!("{arch:?}"))?;
    let key = dir.join("key.pem");
    Program::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048").run()?;

    let field = |key: &str, list: &str| match list {
        "" => String::new(),
        list => format!("{key}:{list}\n"),
    };
    let key_path = key.to_str().context("a path that is not UTF-8")?;
    let signature = |signed: &[u8]| -> Result<Vec<u8>> {
        let signature = openssl(dir, signed, &["dgst", "-sha1", "-sign", key_path])?;
        gzip(&segment(&format!(".SIGN.RSA.{KEY}"), &signature)?)
    };
    let mut index = String::new();
    for p in packages {
        let data = gzip(&data_tar(dir, p)?)?;
        let many = |key: &str, list: &str| {
            list.split_whitespace().map(|item| format!("{key} = {item}\n")).collect::<String>()
        };
        let info = format!(
            "pkgname = {}\npkgver = {}\npkgdesc = for the tests\nurl = about:blank\nbuilddate = 0\nsize = 1\n\
             arch = x86_64\norigin = {}\nlicense = CC0-1.0\n{}{}datahash = {}\n",
            p.name,
            p.version,
            p.name,
            many("depend", p.depends),
            many("provides", p.provides),
            hex(Sha256::digest(&data).as_slice())
        );
        let control = gzip(&segment(".PKGINFO", info.as_bytes())?)?;
        let sha1 = openssl(dir, &control, &["dgst", "-sha1", "-binary"])?;
        let sum = String::from_utf8(openssl(dir, &sha1, &["base64", "-A"])?)?;
        index += &format!(
            "C:Q1{}\nP:{}\nV:{}\nA:x86_64\nS:{}\nI:1\nT:for the tests\nU:about:blank\nL:CC0-1.0\no:{}\n{}{}\n",
            sum.trim(),
            p.name,
            p.version,
            control.len() + data.len(),
            p.name,
            field("D", p.depends),
            field("p", p.provides)
        );
        let signature = signature(&control)?;
        fs::write(arch.join(format!("{}-{}.apk", p.name, p.version)), [signature, control, data].concat())?;
    }
    let mut tar = segment("APKINDEX", index.as_bytes())?;
    tar.resize(tar.len() + 1024, 0);
    let index = gzip(&tar)?;
    let signature = signature(&index)?;
    fs::write(arch.join("APKINDEX.tar.gz"), [signature, index].concat())?;
    let public = openssl(dir, &fs::read(&key)?, &["rsa", "-pubout"])?;
    fs::remove_file(&key)?;
    Ok(public)
}

/// What openssl makes of some bytes.
fn openssl(dir: &Path, input: &[u8], args: &[&str]) -> Result<Vec<u8>> {
    let (from, to) = (dir.join("scratch.in"), dir.join("scratch.out"));
    fs::write(&from, input)?;
    let openssl = Program::new("openssl").args(args).arg("-out").arg(&to);
    match args[0] {
        "dgst" => openssl.arg(&from).run()?,
        _ => openssl.arg("-in").arg(&from).run()?,
    };
    let out = fs::read(&to)?;
    fs::remove_file(from)?;
    fs::remove_file(to)?;
    Ok(out)
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(bytes)?;
    Ok(gz.finish()?)
}

/// One file as a tar without the two blocks that end it: what follows in the next stream goes on with it.
fn segment(name: &str, content: &[u8]) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, name, 0o644, content)?;
    let mut bytes = tar.into_inner()?;
    bytes.truncate(bytes.len() - 1024);
    Ok(bytes)
}

fn data_tar(dir: &Path, package: &Package) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut dirs = std::collections::BTreeSet::new();
    for (path, _, _) in &package.files {
        dirs.extend(Path::new(path).ancestors().skip(1).filter(|d| !d.as_os_str().is_empty()));
    }
    for path in dirs {
        let mut header = header(0o755, 0);
        header.set_entry_type(tar::EntryType::Directory);
        tar.append_data(&mut header, path, std::io::empty())?;
    }
    for (path, mode, content) in &package.files {
        let sum = hex(&openssl(dir, content, &["dgst", "-sha1", "-binary"])?);
        // 68 is the record's own length, as pax(1) counts. The tar crate's own records have headers without a name
        // and numbers, which both apk and busybox refuse.
        let record = format!("68 APK-TOOLS.checksum.SHA1={sum}\n");
        let mut extra = header(0o644, record.len() as u64);
        extra.set_entry_type(tar::EntryType::XHeader);
        tar.append_data(&mut extra, "PaxHeaders/checksum", record.as_bytes())?;
        append(&mut tar, path, *mode, content)?;
    }
    Ok(tar.into_inner()?)
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, content: &[u8]) -> Result<()> {
    Ok(tar.append_data(&mut header(mode, content.len() as u64), path, content)?)
}

/// All fields filled. The old way to mark a file, a NUL as its type, makes apk say "BAD signature".
fn header(mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
