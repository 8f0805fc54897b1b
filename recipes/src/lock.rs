//! `recipes.lock`: what every input was when it was pinned. A build takes nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use store::Digest;
use tree::{
    Arch,
    output::{OutputError, OutputFile},
};

use crate::{
    catalogue::Catalogue,
    image_file::ImageFileName,
    recipe::Recipe,
    recipe::Settings,
    verified::Verified,
    version::{Version, compare},
};

/// The file's name, unless the user has another.
pub const FILE_NAME: &str = "recipes.lock";

const HEADER: &str = "\
# Made by \"bakery lock\": what each build is made of. Keep it with your configuration; \"bakery lock --update\" renews it.
version = 1
";

/// In the name of an image, stands before a component that its build was without.
pub const WITHOUT: &str = "-without-";

/// What is built: the key of an entry. `settings` is what the user chose, not what was found out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The recipe.
    pub name: String,
    /// The version.
    pub version: Version,
    /// The architecture.
    pub arch: Arch,
    /// `--set` and `--without`.
    pub settings: Settings,
}

/// What one build is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pins {
    /// Values of parameters that were found out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub found: BTreeMap<String, String>,
    /// Downloads by ID.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Input>,
    /// Digests of OCI images by their reference.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, Digested>,
    /// Packages that are installed in images, by the recipe's table: `build`, `image`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub packages: BTreeMap<String, Packages>,
}

/// What is installed in an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Packages {
    /// What the recipe names.
    pub names: Vec<String>,
    /// The archives of all packages that this takes; none if they can't be pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archives: Option<Vec<PackageArchive>>,
}

/// The archive of a package, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PackageArchive {
    /// The distribution's.
    pub url: String,
    /// Bytes.
    pub size: u64,
    /// Of its bytes.
    pub sha256: Digested,
}

/// A download, pinned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Input {
    /// Upstream's.
    pub url: String,
    /// Bytes.
    pub size: u64,
    /// Of its bytes.
    pub sha256: Digested,
    /// How it was checked before it was pinned.
    pub verified: Verified,
}

/// A digest, as text in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digested(pub Digest);

impl Serialize for Digested {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Digested {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Digested).map_err(serde::de::Error::custom)
    }
}

/// All pins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    entries: BTreeMap<Key, Pins>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    extension: Vec<Entry>,
}

/// An entry of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    name: String,
    version: String,
    arch: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    set: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    without: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    found: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    inputs: BTreeMap<String, Input>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    images: BTreeMap<String, Digested>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    packages: BTreeMap<String, Packages>,
}

/// Why the lock can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum LockError {
    /// It can't be read.
    #[error("{path:?}: {source}")]
    Io {
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It can't be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// It makes no sense.
    #[error("{path:?}: {message}")]
    Syntax {
        path: PathBuf,
        /// With line and column.
        message: String,
    },
    /// Nothing is pinned for a build.
    #[error("{what} isn't pinned in {path:?}{}", others(.pinned))]
    NotPinned {
        /// Name, version and architecture.
        what: String,
        path: PathBuf,
        /// What is pinned of that name.
        pinned: Vec<String>,
    },
    /// A pin is of another recipe.
    #[error("{what}: {path:?} pins {got}, the recipe wants {expected}")]
    Stale {
        /// Name, version and architecture.
        what: String,
        path: PathBuf,
        got: String,
        /// What the recipe has.
        expected: String,
    },
}

fn others(pinned: &[String]) -> String {
    if pinned.is_empty() { String::new() } else { format!(", which has {}", pinned.join(", ")) }
}

impl Key {
    /// The name of the image that is built.
    pub fn image_file(&self) -> ImageFileName {
        ImageFileName { name: self.name.clone(), version: self.version.clone(), arch: self.arch }
    }

    /// The same for a directory that may hold builds of several forms, without the ending:
    /// `docker-27.5.1-without-containerd-x86-64`.
    pub fn variant_stem(&self) -> String {
        let without: String = self.settings.without.iter().map(|c| format!("{WITHOUT}{c}")).collect();
        format!("{}-{}{without}-{}", self.name, self.version, self.arch.systemd())
    }
}

