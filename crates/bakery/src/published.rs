//! Images of a release that somebody has published.

use std::cmp::Ordering;
use std::path::Path;

use anyhow::{Context as _, bail};
use recipes::ImageFileName;
use recipes::checksum::Checksum;
use recipes::fetch::{DownloadedFile, Fetcher, FileRequest};
use signature::{SIGNATURE_MAX, Scheme};
use sysext::ExtensionName;
use tree::{Arch, Content, Events};

use crate::release::Sums;
use crate::release::directory::MANIFEST;
use crate::sysupdate;

/// Bytes of a manifest.
const TEXT_MAX: u64 = 16 << 20;

/// A release at a URL: `NAME/SHA256SUMS` lists an extension's files, which are beside it.
pub(crate) struct Published<'a> {
    fetcher: &'a Fetcher,
    base_url: &'a str,
    key: Option<Vec<u8>>,
}

/// The files of one extension.
pub(crate) struct Manifest {
    name: ExtensionName,
    /// Where the files are, up to the last slash.
    directory: String,
    sums: Sums,
}

impl<'a> Published<'a> {
    /// With an OpenPGP key, manifests need its signature.
    ///
    /// # Errors
    /// The key can't be read.
    pub(crate) fn new(
        fetcher: &'a Fetcher,
        base_url: &'a str,
        key: Option<&Path>,
    ) -> anyhow::Result<Published<'a>> {
        let key = key.map(|path| std::fs::read(path).with_context(|| format!("{path:?}"))).transpose()?;
        Ok(Published { fetcher, base_url, key })
    }

    /// An extension's files.
    ///
    /// # Errors
    /// It isn't there, isn't signed, or is malformed.
    pub(crate) fn manifest(&self, name: &ExtensionName, events: &dyn Events) -> anyhow::Result<Manifest> {
        let directory = sysupdate::directory(self.base_url, name.as_str());
        let url = format!("{directory}{MANIFEST}");
        let text = self.fetcher.text(&url, TEXT_MAX, events)?;
        if let Some(key) = &self.key {
            let url = format!("{url}.gpg");
            let signature = self.fetcher.text(&url, SIGNATURE_MAX, events)?;
            signature::verify(Scheme::OpenPgp, key, &signature, &Content::from(text.clone()))
                .with_context(|| url.clone())?;
        }
        let sums = Sums::parse(&text).with_context(|| url.clone())?;
        Ok(Manifest { name: name.clone(), directory, sums })
    }

    /// A file that a manifest lists.
    ///
    /// # Errors
    /// It isn't listed, isn't there, or isn't what the manifest says.
    pub(crate) fn get(
        &self,
        manifest: &Manifest,
        file: &str,
        events: &dyn Events,
    ) -> anyhow::Result<DownloadedFile> {
        let sum = manifest.sum(file)?;
        let checksum = Checksum::from_hex(sum).context("internal error: a manifest has an odd sum")?;
        let url = format!("{}{file}", manifest.directory);
        Ok(self.fetcher.get(&FileRequest { url, checksums: vec![checksum], size: None }, events)?)
    }
}

impl Manifest {
    /// Whether it lists a file.
    pub(crate) fn has(&self, file: &str) -> bool {
        self.sums.0.contains_key(file)
    }

    /// The image of the newest version for an architecture.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn newest(&self, arch: Arch) -> anyhow::Result<ImageFileName> {
        let newest = self.images().filter(|image| image.arch == arch).max_by(newer);
        newest.with_context(|| format!("{}: lists no {} for {}", self.url(), self.name, arch.systemd()))
    }

    /// The checksum of a file, in hexadecimal.
    ///
    /// # Errors
    /// It isn't listed.
    pub(crate) fn sum(&self, file: &str) -> anyhow::Result<&str> {
        if let Some(sum) = self.sums.0.get(file) {
            return Ok(sum);
        }
        let arch = ImageFileName::of(self.name.as_str(), file).map(|image| image.arch);
        let others = self.images().filter(|image| arch.is_none_or(|arch| image.arch == arch));
        match others.max_by(newer) {
            Some(newest) => {
                bail!("{}: doesn't list {file}; the newest version is {}", self.url(), newest.version)
            }
            None => bail!("{}: doesn't list {file}", self.url()),
        }
    }

    fn images(&self) -> impl Iterator<Item = ImageFileName> {
        self.sums.0.keys().filter_map(|file| ImageFileName::of(self.name.as_str(), file))
    }

    fn url(&self) -> String {
        format!("{}{MANIFEST}", self.directory)
    }
}

fn newer(a: &ImageFileName, b: &ImageFileName) -> Ordering {
    a.version.cmp(&b.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_for_an_architecture() {
        let sum = "0".repeat(64);
        let files =
            ["a-9-x86-64.raw", "a-10-x86-64.raw", "a-11-arm64.raw", "a.conf", "BEST-BEFORE-2026-01-01"];
        let text: String = files.iter().map(|file| format!("{sum}  {file}\n")).collect();
        let sums = Sums::parse(text.as_bytes()).unwrap();
        let name = "a".parse().unwrap();
        let manifest = Manifest { name, directory: "https://example.org/a/".to_owned(), sums };
        assert_eq!(manifest.newest(Arch::X86_64).unwrap().to_string(), "a-10-x86-64.raw");
        assert_eq!(manifest.newest(Arch::Arm64).unwrap().to_string(), "a-11-arm64.raw");
        let error = manifest.newest(Arch::Riscv64).unwrap_err().to_string();
        assert_eq!(error, "https://example.org/a/SHA256SUMS: lists no a for riscv64");
        assert_eq!(manifest.sum("a-9-x86-64.raw").unwrap(), sum);
        let error = manifest.sum("a-8-x86-64.raw").unwrap_err().to_string();
        let expected =
            "https://example.org/a/SHA256SUMS: doesn't list a-8-x86-64.raw; the newest version is 10";
        assert_eq!(error, expected);
    }
}
