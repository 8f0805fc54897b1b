//! The whole check.

use std::collections::BTreeSet;

use tree::{ContentError, Tree, TreeError};

use crate::acceptance::{Acceptance, acceptance};
use crate::layer::Layer;
use crate::report::{ExtensionReport, HierarchyReport, HostReport, Report};
use crate::rules::{MERGE_ABORTED, NOT_MERGED, SAME_NAME};
use crate::units::Units;
use crate::{
    Extension, Finding, Host, Severity, accounts, compare_versions, hidden, late, libraries, merge, names,
    requirements, services, stack,
};

/// Options of the check.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Names of rules whose errors are warnings.
    pub allow: BTreeSet<String>,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// A file of the host or of an extension can't be read.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The merged tree can't be made.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// What the extensions do to the host.
///
/// # Errors
/// Content can't be read.
pub fn check(host: &Host, extensions: &[Extension<'_>], options: &Options) -> Result<Report, CheckError> {
    let mut order: Vec<&Extension<'_>> = extensions.iter().collect();
    order.sort_by(|a, b| compare_versions(a.name.as_str(), b.name.as_str()));
    let mut findings = Vec::new();
    for pair in order.windows(2).filter(|pair| pair[0].name == pair[1].name) {
        let message = format!("two extensions are called {}: systemd-sysext takes one of them", pair[0].name);
        findings.push(SAME_NAME.finding(Some(pair[0].name.as_str()), None, message));
    }
    let mut reports = Vec::new();
    let mut accepted: Vec<Layer<'_>> = Vec::new();
    for extension in &order {
        let acceptance = acceptance(host, extension)?;
        let name = Some(extension.name.as_str());
        match &acceptance {
            Acceptance::Merged => accepted.push(Layer::new(extension)),
            Acceptance::Ignored(why) => {
                findings.push(NOT_MERGED.finding(name, None, format!("isn't merged: {why}")))
            }
            Acceptance::Aborts(why) => {
                let message = format!("nothing is merged, none of the other extensions either: {why}");
                findings.push(MERGE_ABORTED.finding(name, None, message));
            }
        }
        reports.push(ExtensionReport::new(extension, &acceptance));
    }
    let names: Vec<&str> = accepted.iter().map(|e| e.name.as_str()).collect();
    let trees: Vec<&Tree> = accepted.iter().map(|e| e.tree).collect();
    let merged = merge(&host.tree, &trees)?;
    let units = host.units();
    let now = Units::of(&merged.tree);
    findings.extend(stack::findings(host, units, &merged, &names));
    findings.extend(hidden::findings(host, &merged, &accepted));
    findings.extend(libraries::findings(host, &merged, &accepted));
    let (of_units, starts) = services::findings(host, units, &merged, &now, &accepted)?;
    findings.extend(of_units);
    findings.extend(names::findings(&merged, &now, &accepted));
    findings.extend(requirements::findings(host, &merged, &now, &accepted));
    findings.extend(accounts::findings(host, units, &accepted)?);
    findings.extend(late::findings(host, units, &merged, &accepted)?);
    let hierarchies = merged.hierarchies.iter().map(|h| HierarchyReport::new(h, &names)).collect();
    sort(&mut findings, &options.allow);
    Ok(Report { host: HostReport::new(host), extensions: reports, hierarchies, starts, findings })
}

/// Makes warnings of errors that are allowed, and puts the worst first.
fn sort(findings: &mut [Finding], allow: &BTreeSet<String>) {
    for finding in findings.iter_mut().filter(|f| allow.contains(f.rule)) {
        finding.severity = finding.severity.min(Severity::Warning);
    }
    let place = |f: &Finding| crate::RULES.iter().position(|r| r.name == f.rule);
    findings.sort_by(|a, b| {
        let key = |f: &Finding| (std::cmp::Reverse(f.severity), place(f));
        key(a).cmp(&key(b)).then_with(|| (&a.extension, &a.path).cmp(&(&b.extension, &b.path)))
    });
}