impl Lock {
    /// Reads a lock; an empty one if there is no such file.
    ///
    /// # Errors
    /// It can't be read, or makes no sense.
    pub fn read(path: &Path) -> Result<Lock, LockError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Lock::parse(&text, path),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Lock::default()),
            Err(source) => Err(LockError::Io { path: path.to_owned(), source }),
        }
    }

    /// Reads a lock's text; `path` is for errors.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn parse(text: &str, path: &Path) -> Result<Lock, LockError> {
        let wrong = |message: String| LockError::Syntax { path: path.to_owned(), message };
        let file: File = toml::from_str(text).map_err(|e| wrong(e.to_string().trim_end().to_owned()))?;
        if file.version != 1 {
            return Err(wrong(format!("version is {}, expected 1", file.version)));
        }
        let mut entries = BTreeMap::new();
        for entry in file.extension {
            let what = format!("{} {} {}", entry.name, entry.version, entry.arch);
            let version = entry.version.parse().map_err(|e| wrong(format!("{what}: {e}")))?;
            let arch = entry.arch.parse().map_err(|e| wrong(format!("{what}: {e}")))?;
            let settings = Settings { parameters: entry.set, without: entry.without };
            let key = Key { name: entry.name, version, arch, settings };
            let Entry { found, inputs, images, packages, .. } = entry;
            let pins = Pins { found, inputs, images, packages };
            if entries.insert(key, pins).is_some() {
                return Err(wrong(format!("{what} is pinned twice")));
            }
        }
        Ok(Lock { entries })
    }

    /// The same pins under the names, and with the versions in the forms, that recipes have now. What is pinned in the form
    /// of now already stays as it is. What no recipe is known of stays, too.
    #[must_use]
    pub fn in_form(self, catalogue: &Catalogue) -> Lock {
        let mut recipes: BTreeMap<String, Option<Recipe>> = BTreeMap::new();
        let (mut entries, mut old) = (BTreeMap::new(), Vec::new());
        for (key, pins) in self.entries {
            let recipe = recipes.entry(key.name.clone()).or_insert_with_key(|n| catalogue.recipe(n).ok());
            let now = match recipe {
                Some(recipe) => {
                    let (name, version) = (recipe.name().to_string(), recipe.in_form(&key.version));
                    Key { name, version, ..key.clone() }
                }
                None => key.clone(),
            };
            if now == key {
                entries.insert(key, pins);
            } else {
                old.push((now, pins));
            }
        }
        for (key, pins) in old {
            entries.entry(key).or_insert(pins);
        }
        Lock { entries }
    }

    /// The text of the file: the same pins, the same bytes.
    pub fn text(&self) -> String {
        let mut out = String::from(HEADER);
        for (key, pins) in &self.entries {
            let entry = Entry {
                name: key.name.clone(),
                version: key.version.to_string(),
                arch: key.arch.to_string(),
                set: key.settings.parameters.clone(),
                without: key.settings.without.clone(),
                found: pins.found.clone(),
                inputs: pins.inputs.clone(),
                images: pins.images.clone(),
                packages: pins.packages.clone(),
            };
            out.push_str("\n[[extension]]\n");
            entry.write(&mut out);
        }
        out
    }

    /// Writes the file, as a whole or not at all.
    ///
    /// # Errors
    /// The place can't be written.
    pub fn write(&self, path: &Path) -> Result<(), LockError> {
        let output = OutputFile::create(path)?;
        let written = output.file().write_all(self.text().as_bytes());
        written.map_err(|source| LockError::Io { path: path.to_owned(), source })?;
        Ok(output.commit()?)
    }

    /// The pins of a build.
    pub fn get(&self, key: &Key) -> Option<&Pins> {
        self.entries.get(key)
    }

    /// Pins a build. Says what was pinned before.
    pub fn insert(&mut self, key: Key, pins: Pins) -> Option<Pins> {
        self.entries.insert(key, pins)
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Pins)> {
        self.entries.iter()
    }

    /// Whether nothing is pinned.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The pins of a build, or what to tell.
    ///
    /// # Errors
    /// There are none.
    pub fn expect(&self, key: &Key, path: &Path) -> Result<&Pins, LockError> {
        self.get(key).ok_or_else(|| {
            let pinned =
                self.iter().map(|(k, _)| k).filter(|k| k.name == key.name).map(Key::to_string).collect();
            LockError::NotPinned { what: key.to_string(), path: path.to_owned(), pinned }
        })
    }

    /// The newest version of an extension that is pinned with these settings.
    pub fn newest(&self, name: &str, arch: Arch, settings: &Settings) -> Option<&Version> {
        let fits = |k: &&Key| k.name == name && k.arch == arch && k.settings == *settings;
        let versions = self.entries.keys().filter(fits).map(|k| &k.version);
        versions.max_by(|a, b| compare(a.as_str(), b.as_str()).then_with(|| a.cmp(b)))
    }
}

impl Entry {
    /// One line each, so that a difference between two locks can be read.
    fn write(&self, out: &mut String) {
        let text = |s: &str| toml::Value::String(s.to_owned()).to_string();
        let map = |m: &BTreeMap<String, String>| {
            let pairs: Vec<String> = m.iter().map(|(k, v)| format!("{} = {}", key(k), text(v))).collect();
            format!("{{ {} }}", pairs.join(", "))
        };
        for (word, value) in [("name", &self.name), ("version", &self.version), ("arch", &self.arch)] {
            let _ = writeln!(out, "{word} = {}", text(value));
        }
        if !self.set.is_empty() {
            let _ = writeln!(out, "set = {}", map(&self.set));
        }
        if !self.without.is_empty() {
            let list: Vec<String> = self.without.iter().map(|w| text(w)).collect();
            let _ = writeln!(out, "without = [{}]", list.join(", "));
        }
        if !self.found.is_empty() {
            let _ = writeln!(out, "found = {}", map(&self.found));
        }
        for (id, input) in &self.inputs {
            let _ = writeln!(out, "\n[extension.inputs.{}]", key(id));
            let _ = writeln!(out, "url = {}\nsize = {}", text(&input.url), input.size);
            let _ = writeln!(
                out,
                "sha256 = \"{}\"\nverified = {}",
                input.sha256.0,
                text(&input.verified.to_string())
            );
        }
        if !self.images.is_empty() {
            out.push_str("\n[extension.images]\n");
        }
        for (reference, digest) in &self.images {
            let _ = writeln!(out, "{} = \"{}\"", text(reference), digest.0);
        }
        for (table, packages) in &self.packages {
            let names: Vec<String> = packages.names.iter().map(|name| text(name)).collect();
            let _ = writeln!(out, "\n[extension.packages.{}]", key(table));
            let _ = writeln!(out, "names = [{}]", names.join(", "));
            let Some(archives) = &packages.archives else { continue };
            out.push_str("archives = [\n");
            for PackageArchive { url, size, sha256 } in archives {
                let _ =
                    writeln!(out, "    {{ url = {}, size = {size}, sha256 = \"{}\" }},", text(url), sha256.0);
            }
            out.push_str("]\n");
        }
    }
}

