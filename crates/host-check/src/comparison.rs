//! What changes between two hosts: a release and the one before.

use std::fmt::Write as _;

use serde::Serialize;

use crate::report::grouped;
use crate::{Finding, HostReport, Report, Severity};

/// How what extensions do to one host differs from what they do to another. Can be serialised as JSON.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Comparison {
    /// The host before.
    pub old: HostReport,
    /// The host now.
    pub new: HostReport,
    /// Extensions that were merged and aren't any more.
    pub lost: Vec<String>,
    /// Found now, and not before.
    pub appeared: Vec<Finding>,
    /// Found before, and not now.
    pub gone: Vec<Finding>,
}

impl Comparison {
    /// Compares two reports on the same extensions.
    pub fn new(old: &Report, new: &Report) -> Comparison {
        let lacks = |report: &Report, finding: &Finding| !report.findings.contains(finding);
        let merged =
            |report: &Report, name: &str| report.extensions.iter().any(|e| e.merged && e.name == name);
        let lost = old.extensions.iter().filter(|e| e.merged && !merged(new, &e.name));
        Comparison {
            old: old.host.clone(),
            new: new.host.clone(),
            lost: lost.map(|e| e.name.clone()).collect(),
            appeared: new.findings.iter().filter(|f| lacks(old, f)).cloned().collect(),
            gone: old.findings.iter().filter(|f| lacks(new, f)).cloned().collect(),
        }
    }

    /// Number of findings of a severity that weren't there before.
    pub fn count(&self, severity: Severity) -> usize {
        self.appeared.iter().filter(|f| f.severity == severity).count()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "host {}\n  before: {}\n  now: {}",
            self.new.name,
            self.old.text(),
            self.new.text()
        );
        for name in &self.lost {
            let _ = writeln!(out, "  {name} was merged, and isn't any more");
        }
        if self.appeared.is_empty() && self.gone.is_empty() {
            out += "nothing changes for the extensions\n";
        }
        for (title, findings) in [("New:\n", &self.appeared), ("Gone:\n", &self.gone)] {
            if !findings.is_empty() {
                out += title;
                grouped(findings, &mut out);
            }
        }
        out
    }
}
