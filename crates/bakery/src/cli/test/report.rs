//! What came of it, for people and scripts.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tree::Arch;

use super::subject::Subject;
use sysext::merge_test::{MergeTestError, Report, TestResult};

/// Lines of a failed test's output that are shown.
const LINES: usize = 20;

/// What came of one extension.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    name: String,
    version: Option<String>,
    arch: Arch,
    known: bool,
    /// What systemd-sysext said when it didn't merge it.
    refused: Option<String>,
    results: Vec<TestResult>,
}

impl Outcome {
    pub(super) fn failures(&self) -> usize {
        usize::from(self.refused.is_some()) + self.results.iter().filter(|r| !r.passed()).count()
    }
}

/// Gives each of a group's extensions its own tests' results.
///
/// # Errors
/// There are none, for another reason than the extensions.
pub(super) fn outcomes(
    group: &[&Subject],
    report: Result<Report, MergeTestError>,
) -> Result<Vec<Outcome>, MergeTestError> {
    let (refused, results) = match report {
        Ok(report) => (None, report.results),
        Err(e @ MergeTestError::Merge { .. }) => (Some(e.to_string()), Vec::new()),
        Err(e) => return Err(e),
    };
    let mut results = results.into_iter();
    let outcome = |(i, subject): (usize, &&Subject)| Outcome {
        name: subject.name.to_string(),
        version: subject.version.as_ref().map(ToString::to_string),
        arch: subject.arch,
        known: subject.known,
        // Of a set that can't be merged it is told once.
        refused: refused.clone().filter(|_| i == 0),
        results: results.by_ref().take(subject.tests.len()).collect(),
    };
    Ok(group.iter().enumerate().map(outcome).collect())
}

/// A row: extension, version, result, test.
type Row = [String; 4];

/// A table, and what failed in full.
pub(super) fn text(outcomes: &[Outcome]) -> String {
    let mut rows: Vec<Row> = vec![["EXTENSION", "VERSION", "RESULT", "TEST"].map(str::to_owned)];
    for outcome in outcomes {
        let version = outcome.version.clone().unwrap_or_else(|| "-".to_owned());
        let mut row = |result: &str, test: String| {
            rows.push([outcome.name.clone(), version.clone(), result.to_owned(), test]);
        };
        for result in &outcome.results {
            row(if result.passed() { "passed" } else { "FAILED" }, one_line(&result.test.run));
        }
        match &outcome.refused {
            Some(_) => row("FAILED", "is merged".to_owned()),
            None if outcome.results.is_empty() && outcome.known => {
                row("merged", "its recipe has no tests".into())
            }
            None if outcome.results.is_empty() => row("merged", "no recipe has its name: no tests".into()),
            None => {}
        }
    }
    let mut out = table(&rows);
    for outcome in outcomes {
        let refused = outcome.refused.iter().cloned();
        let failed = outcome.results.iter().filter(|r| !r.passed()).map(|r| complaint(outcome, r));
        for text in refused.chain(failed) {
            let _ = write!(out, "\n{}\n", text.trim_end());
        }
    }
    let count = outcomes.iter().map(|o| o.results.len()).sum::<usize>();
    let passed = outcomes.iter().flat_map(|o| &o.results).filter(|r| r.passed()).count();
    let _ = writeln!(out, "\n{passed} of {count} tests passed");
    out
}

fn complaint(outcome: &Outcome, result: &TestResult) -> String {
    let mut out = format!("{}: {}\n", outcome.name, one_line(&result.test.run));
    let status = match result.status {
        0 => String::new(),
        status => format!("status {status}, expected 0; "),
    };
    let missing = result.test.expect.as_ref().filter(|e| !result.output.contains(e.as_str()));
    let missing = missing.map(|e| format!("{e:?} expected in the output; ")).unwrap_or_default();
    let _ = writeln!(out, "  {status}{missing}it printed:");
    let lines: Vec<&str> = result.output.lines().collect();
    let from = lines.len().saturating_sub(LINES);
    if from > 0 {
        let _ = writeln!(out, "  | … {from} lines before");
    }
    if lines.is_empty() {
        out.push_str("  | (nothing)\n");
    }
    lines[from..].iter().for_each(|line| {
        let _ = writeln!(out, "  | {}", line.escape_debug());
    });
    out
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn table(rows: &[Row]) -> String {
    let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let line = |row: &Row| {
        let cells = widths.iter().zip(row).map(|(w, cell)| format!("{cell:w$}  "));
        format!("{}{}\n", cells.collect::<String>(), row[3])
    };
    rows.iter().map(line).collect()
}

/// An array of objects.
pub(super) fn json(outcomes: &[Outcome]) -> String {
    let test = |r: &TestResult| {
        json!({
            "run": r.test.run, "expect": r.test.expect, "status": r.status, "output": r.output, "passed": r.passed(),
        })
    };
    let one = |o: &Outcome| {
        json!({
            "name": o.name, "version": o.version, "arch": o.arch.systemd(), "passed": o.failures() == 0,
            "error": o.refused, "tests": o.results.iter().map(test).collect::<Vec<_>>(),
        })
    };
    format!("{:#}\n", outcomes.iter().map(one).collect::<Value>())
}

/// What would be done.
pub(super) fn plan(subjects: &[Subject]) -> String {
    let mut out = String::new();
    for subject in subjects {
        let _ = writeln!(out, "{}: {}", subject.title(), subject.image.display());
        for (name, image) in subject.requires() {
            let _ = writeln!(out, "  with {name}: {}", image.display());
        }
        for test in &subject.tests {
            let _ = writeln!(out, "  {}", one_line(&test.run));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use sysext::merge_test::Test;

    #[test]
    fn a_table_and_what_failed() {
        let result = |run: &str, expect: Option<&str>, status, output: &str| TestResult {
            test: Test { run: run.into(), expect: expect.map(Into::into) },
            status,
            output: output.into(),
        };
        let outcome = |name: &str, known, results| Outcome {
            name: name.into(),
            version: Some("1.2".into()),
            arch: Arch::X86_64,
            known,
            refused: None,
            results,
        };
        let results = vec![
            result("x --version", Some("1.2"), 0, "x 1.2\n"),
            result("x\n  run", Some("up"), 3, "down\n\u{1b}[31mred\n"),
        ];
        let mut refused = outcome("z", true, Vec::new());
        refused.refused = Some("z can't be merged into \"/\": no".into());
        let outcomes = [
            outcome("x", true, results),
            outcome("long-name", true, vec![]),
            outcome("y", false, vec![]),
            refused,
        ];
        insta::assert_snapshot!(text(&outcomes));
        assert_eq!(outcomes.iter().map(Outcome::failures).sum::<usize>(), 2);
        let value: Value = serde_json::from_str(&json(&outcomes)).unwrap();
        assert_eq!(value[0]["tests"][1]["status"], 3);
        assert_eq!(value[3]["passed"], false);
    }
}