/// A TOML key: quoted where it has to be.
fn key(word: &str) -> String {
    let bare =
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if bare { word.to_owned() } else { toml::Value::String(word.to_owned()).to_string() }
}

/// `docker 27.1.0 x86-64, runc-version=1.2, without containerd`
impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.name, self.version, self.arch)?;
        for (name, value) in &self.settings.parameters {
            write!(f, " {name}={value}")?;
        }
        for component in &self.settings.without {
            write!(f, " without {component}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(name: &str, version: &str) -> Key {
        let version = version.parse().unwrap();
        Key { name: name.into(), version, arch: Arch::X86_64, settings: Settings::default() }
    }

    fn sample() -> Lock {
        let mut lock = Lock::default();
        let input = Input {
            url: "https://e.org/\"x\"".into(),
            size: 7,
            sha256: Digested(Digest::of("x")),
            verified: "SHA256SUMS of upstream's".to_owned().into(),
        };
        let archive = PackageArchive {
            url: "http://e.org/a_4%3a1.deb".into(),
            size: 8,
            sha256: Digested(Digest::of("a")),
        };
        let pins = Pins {
            found: [("runc-version".into(), "1.2".into())].into(),
            inputs: [("a".into(), input.clone()), ("b.c".into(), input)].into(),
            images: [("docker.io/library/alpine:3.21".into(), Digested(Digest::of("i")))].into(),
            packages: [
                (
                    "build".into(),
                    Packages {
                        names: vec!["gcc".into(), "a".into()],
                        archives: Some(vec![archive.clone(), archive]),
                    },
                ),
                ("image".into(), Packages { names: vec!["gcc".into()], archives: None }),
            ]
            .into(),
        };
        lock.insert(key_of("thing", "1.10.0"), pins.clone());
        lock.insert(key_of("thing", "v1.9.0"), Pins::default());
        let mut other = key_of("docker", "27.1");
        other.settings.parameters.insert("a".into(), "b".into());
        other.settings.without = ["x".into(), "y".into()].into();
        lock.insert(other, pins);
        lock
    }

    #[test]
    fn what_is_written_is_read() {
        let lock = sample();
        let text = lock.text();
        assert_eq!(Lock::parse(&text, Path::new("x")).unwrap(), lock, "{text}");
        insta::assert_snapshot!(text);
        assert_eq!(Lock::parse(&Lock::default().text(), Path::new("x")).unwrap(), Lock::default());
    }

    #[test]
    fn the_newest_and_what_is_missing() {
        let lock = sample();
        let none = Settings::default();
        let newest = |name, arch| lock.newest(name, arch, &none).map(Version::as_str);
        assert_eq!(newest("thing", Arch::X86_64), Some("1.10.0"));
        assert_eq!(newest("thing", Arch::Arm64), None);
        assert_eq!(newest("docker", Arch::X86_64), None);
        let error = lock.expect(&key_of("docker", "27.1"), Path::new("l")).unwrap_err().to_string();
        let expected =
            "docker 27.1 x86-64 isn't pinned in \"l\", which has docker 27.1 x86-64 a=b without x without y";
        assert_eq!(error, expected);
    }

    #[test]
    fn a_lock_that_makes_no_sense() {
        let entry = "[[extension]]\nname = \"a\"\nversion = \"1\"\narch = \"x86-64\"\n";
        let table = [
            ("version = 2\n".to_owned(), "version is 2, expected 1"),
            (format!("version = 1\n{entry}{entry}"), "a 1 x86-64 is pinned twice"),
            (format!("version = 1\n{entry}x = 1\n"), "unknown field `x`"),
            (format!("version = 1\n{}", entry.replace("\"1\"", "\"a/b\"")), "version \"a/b\" has '/'"),
            (
                format!(
                    "version = 1\n{entry}inputs = {{ a = {{ url = \"\", size = 1, sha256 = \"x\", verified = \"\" }} }}\n"
                ),
                "digest",
            ),
        ];
        for (text, message) in table {
            let error = Lock::parse(&text, Path::new("l")).unwrap_err().to_string();
            assert!(error.starts_with("\"l\": ") && error.contains(message), "{error}");
        }
    }
}
