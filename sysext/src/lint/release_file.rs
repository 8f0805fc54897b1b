//! Reading release files. os-release(5), UAPI.4.

use std::collections::BTreeMap;

use super::references::is_true;
use crate::{ExtensionName, Release};
use tree::{Arch, ContentError, Tree, TreePath};

/// Bytes. Release files have a few lines.
const MAX: u64 = 64 << 10;
const DIR: &str = "/usr/lib/extension-release.d";
/// If this attribute is "0", the file counts whatever its name is.
const STRICT: &[u8] = b"user.extension-release.strict";

/// A release file of an image.
#[derive(Debug, Clone)]
pub struct ReleaseFile {
    /// Where it is.
    pub path: TreePath,
    /// The fields that matter to the merge.
    pub release: Release,
    /// All fields as they are.
    pub fields: BTreeMap<String, String>,
    /// What is wrong with it.
    pub problems: Vec<String>,
}

/// The release file that systemd takes for an image called `name`.
///
/// # Errors
/// It can't be read.
pub fn find(tree: &Tree, name: &ExtensionName) -> Result<Option<ReleaseFile>, ContentError> {
    let Ok(dir) = TreePath::new(DIR) else { return Ok(None) };
    let own = dir.join(name.release_file_name()).ok().filter(|p| tree.contains(p));
    let path = own.or_else(|| {
        let mut all = tree
            .children(&dir)
            .filter(|(p, _)| p.file_name().is_some_and(|n| n.starts_with(b"extension-release.")));
        let lax = |n: &tree::Node| n.meta.xattrs.get(STRICT).is_some_and(|v| v == b"0");
        match (all.next(), all.next()) {
            (Some((path, node)), None) if lax(node) => Some(path.clone()),
            _ => None,
        }
    });
    let Some(path) = path else { return Ok(None) };
    let real = tree.resolve(path.as_relative(), true).ok().map(|r| r.path);
    let Some(content) = real.and_then(|p| tree.get(&p)?.content().cloned()) else { return Ok(None) };
    Ok(Some(parse(path, &content.read(MAX)?)))
}

/// For whom an image has release files.
pub fn names(tree: &Tree) -> Vec<String> {
    let Ok(dir) = TreePath::new(DIR) else { return Vec::new() };
    let name = |p: &TreePath| {
        let text = String::from_utf8_lossy(p.file_name()?).into_owned();
        text.strip_prefix("extension-release.").map(str::to_owned)
    };
    tree.children(&dir).filter_map(|(p, _)| name(p)).collect()
}

/// The fields of an os-release(5), quotes taken off as a shell would, and what is wrong with other lines.
pub fn fields(text: &[u8]) -> (BTreeMap<String, String>, Vec<String>) {
    let text = String::from_utf8_lossy(text);
    let mut fields = BTreeMap::new();
    let mut problems = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        match line.split_once('=') {
            Some((key, value)) => drop(fields.insert(key.trim().to_owned(), unquote(value.trim()))),
            None => problems.push(format!("line {line:?} is no NAME=VALUE")),
        }
    }
    (fields, problems)
}

/// What the fields mean.
fn parse(path: TreePath, text: &[u8]) -> ReleaseFile {
    let (fields, mut problems) = fields(text);
    let field = |name: &str| fields.get(name).filter(|v| !v.is_empty()).cloned();
    let id = field("ID");
    if id.is_none() {
        problems.push("has no ID; systemd says: Package not installed".to_owned());
    }
    let architecture = field("ARCHITECTURE").and_then(|a| {
        let arch = Arch::ALL.iter().copied().find(|x| x.systemd() == a);
        // Not our words for it: `amd64` is no host's.
        if arch.is_none() {
            problems.push(format!("ARCHITECTURE={a} is none of systemd's, no host will take it"));
        }
        arch
    });
    let units = |name: &str| {
        field(name).map(|v| v.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).unwrap_or_default()
    };
    let release = Release {
        id: id.unwrap_or_else(|| "_any".to_owned()),
        sysext_level: field("SYSEXT_LEVEL"),
        version_id: field("VERSION_ID"),
        architecture,
        reload_manager: field("EXTENSION_RELOAD_MANAGER").is_some_and(|v| is_true(v.as_bytes())),
        restart_units: units("EXTENSION_RESTART_UNITS"),
        reload_or_restart_units: units("EXTENSION_RELOAD_OR_RESTART_UNITS"),
        scope: field("SYSEXT_SCOPE"),
    };
    if let Err(e) = release.check() {
        problems.push(e.to_string());
    }
    ReleaseFile { path, release, fields, problems }
}

fn unquote(value: &str) -> String {
    let bytes = value.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(b'\''), Some(b'\'')) if bytes.len() > 1 => value[1..value.len() - 1].to_owned(),
        (Some(b'"'), Some(b'"')) if bytes.len() > 1 => {
            let mut out = String::new();
            let mut chars = value[1..value.len() - 1].chars();
            while let Some(c) = chars.next() {
                out.extend(if c == '\\' { chars.next() } else { Some(c) });
            }
            out
        }
        _ => value.to_owned(),
    }
}
