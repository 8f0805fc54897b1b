//! A recipe for one version and architecture: nothing is left to decide but what upstream's files have in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sysext::merge_test::Test;
use tree::{Arch, TreePath};

pub use crate::format::{Archive, Tool};
use crate::version::Version;

/// What the user chose, or the lock says: part of what identifies a build.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Settings {
    /// Parameters by name.
    pub parameters: BTreeMap<String, String>,
    /// Components that are left out.
    pub without: BTreeSet<String>,
}

/// What is to be built.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// The recipe's name.
    pub name: String,
    /// The version.
    pub version: Version,
    /// The architecture.
    pub arch: Arch,
    /// With all parameters that the recipe has.
    pub settings: Settings,
    /// `EXTENSION_RELOAD_MANAGER`; by default: if there are units.
    pub reload: Option<bool>,
    /// Units that are restarted after merging.
    pub restart: Vec<String>,
    /// Units that are reloaded then if they can be.
    pub reload_or_restart: Vec<String>,
    /// Extensions that have to be merged, too.
    pub requires: Vec<Requirement>,
    /// Libraries of the host that may be needed.
    pub host_libraries: Vec<String>,
    /// Lint rules that are only warned about.
    pub allow: Vec<String>,
    /// What is downloaded, ordered as in the recipe.
    pub downloads: Vec<Download>,
    /// What is taken from downloads, ordered as in the recipe.
    pub installs: Vec<Install>,
    /// What the recipe itself brings along: static files, texts, links, drop-ins.
    pub files: BTreeMap<TreePath, Static>,
    /// What is compiled.
    pub build: Option<Build>,
    /// What is taken out of an OCI image.
    pub image: Option<Image>,
    /// What is run in the merged extension.
    pub tests: Vec<Test>,
}

/// An extension that has to be merged, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Its name.
    pub extension: String,
    /// Its version; any if none is given.
    pub version: Option<String>,
}

/// The tables of a recipe that install packages in an image.
pub(crate) const BUILD_TABLE: &str = "build";
pub(crate) const IMAGE_TABLE: &str = "image";

/// Packages that are installed in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Installed<'a> {
    /// The recipe's table.
    pub(crate) table: &'static str,
    /// The image's reference.
    pub(crate) image: &'a str,
    /// At least one, as the recipe names them.
    pub(crate) names: &'a [String],
}

impl Instance {
    /// What is installed in which image.
    pub(crate) fn packages(&self) -> impl Iterator<Item = Installed<'_>> {
        let build = self.build.iter().map(|b| (BUILD_TABLE, b.image.as_str(), b.packages.as_slice()));
        let image = self.image.iter().map(|i| (IMAGE_TABLE, i.reference.as_str(), i.packages.as_slice()));
        let all = build.chain(image).filter(|(.., names)| !names.is_empty());
        all.map(|(table, image, names)| Installed { table, image, names })
    }
}

/// A file of upstream's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// What installs call it.
    pub id: String,
    /// Where it is.
    pub url: String,
    /// How it is checked: the first way that upstream has. There is one at least.
    pub checksums: Vec<Checksum>,
    /// Its signature.
    pub signature: Option<Signature>,
    /// What it is.
    pub archive: Archive,
    /// Leading parts of paths to drop.
    pub strip: u32,
    /// Archives in this one that are unpacked, too: a pattern.
    pub inside: Option<String>,
}

impl Download {
    /// The last part of the URL.
    pub fn file_name(&self) -> &str {
        file_name(&self.url)
    }
}

/// The last part of a URL's path, query and fragment aside.
pub(crate) fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

/// How a download is checked before it is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// By a list of upstream's.
    List {
        /// Where it is.
        url: String,
        /// The file's name in it.
        name: String,
        /// Upstream's signature of the list.
        signature: Option<Signature>,
    },
    /// With the digest from GitHub's API.
    GithubDigest,
    /// Not at all.
    LockOnly,
}

/// A signature of upstream's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// What made it.
    pub kind: SignatureKind,
    /// Where it is.
    pub url: String,
    /// The public key.
    pub key: Arc<[u8]>,
}

/// What made a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureKind {
    /// OpenPGP, detached.
    Openpgp,
    /// 64 raw bytes.
    Ed25519,
    /// minisign.
    Minisign,
    /// cosign's `sign-blob --key`.
    Cosign,
}

/// What goes from a download into the extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    /// The download's ID, or `build`.
    pub from: String,
    /// Which of its files; none for a download that is just a file.
    pub pattern: Option<String>,
    /// The directory, or the new name.
    pub to: TreePath,
    /// Whether `to` is a directory.
    pub into: bool,
    /// Permissions of files.
    pub mode: Option<u32>,
    /// Patterns of what is left out.
    pub(crate) except: Vec<String>,
    /// Changes in text files.
    pub replace: Vec<(String, String)>,
    /// Whether nothing may match.
    pub optional: bool,
}

/// Something that the recipe itself brings along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Static {
    /// A file.
    File {
        /// Permissions.
        mode: u32,
        /// What is in it.
        content: Arc<[u8]>,
    },
    /// A symbolic link.
    Symlink(String),
}

/// What is compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The image.
    pub image: String,
    /// Packages to install first.
    pub packages: Vec<String>,
    /// Downloads, unpacked as /src/ID.
    pub sources: Vec<String>,
    /// The one of them whose crates are vendored.
    pub crates_of: Option<String>,
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// For /bin/sh -eu.
    pub script: String,
}

/// What is taken out of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The image.
    pub reference: String,
    /// How.
    pub tool: Tool,
    /// Packages to install first.
    pub packages: Vec<String>,
    /// PATH or PATH:DEST.
    pub paths: Vec<String>,
    /// Whether hosts get what units need.
    pub service_files: bool,
}
