//! What was made, as text and as JSON.

use std::fmt::Write as _;

use elf::closure::Reason;
use flix::Explanation;
use flix::plan::{Action, Entry, Plan, Unbundled, UnbundledKind, Why};
use image::Written;
use run_check::Outcome;
use serde::Serialize;
use sysext::Extension;
use tree::TreePath;

use super::warnings::about;
use crate::args::written_line;

pub(super) struct Report<'a> {
    pub plan: &'a Plan,
    /// What was made of it.
    pub extension: &'a Extension,
    /// What came of the commands that were tried.
    pub checked: &'a [Outcome],
    /// The package that a file of the image belongs to.
    pub owner: &'a dyn Fn(&TreePath) -> Option<String>,
    /// The image; none after a dry run.
    pub written: Option<&'a Written>,
}

#[derive(Serialize)]
struct Json<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Image<'a>>,
    release: String,
    sysroot: String,
    files: Vec<File>,
    unbundled: Vec<UnbundledJson>,
    checked: serde_json::Value,
    notes: &'a [String],
    warnings: Vec<String>,
}

/// What a program looks for at run time and the extension lacks.
#[derive(Serialize)]
struct UnbundledJson {
    by: String,
    kind: &'static str,
    likely: bool,
    paths: Vec<String>,
}

#[derive(Serialize)]
struct Image<'a> {
    path: String,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_hash: Option<&'a str>,
}

#[derive(Serialize)]
struct File {
    path: String,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// The package of the image that the source belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interpreter: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rpath: Option<Vec<String>>,
    bytes: u64,
    why: Vec<Because>,
}

#[derive(Serialize)]
struct Because {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

impl Report<'_> {
    /// For people: the plan if nothing was written, the reasons if asked for, one line on the image unless `quiet`.
    pub(super) fn text(&self, dry_run: bool, quiet: bool, explanation: Option<&Explanation>) -> String {
        let mut out = String::new();
        match explanation {
            Some(explanation) => _ = write!(out, "{explanation}"),
            None if dry_run => _ = write!(out, "{}", self.plan),
            None => {}
        }
        if let Some(written) = self.written.filter(|_| !quiet) {
            out += &written_line(written);
        }
        out
    }

    /// For programs.
    ///
    /// # Errors
    /// None in practice; the serialiser's.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        let tree = self.extension.tree();
        let file = |(path, entry): (&TreePath, &Entry)| {
            let (interpreter, rpath) = match &entry.action {
                Action::Relocate(r) => (
                    r.interpreter.as_ref().map(TreePath::to_string),
                    Some(r.rpath.iter().map(TreePath::to_string).collect()),
                ),
                _ => (None, None),
            };
            let target = match &entry.action {
                Action::Symlink(target) => Some(target.escape_ascii().to_string()),
                _ => None,
            };
            File {
                path: path.to_string(),
                action: entry.action.verb(),
                source: entry.source.as_ref().map(TreePath::to_string),
                package: entry.source.as_ref().and_then(self.owner),
                target,
                interpreter,
                rpath,
                bytes: tree.get(path).and_then(|n| n.content()).map_or(0, tree::Content::len),
                why: entry.why.iter().map(because).collect(),
            }
        };
        let mut warnings = self.plan.warnings.clone();
        warnings.extend(self.plan.unbundled.iter().filter(|u| u.is_likely).map(about));
        warnings.extend(self.extension.findings().iter().map(ToString::to_string));
        let json = Json {
            name: self.extension.name().as_str(),
            image: self.written.map(|w| Image {
                path: w.path.to_string_lossy().into_owned(),
                bytes: w.bytes,
                sha256: w.sha256.as_deref(),
                root_hash: w.root_hash.as_deref(),
            }),
            release: self.extension.release().text(),
            sysroot: self.plan.sysroot.to_string(),
            files: self.plan.entries.iter().map(file).collect(),
            unbundled: self.plan.unbundled.iter().map(unbundled).collect(),
            checked: crate::run_check::json(self.checked),
            notes: &self.plan.notes,
            warnings,
        };
        let mut text = serde_json::to_string_pretty(&json)?;
        text.push('\n');
        Ok(text)
    }
}

fn unbundled(unbundled: &Unbundled) -> UnbundledJson {
    let kind = match unbundled.kind {
        UnbundledKind::Data => "data",
        UnbundledKind::Programs => "programs",
        UnbundledKind::Libraries => "libraries",
        UnbundledKind::Configuration => "configuration",
        UnbundledKind::Family(_) => "family",
        UnbundledKind::Siblings => "siblings",
    };
    UnbundledJson {
        by: unbundled.by.to_string(),
        kind,
        likely: unbundled.is_likely,
        paths: unbundled.paths.iter().map(TreePath::to_string).collect(),
    }
}

fn because(why: &Why) -> Because {
    let make = |kind, by: Option<&TreePath>, name: Option<&String>| Because {
        kind,
        by: by.map(TreePath::to_string),
        name: name.cloned(),
    };
    match why {
        Why::Asked(text) => make("asked", None, Some(text)),
        Why::Folder(text) => make("folder", None, Some(text)),
        Why::Selected(text) => make("selected", None, Some(text)),
        Why::Default(text) => make("default", None, Some(text)),
        Why::Target(link) => make("link-target", Some(link), None),
        Why::Name(of) => make("library-name", Some(of), None),
        Why::PathFile => make("loader-path-file", None, None),
        Why::Closure(reason) => match reason {
            Reason::Asked => make("root", None, None),
            Reason::Needed { by, name } => make("needed", Some(by), Some(name)),
            Reason::Loader { of } => make("loader", Some(of), None),
            Reason::Dlopen { by, feature } => make("dlopen", Some(by), Some(feature)),
            Reason::NameService { service } => make("name-service", None, Some(service)),
            Reason::Threads => make("thread-exit", None, None),
            Reason::Extra { text } => make("extra-lib", None, Some(text)),
            Reason::Variant { of } => make("variant", Some(of), None),
        },
    }
}
