//! What an image was made of: an in-toto statement with SLSA's predicate beside it.
//!
//! <https://slsa.dev/spec/v1.0/provenance>, <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use image::Written;
use oci::Rootfs;
use packages::Database;
use serde_json::{Value, json};
use tree::{OutputFile, TreePath};

/// The statement's ending, after the image's name without its own.
const ENDING: &str = ".intoto.json";

/// What identifies the image that files were taken from.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// `manifest`, or `rootfs` for what has none.
    kind: &'static str,
    /// SHA-256: of the manifest, or of the root file system with what commands changed in it ([`Rootfs::id`]). 64 hex digits.
    sha256: String,
}

impl Source {
    pub(crate) fn of(rootfs: &Rootfs) -> Source {
        match &rootfs.manifest {
            Some(digest) => Source { kind: "manifest", sha256: digest.hex() },
            None => Source { kind: "rootfs", sha256: rootfs.id.hex() },
        }
    }
}

/// A package of which files are included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Included {
    name: String,
    version: String,
    architecture: String,
}

/// The packages that own some of the files, sorted.
pub(crate) fn included(database: Option<&Database>, files: &BTreeSet<TreePath>) -> Vec<Included> {
    let has_some = |p: &&packages::Package| p.files.iter().any(|file| files.contains(file));
    let packages = database.map(Database::packages).into_iter().flatten().filter(has_some);
    packages
        .map(|p| Included {
            name: p.name.clone(),
            version: p.version.clone(),
            architecture: p.architecture.clone(),
        })
        .collect()
}

/// What an image was made of: what was taken from where, and what ran on the way. Options that only say how aren't in it.
#[derive(Debug, Clone)]
pub(crate) struct Provenance {
    /// `flix` or `flatwrap`.
    pub(crate) command: String,
    /// As typed.
    pub(crate) image: String,
    pub(crate) source: Source,
    /// The extension's.
    pub(crate) name: String,
    /// As typed.
    pub(crate) paths: Vec<String>,
    /// `--package`.
    pub(crate) packages: Vec<String>,
    /// `--run`.
    pub(crate) commands: Vec<String>,
    /// `--trace`.
    pub(crate) traces: Vec<String>,
    /// `--paths-from`, as typed.
    pub(crate) lists: Vec<String>,
    pub(crate) included: Vec<Included>,
}

impl Provenance {
    /// Writes the statement beside the image.
    ///
    /// # Errors
    /// The image is a directory, which has no digest, or the statement can't be written.
    pub(crate) fn write(&self, image: &Written, confext: Option<&Written>) -> anyhow::Result<()> {
        let subjects = [Some(image), confext].into_iter().flatten().map(subject);
        let subjects = subjects.collect::<anyhow::Result<Vec<Value>>>()?;
        let text = serde_json::to_string_pretty(&self.statement(subjects))? + "\n";
        let path = place(&image.path);
        let file = OutputFile::create(&path)?;
        file.file().write_all(text.as_bytes()).with_context(|| format!("{path:?}"))?;
        Ok(file.commit()?)
    }

    fn statement(&self, subjects: Vec<Value>) -> Value {
        let mut parameters = json!({ "image": self.image, "name": self.name, "paths": self.paths });
        for (key, list) in [
            ("package", &self.packages),
            ("run", &self.commands),
            ("trace", &self.traces),
            ("paths-from", &self.lists),
        ] {
            if !list.is_empty() {
                parameters[key] = json!(list);
            }
        }
        let packages = self.included.iter().map(|p| {
            json!({ "name": p.name, "annotations": { "version": p.version, "architecture": p.architecture } })
        });
        let base = json!({ "name": self.source.kind, "uri": self.image, "digest": { "sha256": self.source.sha256 } });
        let command = &self.command;
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": subjects,
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": {
                    "buildType": format!("urn:{command}:image:1"),
                    "externalParameters": parameters,
                    "resolvedDependencies": std::iter::once(base).chain(packages).collect::<Vec<_>>(),
                },
                "runDetails": {
                    "builder": { "id": format!("urn:{command}"), "version": { command: env!("CARGO_PKG_VERSION") } },
                },
            },
        })
    }
}

fn subject(written: &Written) -> anyhow::Result<Value> {
    let path = &written.path;
    let sha256 = written.sha256.as_ref().with_context(|| format!("{path:?}: a directory has no digest"))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(json!({ "name": name, "digest": { "sha256": sha256 } }))
}

/// `dir/one.intoto.json` for `dir/one.raw`.
fn place(image: &Path) -> PathBuf {
    let mut name = OsString::from(image.file_stem().unwrap_or_default());
    name.push(ENDING);
    image.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement() {
        let dir = tempfile::tempdir().unwrap();
        let image = Written {
            path: dir.path().join("git.raw"),
            bytes: 1,
            sha256: Some("ab".repeat(32)),
            root_hash: None,
        };
        let provenance = Provenance {
            command: "flix".into(),
            image: "debian:bookworm".into(),
            source: Source { kind: "manifest", sha256: "cd".repeat(32) },
            name: "git".into(),
            paths: vec!["package:git".into()],
            packages: Vec::new(),
            commands: vec!["touch /x".into()],
            traces: Vec::new(),
            lists: Vec::new(),
            included: vec![Included {
                name: "git".into(),
                version: "1:2.39".into(),
                architecture: "amd64".into(),
            }],
        };
        provenance.write(&image, None).unwrap();
        let text = std::fs::read_to_string(dir.path().join("git.intoto.json")).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["subject"], json!([{ "name": "git.raw", "digest": { "sha256": "ab".repeat(32) } }]));
        let definition = &value["predicate"]["buildDefinition"];
        assert_eq!(
            definition["externalParameters"],
            json!({ "image": "debian:bookworm", "name": "git", "paths": ["package:git"], "run": ["touch /x"] })
        );
        assert_eq!(
            definition["resolvedDependencies"],
            json!([
                { "name": "manifest", "uri": "debian:bookworm", "digest": { "sha256": "cd".repeat(32) } },
                { "name": "git", "annotations": { "version": "1:2.39", "architecture": "amd64" } },
            ])
        );
        let directory = Written { sha256: None, ..image };
        let error = provenance.write(&directory, None).unwrap_err().to_string();
        assert!(error.ends_with("a directory has no digest"), "{error}");
    }
}
