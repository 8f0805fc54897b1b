//! Hosts and extensions as a table.

use host_check::{Extension, Host, Options, Report, Severity};
use serde::Serialize;

/// What each extension does to each host, alone.
#[derive(Debug, Default)]
pub(super) struct Matrix {
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    host: String,
    extensions: Vec<Cell>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Cell {
    name: String,
    merged: bool,
    errors: usize,
    warnings: usize,
    /// The rules of the errors.
    broken: Vec<&'static str>,
    /// The rules of the warnings.
    warned: Vec<&'static str>,
}

impl Matrix {
    /// Checks each extension alone.
    pub(super) fn add(
        &mut self,
        host: &Host,
        extensions: &[Extension<'_>],
        options: &Options,
    ) -> anyhow::Result<()> {
        let mut cells = Vec::new();
        for extension in extensions {
            let report = host_check::check(host, std::slice::from_ref(extension), options)?;
            cells.push(Cell::new(&report));
        }
        self.rows.push(Row { host: host.name.clone(), extensions: cells });
        Ok(())
    }

    /// Findings of a severity in all cells.
    pub(super) fn count(&self, severity: Severity) -> usize {
        let cells = self.rows.iter().flat_map(|row| &row.extensions);
        cells
            .map(|cell| match severity {
                Severity::Error => cell.errors,
                Severity::Warning => cell.warnings,
                Severity::Note => 0,
            })
            .sum()
    }

    pub(super) fn json(&self) -> anyhow::Result<String> {
        super::json(&self.rows)
    }

    /// A row for each extension, a column for each host.
    pub(super) fn markdown(&self) -> String {
        let escaped = |text: &str| text.replace('|', "\\|");
        let hosts: Vec<String> = self.rows.iter().map(|row| escaped(&row.host)).collect();
        let mut out = format!("| extension | {} |\n|---|{}\n", hosts.join(" | "), "---|".repeat(hosts.len()));
        let Some(first) = self.rows.first() else { return out };
        for (i, extension) in first.extensions.iter().enumerate() {
            let cells: Vec<String> =
                self.rows.iter().filter_map(|row| row.extensions.get(i)).map(Cell::text).collect();
            out += &format!("| {} | {} |\n", extension.name, cells.join(" | "));
        }
        out
    }
}

impl Cell {
    fn new(report: &Report) -> Cell {
        let rules = |severity| {
            let mut rules: Vec<&'static str> = Vec::new();
            for finding in report.findings.iter().filter(|f| f.severity == severity) {
                if !rules.contains(&finding.rule) {
                    rules.push(finding.rule);
                }
            }
            rules
        };
        let extension = report.extensions.first();
        Cell {
            name: extension.map(|e| e.name.clone()).unwrap_or_default(),
            merged: extension.is_some_and(|e| e.merged),
            errors: report.count(Severity::Error),
            warnings: report.count(Severity::Warning),
            broken: rules(Severity::Error),
            warned: rules(Severity::Warning),
        }
    }

    fn text(&self) -> String {
        match (self.merged, self.errors, self.warnings) {
            (false, ..) => "not merged".to_owned(),
            (true, 0, 0) => "ok".to_owned(),
            (true, 0, _) => format!("warnings: {}", self.warned.join(", ")),
            (true, ..) => format!("**errors**: {}", self.broken.join(", ")),
        }
    }
}
