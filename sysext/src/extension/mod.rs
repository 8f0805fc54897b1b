//! System extensions: a tree that may become an image.
//!
//! [`Extension::new`] is the only way to one: it makes owners, times and the modes of shared directories what they have
//! to be, writes the release file, and checks all that is known to break a host ([`RULES`]). Two ways have no rule, since
//! no tree shows them: SELinux labels, which have to be there when the image is made if the host enforces them
//! (systemd#41574), and hosts whose /usr is a composefs, where the kernel's depth of stacked overlays is exceeded.

mod name;
pub use name::{ExtensionName, NameError};

mod release;
pub use release::{Release, ReleaseError};

mod rules;
pub use rules::{Finding, RULES, Rule, Severity, rule};

mod libraries;
pub use libraries::HostLibrary;

pub mod moved;
pub mod unit_programs;
pub mod units;

pub mod accounts;
pub mod late;

mod findings;
mod lint;
pub use lint::HOST_SYMLINKS;
pub(crate) use lint::program_problem;
mod normal;
mod times;
pub use times::pyc::resized;
mod users;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use findings::Findings;

use selinux::{ContextsError, FileContexts, Labelled};

use image::{ImageError, ImageOptions, Volume, Written};
use tree::{ContentError, Events, Meta, Node, PathError, StaticPath, Tree, TreeError, TreePath};

/// A tree that was checked and completed, with the name and the release file under which it merges.
#[derive(Debug, Clone)]
pub struct Extension {
    tree: Tree,
    name: ExtensionName,
    release: Release,
    epoch: i64,
    findings: Vec<Finding>,
}

/// Options for [`Extension::new`].
#[derive(Debug, Clone, Default)]
pub struct ExtensionOptions {
    /// The time of all files. Seconds since the epoch; SOURCE_DATE_EPOCH.
    pub epoch: i64,
    /// Names of rules whose errors become warnings.
    pub allow: BTreeSet<String>,
    /// Findings of the caller, treated like those of this crate. `needs-host-libraries` comes this way: it takes reading
    /// ELF files, which `Extension::new` doesn't do.
    pub findings: Vec<Finding>,
}

/// Why a tree is no extension.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ExtensionError {
    /// Rules were broken; the errors among the findings, and the warnings beside them.
    #[error("extension {name} is refused:{}", Lines(findings))]
    Refused {
        name: ExtensionName,
        /// What was found: at least one error.
        findings: Vec<Finding>,
    },
    /// A rule to be allowed isn't there.
    #[error("rule {0:?} is unknown")]
    UnknownRule(String),
    /// A rule to be allowed can't be.
    #[error("rule {0:?} can't be allowed: {about}", about = rule(.0).map_or("", |r| r.about))]
    NotAllowable(String),
    /// A field of the release file is not of its form.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The release file has no place.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The name makes no path of a release file.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A file could not be read for the checks.
    #[error("{path}: {source}")]
    Content { path: TreePath, source: ContentError },
}

struct Lines<'a>(&'a [Finding]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors: Vec<_> = self.0.iter().filter(|e| e.severity == Severity::Error).collect();
        match errors.as_slice() {
            [one] => write!(f, " {one}"),
            many => many.iter().try_for_each(|finding| write!(f, "\n  {finding}")),
        }
    }
}

/// `/usr/lib/extension-release.d`. UAPI.4.
const RELEASE_DIR: StaticPath = StaticPath::new("/usr/lib/extension-release.d");

impl Extension {
    /// Makes an extension of `tree`: everything root:root, of one time, set-id bits of other owners dropped, attributes
    /// that mean nothing outside their system dropped, the release file written. What is dropped is a finding.
    ///
    /// # Errors
    /// [`ExtensionError::Refused`] if a rule is broken that is an error and not allowed; values that no release file
    /// takes; names of rules that are none; unreadable content.
    pub fn new(
        mut tree: Tree,
        name: ExtensionName,
        release: Release,
        options: &ExtensionOptions,
    ) -> Result<Self, ExtensionError> {
        release.check()?;
        for allowed in &options.allow {
            let rule = rule(allowed).ok_or_else(|| ExtensionError::UnknownRule(allowed.clone()))?;
            if !rule.allowable {
                return Err(ExtensionError::NotAllowable(allowed.clone()));
            }
        }
        let mut lint = Findings::new(&options.allow);
        for finding in &options.findings {
            lint.take(finding.clone());
        }
        lint::places(&tree, &mut lint);
        lint::release(&tree, &name, &release, &mut lint);
        if !lint.has_fatal() {
            times::follow(&mut tree, options.epoch)?;
            normal::normalise(&mut tree, options.epoch, &mut lint);
            let file = RELEASE_DIR.path().join(name.release_file_name())?;
            let mut node = Node::file(0o644, release.text());
            node.meta.mtime = options.epoch;
            let parent = Meta { mtime: options.epoch, ..Meta::dir() };
            tree.insert_all(file, node, &parent)?;
            lint::contents(&tree, &release, &mut lint)?;
        }
        let findings = lint.finish();
        if findings.iter().any(|f| f.severity == Severity::Error) {
            return Err(ExtensionError::Refused { name, findings });
        }
        Ok(Extension { tree, name, release, epoch: options.epoch, findings })
    }

    /// The tree, complete with the release file.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The name.
    pub fn name(&self) -> &ExtensionName {
        &self.name
    }

    /// The release file's fields.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// The time of all files. Seconds since the epoch.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Takes out files that its host has already, and the directories in which nothing is left. The release file stays.
    pub fn leave_out(&mut self, paths: &BTreeSet<TreePath>) {
        let release = RELEASE_DIR.path();
        for path in paths.iter().filter(|path| !path.starts_with(&release)) {
            if self.tree.get(path).is_none_or(Node::is_dir) {
                continue;
            }
            self.tree.remove(path);
            let mut dir = path.parent();
            while let Some(empty) = dir.filter(|dir| self.tree.children(dir).next().is_none()) {
                self.tree.remove(&empty);
                dir = empty.parent();
            }
        }
    }

    /// Gives all its files the SELinux labels of a policy. What labels there were are gone.
    ///
    /// # Errors
    /// The policy has a pattern that isn't supported, and that may be one of a file's.
    pub fn label(&mut self, contexts: &FileContexts) -> Result<Labelled, ContextsError> {
        selinux::label(&mut self.tree, contexts)
    }

    /// What the writers of images take.
    pub fn volume(&self) -> Volume<'_> {
        let architecture = self.release.architecture;
        Volume { tree: &self.tree, name: self.name.as_str(), architecture, epoch: self.epoch }
    }

    /// Writes its image to `path`, replacing a file there.
    ///
    /// # Errors
    /// As [`image::write`].
    pub fn write_image(
        &self,
        path: &Path,
        options: &ImageOptions,
        events: &dyn Events,
    ) -> Result<Written, ImageError> {
        image::write(self.volume(), path, options, events)
    }

    /// Warnings: what was found and didn't keep the extension from being made.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

#[cfg(test)]
mod tests;
