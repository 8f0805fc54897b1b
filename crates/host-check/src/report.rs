//! What the check says, for people and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::overlay::Hierarchy;
use crate::rules::clean;
use crate::{Acceptance, Extension, Finding, Host, Severity, stack};

/// Paths of one rule and one extension that are listed for people; the rest are counted.
const SHOWN: usize = 5;

/// All that the check found. Can be serialised as JSON.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The host.
    pub host: HostReport,
    /// The extensions in the order of their layers, the lowest first.
    pub extensions: Vec<ExtensionReport>,
    /// The overlays that the merge mounts.
    pub hierarchies: Vec<HierarchyReport>,
    /// What starts by itself.
    pub starts: Vec<StartReport>,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
}

/// What is known of the host.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostReport {
    /// As the caller calls it.
    pub name: String,
    /// `ID=` of os-release(5).
    pub id: Option<String>,
    /// `VERSION_ID=` of os-release(5).
    pub version_id: Option<String>,
    /// In systemd's words: `x86-64`.
    pub architecture: Option<&'static str>,
    /// The version of systemd.
    pub systemd: Option<u32>,
}

/// What becomes of an extension.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExtensionReport {
    /// The name under which it is merged.
    pub name: String,
    /// Whether it is merged.
    pub merged: bool,
    /// Why it isn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Bytes of the image; 0 for a directory.
    pub size: u64,
    /// Number of files that aren't directories.
    pub files: usize,
}

/// An overlay.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct HierarchyReport {
    /// Where it is mounted.
    pub path: String,
    /// The extensions in it, the lowest first.
    pub layers: Vec<String>,
    /// Files and directories of the host's in it.
    pub host_files: usize,
    /// Bytes of the overlay's options. mount(2) takes fewer than 4096 at once.
    pub option_bytes: usize,
}

/// A unit that an extension has started.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StartReport {
    /// The unit.
    pub unit: String,
    /// By which dependency: `Upholds= of multi-user.target`.
    pub by: String,
    /// The extension that says so.
    pub extension: String,
}

impl HostReport {
    pub(crate) fn new(host: &Host) -> HostReport {
        HostReport {
            name: host.name.clone(),
            id: host.field("ID").map(clean),
            version_id: host.field("VERSION_ID").map(clean),
            architecture: host.architecture.map(tree::Arch::systemd),
            systemd: host.systemd,
        }
    }

    /// `debian, 13, x86-64, systemd 257`.
    pub(crate) fn text(&self) -> String {
        let words = [self.id.clone(), self.version_id.clone(), self.architecture.map(str::to_owned)];
        let mut words: Vec<String> = words.into_iter().flatten().collect();
        words.extend(self.systemd.map(|v| format!("systemd {v}")));
        words.join(", ")
    }
}

impl ExtensionReport {
    pub(crate) fn new(extension: &Extension<'_>, acceptance: &Acceptance) -> ExtensionReport {
        let reason = match acceptance {
            Acceptance::Merged => None,
            Acceptance::Ignored(why) | Acceptance::Aborts(why) => Some(clean(why)),
        };
        ExtensionReport {
            name: extension.name.to_string(),
            merged: reason.is_none(),
            reason,
            size: extension.size,
            files: extension.tree.iter().filter(|(_, n)| !n.is_dir()).count(),
        }
    }
}

impl HierarchyReport {
    pub(crate) fn new(hierarchy: &Hierarchy, names: &[&str]) -> HierarchyReport {
        let layers = hierarchy.layers.iter().filter_map(|i| names.get(*i));
        HierarchyReport {
            path: hierarchy.path.to_string(),
            layers: layers.map(|n| (*n).to_owned()).collect(),
            host_files: hierarchy.host_files,
            option_bytes: stack::option_bytes(hierarchy, names),
        }
    }
}

impl Report {
    /// The worst that was found; none if nothing was.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|f| f.severity).max()
    }

    /// Number of findings of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|f| f.severity == severity).count()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let about = self.host.text();
        let about = if about.is_empty() { "no os-release" } else { &about };
        let _ = writeln!(out, "host {}: {about}", self.host.name);
        for extension in &self.extensions {
            let _ = match &extension.reason {
                None => writeln!(out, "  {}: merged, {} files", extension.name, extension.files),
                Some(why) => writeln!(out, "  {}: NOT merged: {why}", extension.name),
            };
        }
        for hierarchy in &self.hierarchies {
            let _ = writeln!(out, "  {}: {}", hierarchy.path, hierarchy.layers.join(" < "));
        }
        for start in &self.starts {
            let _ = writeln!(out, "  starts {}: {} ({})", start.unit, start.by, start.extension);
        }
        grouped(&self.findings, &mut out);
        let count = |severity| match self.count(severity) {
            1 => format!("1 {severity}"),
            n => format!("{n} {severity}s"),
        };
        let all = [Severity::Error, Severity::Warning, Severity::Note].map(count);
        let _ = writeln!(out, "{}", all.join(", "));
        out
    }
}

/// One block for each rule and extension.
pub(crate) fn grouped(findings: &[Finding], out: &mut String) {
    let same =
        |a: &Finding, b: &Finding| (a.severity, a.rule, &a.extension) == (b.severity, b.rule, &b.extension);
    for group in findings.chunk_by(same) {
        for finding in group.iter().take(SHOWN) {
            let by = finding.extension.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
            let _ = writeln!(out, "{}: {by}{finding}", finding.severity);
        }
        if let (Some(more @ 1..), [first, ..]) = (group.len().checked_sub(SHOWN), group) {
            let by = first.extension.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
            let _ = writeln!(out, "{}: {by}and {more} more like these [{}]", first.severity, first.rule);
        }
    }
}
