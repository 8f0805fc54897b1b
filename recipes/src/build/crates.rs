//! What a source's Cargo.lock pins, laid out so that cargo finds it without a network: vendored sources.
//! <https://doc.rust-lang.org/cargo/reference/source-replacement.html>

use serde::Deserialize;
use store::Digest;
use tree::{Content, ContentError, Meta, Node, PathError, StaticPath, Tree, TreeError};

use crate::checksum::Checksum;
use crate::context::BuildContext;
use crate::fetch::{FetchError, FileRequest};
use crate::format::Archive;
use crate::unpack::{UnpackError, UnpackOptions, unpack};

/// Bytes. One with 800 packages has 220 kB.
const LOCK_MAX: u64 = 16 << 20;
/// Packages in a Cargo.lock.
const PACKAGES_MAX: usize = 10_000;
/// As Cargo.lock names the registry that cargo uses by default.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
const LOCK: StaticPath = StaticPath::new("/Cargo.lock");
/// Both are below the directory of all sources.
const VENDOR: StaticPath = StaticPath::new("/vendor");
const CONFIGURATION: StaticPath = StaticPath::new("/.cargo/config.toml");

/// Why the crates of a source can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum CratesError {
    #[error("has no Cargo.lock at its top")]
    NoLock,
    #[error("Cargo.lock: {0}")]
    Content(#[from] ContentError),
    #[error("Cargo.lock: {0}")]
    Syntax(String),
    #[error(
        "Cargo.lock: package {name:?} is from {from:?}, expected the registry that cargo uses by default"
    )]
    Elsewhere { name: String, from: String },
    #[error("Cargo.lock: package {name:?} {version:?} has no SHA-256 checksum")]
    NoChecksum { name: String, version: String },
    #[error("Cargo.lock: {name:?} {version:?} is no name and version of a package")]
    Name { name: String, version: String },
    #[error("Cargo.lock: more than {PACKAGES_MAX} packages")]
    TooMany,
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Tree(#[from] TreeError),
}

#[derive(Debug, Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    /// None for the packages of the source itself.
    source: Option<String>,
    checksum: Option<String>,
}

/// A package of the registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
    sha256: Digest,
}

impl Crate {
    /// `NAME-VERSION`.
    fn stem(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// The registry's address of it. The bytes are those of the checksum, wherever they are from.
    fn url(&self) -> String {
        format!("https://crates.io/api/v1/crates/{}/{}/download", self.name, self.version)
    }
}

/// The packages that a source needs from the registry, sorted.
fn packages(source: &Tree) -> Result<Vec<Crate>, CratesError> {
    let content = source.get(&LOCK.path()).and_then(Node::content).ok_or(CratesError::NoLock)?;
    let text = String::from_utf8(content.read(LOCK_MAX)?);
    let text = text.map_err(|_| CratesError::Syntax("is not UTF-8".to_owned()))?;
    let lock: Lock = toml::from_str(&text).map_err(|e| CratesError::Syntax(e.message().to_owned()))?;
    if lock.package.len() > PACKAGES_MAX {
        return Err(CratesError::TooMany);
    }
    let mut out = Vec::new();
    for Package { name, version, source, checksum } in lock.package {
        let Some(source) = source else { continue };
        if source != REGISTRY {
            return Err(CratesError::Elsewhere { name, from: source });
        }
        let is_name = |text: &str, more: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
            text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && text.chars().all(plain)
        };
        if !is_name(&name, "-_") || !is_name(&version, "-_.+") {
            return Err(CratesError::Name { name, version });
        }
        match checksum.as_deref().and_then(Digest::from_hex) {
            Some(sha256) => out.push(Crate { name, version, sha256 }),
            None => return Err(CratesError::NoChecksum { name, version }),
        }
    }
    out.sort();
    out.dedup();
    Ok(out)
}

