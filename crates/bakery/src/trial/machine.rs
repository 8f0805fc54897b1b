//! The same in a machine that has booted: a script for it, and what its output means.

use std::fmt::Write as _;

use super::{OUTPUT_MAX, Report, TestResult, Trial, TrialError};

/// Begins the lines that aren't a test's output. Control characters stay off: consoles take them for their own.
const MARK: &str = "@@bakery-test ";

/// For `sh`, in a machine that has found all extensions merged ([`vm::inside`]): runs the tests.
pub fn script(trial: &Trial) -> String {
    let mut out = String::from("exec 2>&1 </dev/null\nexport LANG=C.UTF-8 HOME=/root\n");
    for test in &trial.tests {
        let run = test.run.replace('\'', r"'\''");
        // In a shell of its own: a test may exit.
        let _ = writeln!(out, "/bin/sh -c '{run}'\nprintf '\\n{MARK}%s\\n' $?");
    }
    out
}

/// What the machine's systemd-sysext has against the extensions.
pub fn refused(trial: &Trial, said: &str) -> TrialError {
    let names: Vec<String> = trial.images.iter().map(|(n, _)| n.to_string()).collect();
    TrialError::Merge { names: names.join(", "), root: "the machine".into(), said: said.trim().to_owned() }
}

/// Makes a report of what the script printed.
///
/// # Errors
/// The output ends too early.
pub fn read(trial: &Trial, output: &str) -> Result<Report, TrialError> {
    let output = output.replace('\r', "");
    let mut results = Vec::new();
    let mut rest = output.as_str();
    for test in &trial.tests {
        let mark = format!("\n{MARK}");
        let Some((text, after)) = rest.split_once(&mark) else {
            return Err(refused(trial, &format!("the tests ended early: {rest}")));
        };
        let (status, after) = after.split_once('\n').unwrap_or((after, ""));
        rest = after;
        let end = text.floor_char_boundary(text.len().min(OUTPUT_MAX));
        let (status, output) = (status.trim().parse().unwrap_or(-1), text[..end].to_owned());
        results.push(TestResult { test: test.clone(), status, output });
    }
    Ok(Report { merge: String::new(), results })
}

#[cfg(test)]
mod tests {
    use super::*;
    use recipes::recipe::instance::Test;

    fn trial(runs: &[&str]) -> Trial {
        let tests = runs.iter().map(|run| Test { run: (*run).to_owned(), expect: None }).collect();
        Trial { root: "/".into(), images: vec![("x".parse().unwrap(), "x.raw".into())], tests }
    }

    /// By this machine's shell.
    fn run(script: &str) -> String {
        let out = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }

    #[test]
    fn each_test_has_its_output_and_status() {
        let trial = trial(&["echo \"it's\" 'a b'", "echo no >&2; exit 3", "printf none; kill -9 $$"]);
        let report = read(&trial, &run(&script(&trial))).unwrap();
        let got: Vec<(i32, &str)> =
            report.results.iter().map(|r| (r.status, r.output.trim_end_matches("Killed\n"))).collect();
        assert_eq!(got, [(0, "it's a b\n"), (3, "no\n"), (137, "none")]);
    }

    #[test]
    fn what_was_broken_off_is_told() {
        let trial = trial(&["true", "true"]);
        let told = read(&trial, "\n@@bakery-test 0\nKernel panic").unwrap_err().to_string();
        assert!(told.contains("ended early: Kernel panic"), "{told}");
    }
}
