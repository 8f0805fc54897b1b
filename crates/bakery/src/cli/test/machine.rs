//! The same in a machine that has booted: a script for it, and what its output means.

use std::fmt::Write as _;

use sysext::merge_test::{MergeTest, MergeTestError, OUTPUT_MAX, Report, TestResult};

/// Begins the lines that aren't a test's output. Control characters stay off: consoles take them for their own.
const MARK: &str = "@@bakery-test ";

/// For `sh`, in a machine that has found all extensions merged: runs the tests.
pub(super) fn script(test: &MergeTest) -> String {
    let mut out = String::from("exec 2>&1 </dev/null\nexport LANG=C.UTF-8 HOME=/root\n");
    for case in &test.tests {
        let run = case.run.replace('\'', r"'\''");
        // In a shell of its own: a test may exit.
        let _ = writeln!(out, "/bin/sh -c '{run}'\nprintf '\\n{MARK}%s\\n' $?");
    }
    out
}

/// What the machine's systemd-sysext has against the extensions.
pub(super) fn refused(test: &MergeTest, said: &str) -> MergeTestError {
    let names: Vec<String> = test.images.iter().map(|(n, _)| n.to_string()).collect();
    MergeTestError::Merge {
        names: names.join(", "),
        root: "the machine".into(),
        said: said.trim().to_owned(),
    }
}

/// Makes a report of what the script printed.
///
/// # Errors
/// The output ends too early.
pub(super) fn read(test: &MergeTest, output: &str) -> Result<Report, MergeTestError> {
    let output = output.replace('\r', "");
    let mut results = Vec::new();
    let mut rest = output.as_str();
    for case in &test.tests {
        let mark = format!("\n{MARK}");
        let Some((text, after)) = rest.split_once(&mark) else {
            return Err(refused(test, &format!("the tests ended early: {rest}")));
        };
        let (status, after) = after.split_once('\n').unwrap_or((after, ""));
        rest = after;
        let end = text.floor_char_boundary(text.len().min(OUTPUT_MAX));
        let status = status.trim();
        let status =
            status.parse().map_err(|_| refused(test, &format!("a test ended with status {status:?}")))?;
        let output = text[..end].to_owned();
        results.push(TestResult { test: case.clone(), status, output });
    }
    Ok(Report { merge: String::new(), results })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sysext::merge_test::Test;

    fn merge_test(runs: &[&str]) -> MergeTest {
        let tests = runs.iter().map(|run| Test { run: (*run).to_owned(), expect: None }).collect();
        MergeTest { root: "/".into(), images: vec![("x".parse().unwrap(), "x.raw".into())], tests }
    }

    /// By this machine's shell.
    fn run(script: &str) -> String {
        let out = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }

    #[test]
    fn each_test_has_its_output_and_status() {
        let test = merge_test(&["echo \"it's\" 'a b'", "echo no >&2; exit 3", "printf none; kill -9 $$"]);
        let report = read(&test, &run(&script(&test))).unwrap();
        let got: Vec<(i32, &str)> =
            report.results.iter().map(|r| (r.status, r.output.trim_end_matches("Killed\n"))).collect();
        assert_eq!(got, [(0, "it's a b\n"), (3, "no\n"), (137, "none")]);
    }

    #[test]
    fn what_was_broken_off_is_told() {
        let test = merge_test(&["true", "true"]);
        let told = read(&test, "\n@@bakery-test 0\nKernel panic").unwrap_err().to_string();
        assert!(told.contains("ended early: Kernel panic"), "{told}");
    }
}
