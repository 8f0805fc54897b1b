//! Building for a host: what it has already is left out, what it would hide is refused, and its policy labels the files.

use std::collections::{BTreeMap, BTreeSet};

use selinux::{ContextsError, FileContexts};
use sysext::extension::{Finding, rule};
use sysext::{Extension, ExtensionError};
use tree::{Event, Events, TreeError, TreePath, list_some};

use crate::overlay::{Change, Hidden};
use crate::{Host, Severity, hidden, merge};

/// The rule of [`sysext`] that a file of a host breaks which would be hidden.
const HOST_FILE: &str = "host-file";
/// Paths that are named in a note.
const NAMED: usize = 3;

/// What an extension is built for.
#[derive(Debug, Default)]
pub struct Target {
    /// Files that this host has with the same content are left out, and other files of it aren't hidden.
    pub host: Option<Host>,
    /// Labels of files.
    pub contexts: Option<FileContexts>,
}

/// Why an extension isn't made for a host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// It would hide files of the host.
    #[error(transparent)]
    Extension(#[from] ExtensionError),
    /// The policy can't be applied.
    #[error(transparent)]
    Contexts(#[from] ContextsError),
    /// The merged tree can't be made.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl Target {
    /// Makes an extension one for this target. `allow`: names of rules whose errors are warnings. Reports what was left out
    /// and what has no label.
    ///
    /// # Errors
    /// It would hide files of the host that have other content, or the policy has a pattern that isn't supported.
    pub fn apply(
        &self,
        extension: &mut Extension,
        allow: &BTreeSet<String>,
        events: &dyn Events,
    ) -> Result<(), TargetError> {
        if let Some(host) = &self.host {
            fit(extension, host, allow, events)?;
        }
        if let Some(contexts) = &self.contexts {
            label(extension, contexts, events)?;
        }
        Ok(())
    }
}

fn fit(
    extension: &mut Extension,
    host: &Host,
    allow: &BTreeSet<String>,
    events: &dyn Events,
) -> Result<(), TargetError> {
    let merged = merge(&host.tree, &[extension.tree()])?;
    let mut by_path: BTreeMap<&TreePath, Vec<&Hidden>> = BTreeMap::new();
    for hidden in &merged.hidden {
        by_path.entry(&hidden.path).or_default().push(hidden);
    }
    // What was read without its modes and owners has none that could differ.
    let is_same = |hidden: &Hidden| match &hidden.change {
        Change::Same => true,
        Change::Mode { .. } | Change::Ids { .. } | Change::Attributes(_) => !host.notes.is_empty(),
        _ => false,
    };
    let mut same = BTreeSet::new();
    let mut findings = Vec::new();
    let name = extension.name().clone();
    for (path, all) in by_path {
        let other: Vec<&&Hidden> = all.iter().filter(|hidden| !is_same(hidden)).collect();
        if other.is_empty() && !all.iter().any(|hidden| hidden.is_directory) {
            same.insert(path.clone());
        }
        for hidden in other {
            let found = hidden::finding(hidden, &[name.as_str()]);
            if found.severity == Severity::Note {
                continue;
            }
            let is_error = found.severity == Severity::Error && !allow.contains(HOST_FILE);
            let severity = match is_error {
                true => sysext::extension::Severity::Error,
                false => sysext::extension::Severity::Warning,
            };
            let rule = rule(HOST_FILE).map_or(HOST_FILE, |rule| rule.name);
            findings.push(Finding { rule, severity, path: Some(path.clone()), message: found.message });
        }
    }
    if findings.iter().any(|f| f.severity == sysext::extension::Severity::Error) {
        return Err(ExtensionError::Refused { name, findings }.into());
    }
    for finding in &findings {
        events.event(Event::Warning(finding.to_string().into()));
    }
    let left_out: BTreeSet<TreePath> =
        same.into_iter().filter(|path| extension.tree().get(path).is_some_and(|n| !n.is_dir())).collect();
    if !left_out.is_empty() {
        let (n, list) = (left_out.len(), list_some(&left_out, NAMED));
        let files = if n == 1 { "file" } else { "files" };
        events.event(Event::Note(format!("{n} {files} left out, which the host has: {list}").into()));
        extension.leave_out(&left_out);
    }
    Ok(())
}

fn label(
    extension: &mut Extension,
    contexts: &FileContexts,
    events: &dyn Events,
) -> Result<(), ContextsError> {
    let found = extension.label(contexts)?;
    let source = &contexts.sources().name;
    if !found.without.is_empty() {
        let list = list_some(&found.without, NAMED);
        events.event(Event::Warning(format!("{source}: has no label for {list}").into()));
    }
    for (first, other) in found.conflicts.iter().take(NAMED) {
        let text = format!(
            "{source}: labels {other} as another file than {first}, and they are one: it has the first one's label"
        );
        events.event(Event::Warning(text.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