/// Fetches what the Cargo.lock of `source` pins, and lays it out: to be put into a directory above that of the source.
///
/// # Errors
/// There is none, or it pins packages that aren't from cargo's usual registry; one can't be had, or isn't what was pinned.
pub(super) fn vendor(source: &Tree, context: BuildContext<'_>) -> Result<Tree, CratesError> {
    let crates = packages(source)?;
    let want =
        |c: &Crate| FileRequest { url: c.url(), checksums: vec![Checksum::Sha256(c.sha256)], size: None };
    let wants: Vec<FileRequest> = crates.iter().map(want).collect();
    let fetched = context.fetcher.get_all(&wants, context.events)?;
    let mut out = Tree::default();
    let vendor = VENDOR.path();
    out.make_dirs(&vendor, &Meta::dir())?;
    for (package, file) in crates.iter().zip(&fetched) {
        let options = UnpackOptions { archive: Some(Archive::Tar), strip: 1, inside: None };
        let name = format!("{}.tar.gz", package.stem());
        let tree = unpack(&file.content(), &file.sha256, &name, &options, context.cache(), context.events)?;
        let dir = vendor.join(package.stem())?;
        out.make_dirs(&dir, &Meta::dir())?;
        for (path, node) in tree.iter().filter(|(path, _)| !path.is_root()) {
            out.insert_all(dir.join(path.as_relative())?, node.clone(), &Meta::dir())?;
        }
        // cargo asks for a checksum of each file that is listed, and for the package's.
        let checksum = format!("{{\"files\":{{}},\"package\":\"{}\"}}", package.sha256.hex());
        out.insert_all(dir.join(".cargo-checksum.json")?, text(checksum), &Meta::dir())?;
    }
    let configuration = "[source.crates-io]\nreplace-with = \"vendored\"\n\n\
                         [source.vendored]\ndirectory = \"vendor\"\n\n[net]\noffline = true\n";
    out.insert_all(CONFIGURATION.path(), text(configuration.to_owned()), &Meta::dir())?;
    Ok(out)
}

fn text(text: String) -> Node {
    Node::file(0o644, Content::from(text.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crates(lock: &str) -> Result<Vec<Crate>, String> {
        let mut tree = Tree::default();
        tree.insert_all(LOCK.path(), text(lock.to_owned()), &Meta::dir()).unwrap();
        packages(&tree).map_err(|e| e.to_string())
    }

    fn package(name: &str, version: &str, more: &str) -> String {
        format!("[[package]]\nname = {name:?}\nversion = {version:?}\n{more}\n")
    }

    #[test]
    fn what_a_lock_pins() {
        let sum = "ab".repeat(32);
        let registry = format!("source = {REGISTRY:?}\nchecksum = {sum:?}");
        let lock = ["version = 4\n", &package("b", "1.0.0+x-1", &registry), &package("own", "0.1.0", "")];
        let found = crates(&(lock.concat() + &package("a_c-d", "2.0.0-rc.1", &registry))).unwrap();
        let names: Vec<String> = found.iter().map(Crate::stem).collect();
        assert_eq!(names, ["a_c-d-2.0.0-rc.1", "b-1.0.0+x-1"]);
        assert_eq!(found[0].sha256.hex(), sum);
    }

    #[test]
    fn what_can_not_be_verified_is_refused() {
        let sum = "ab".repeat(32);
        let git = "source = \"git+https://example.com/x#0\"";
        let registry = |sum: &str| format!("source = {REGISTRY:?}\nchecksum = {sum:?}");
        for (lock, message) in [
            (package("a", "1.0.0", git), "package \"a\" is from \"git+https://example.com/x#0\", expected"),
            (
                package("a", "1.0.0", &format!("source = {REGISTRY:?}")),
                "\"a\" \"1.0.0\" has no SHA-256 checksum",
            ),
            (package("a", "1.0.0", &registry("ab")), "has no SHA-256 checksum"),
            (package("../a", "1.0.0", &registry(&sum)), "is no name and version of a package"),
            (package("a", "1/../../x", &registry(&sum)), "is no name and version of a package"),
            ("[[package]]\nname = 1\n".to_owned(), "invalid type"),
        ] {
            let error = crates(&lock).unwrap_err();
            assert!(error.starts_with("Cargo.lock: ") && error.contains(message), "{error}");
        }
        assert_eq!(packages(&Tree::default()).unwrap_err().to_string(), "has no Cargo.lock at its top");
    }
}
