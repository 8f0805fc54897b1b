//! What the checks find.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::{Finding, RULES, Rule, Severity, rule};
use tree::TreePath;

/// Maximum number of findings of a rule that are listed; the rest are counted.
const SHOWN: usize = 10;

/// What was found, with the severity that the caller gives it.
pub(super) struct Findings<'a> {
    allow: &'a BTreeSet<String>,
    findings: Vec<Finding>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(allow: &'a BTreeSet<String>) -> Self {
        Findings { allow, findings: Vec::new() }
    }

    pub(super) fn add(&mut self, rule: &Rule, path: Option<&TreePath>, message: impl Into<String>) {
        let path = path.cloned();
        self.take(Finding { rule: rule.name, severity: rule.severity, path, message: message.into() });
    }

    pub(super) fn take(&mut self, mut finding: Finding) {
        if self.allow.contains(finding.rule) {
            finding.severity = Severity::Warning;
        }
        self.findings.push(finding);
    }

    /// Whether something was found that leaves no tree to go on with.
    pub(super) fn has_fatal(&self) -> bool {
        self.findings.iter().any(|f| rule(f.rule).is_some_and(|r| !r.allowable))
    }

    /// The findings, errors first, then in the order of the checks, floods cut short.
    pub(super) fn finish(self) -> Vec<Finding> {
        let mut counts: BTreeMap<(&str, Severity), usize> = BTreeMap::new();
        let mut out: Vec<Finding> = Vec::new();
        for finding in self.findings {
            let count = counts.entry((finding.rule, finding.severity)).or_default();
            *count += 1;
            if *count <= SHOWN {
                out.push(finding);
            }
        }
        for ((rule, severity), count) in counts {
            if let Some(more) = count.checked_sub(SHOWN).filter(|&n| n > 0) {
                let message = format!("and {more} more like these");
                out.push(Finding { rule, severity, path: None, message });
            }
        }
        let order = |f: &Finding| RULES.iter().position(|r| r.name == f.rule).unwrap_or(RULES.len());
        out.sort_by_key(|f| (std::cmp::Reverse(f.severity), order(f)));
        out
    }
}
