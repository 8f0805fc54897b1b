//! Trying extensions: merged for real by systemd-sysext into a host's root directory, in mounts that nobody else sees, then the
//! recipes' tests are run there. Nothing of the host is changed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use crate::ExtensionName;
use tree::Arch;

#[cfg(test)]
mod tests;

/// What is run in the merged extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// For /bin/sh.
    pub run: String,
    /// What the output has to have in it.
    pub expect: Option<String>,
}

/// Extensions to be merged, and what is run then.
#[derive(Debug, Clone)]
pub struct MergeTest {
    /// The host's root directory; `/` for this machine.
    pub root: PathBuf,
    /// Name and image of each extension.
    pub images: Vec<(ExtensionName, PathBuf)>,
    /// What is run, in this order.
    pub tests: Vec<Test>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What systemd-sysext said.
    pub merge: String,
    /// Each test's.
    pub results: Vec<TestResult>,
}

impl Report {
    /// Whether all tests were passed.
    pub fn passed(&self) -> bool {
        self.results.iter().all(TestResult::passed)
    }
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestResult {
    /// What was run, and what was to be seen.
    pub test: Test,
    /// Exit status; 128 and the signal's number if it was killed.
    pub status: i32,
    /// What it printed.
    pub output: String,
}

impl TestResult {
    /// Whether it ended well and printed what it had to.
    pub fn passed(&self) -> bool {
        self.status == 0 && self.test.expect.as_ref().is_none_or(|e| self.output.contains(e.as_str()))
    }
}

/// Why nothing could be tested.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum MergeTestError {
    #[error("user is {0}, expected root: merging takes mounts")]
    NotRoot(u32),
    /// Programs for another processor don't run here.
    #[error("architecture is {got}, expected {}: this machine's", expected.map_or("none", Arch::systemd))]
    Architecture {
        /// What was asked for.
        got: Arch,
        /// This machine's, if it has a name.
        expected: Option<Arch>,
    },
    #[error("{root:?}: has no systemd-sysext, expected a host's root directory")]
    NoHost { root: PathBuf },
    /// A file or directory.
    #[error("{path:?}: {source}")]
    Io {
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program that isn't there.
    #[error("{program}: {source}")]
    Program {
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// systemd-sysext didn't take the extensions.
    #[error("{names} can't be merged into {root:?}: {said}")]
    Merge {
        names: String,
        root: PathBuf,
        /// What was said, without newlines at its end.
        said: String,
    },
}

/// Runs in a mount namespace of its own. systemd-sysext makes another one for itself, and what it mounts comes back only
/// through shared propagation; /run is private to it, so the place can't be below that. Extensions that the host has are hidden.
/// systemd-sysext exits with 0 even if it ignores an image, so what it merged is checked.
const SCRIPT: &str = include_str!("merge_test/merge_test.sh");

/// Bytes. Of a test's output, what is shown.
pub const OUTPUT_MAX: usize = 64 << 10;

impl MergeTest {
    /// Whether extensions can be merged into this root directory by this user: to be asked before anything long begins.
    ///
    /// # Errors
    /// They can't.
    pub fn check(root: &Path) -> Result<(), MergeTestError> {
        let user = rustix::process::geteuid();
        if !user.is_root() {
            return Err(MergeTestError::NotRoot(user.as_raw()));
        }
        root.metadata().map_err(|source| MergeTestError::Io { path: root.to_owned(), source })?;
        // A link may be absolute, and then leads elsewhere from here.
        if !["usr/bin", "bin"].iter().any(|d| root.join(d).join("systemd-sysext").symlink_metadata().is_ok())
        {
            return Err(MergeTestError::NoHost { root: root.to_owned() });
        }
        Ok(())
    }

    /// Merges and tests. `scratch` is an empty directory of the caller's, outside of /run.
    ///
    /// # Errors
    /// All that [`MergeTestError`] lists; failed tests are in the report.
    pub fn run(&self, scratch: &Path) -> Result<Report, MergeTestError> {
        MergeTest::check(&self.root)?;
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| MergeTestError::Io { path, source }
        };
        let tests = scratch.join("tests");
        for dir in [&scratch.join("place"), &tests] {
            fs::create_dir_all(dir).map_err(at(dir))?;
        }
        for (i, test) in self.tests.iter().enumerate() {
            let path = tests.join(format!("{i:04}"));
            fs::write(&path, &test.run).map_err(at(&path))?;
        }
        let mut args: Vec<OsString> = vec![self.root.clone().into(), scratch.into()];
        for (name, image) in &self.images {
            let image = image.canonicalize().map_err(at(image))?;
            args.extend([name.to_string().into(), image.into()]);
        }
        let out = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-euc", SCRIPT, "merge-test"])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .map_err(|source| MergeTestError::Program { program: "unshare", source })?;
        let said = String::from_utf8_lossy(&out.stderr).trim_end().to_owned();
        if !out.status.success() {
            let names: Vec<String> = self.images.iter().map(|(n, _)| n.to_string()).collect();
            let (names, root) = (names.join(", "), self.root.clone());
            return Err(MergeTestError::Merge { names, root, said });
        }
        let result = |(i, test): (usize, &Test)| {
            let path = tests.join(format!("{i:04}.out"));
            let output = fs::read(&path).map_err(at(&path))?;
            let path = tests.join(format!("{i:04}.status"));
            let status = fs::read_to_string(&path).map_err(at(&path))?;
            let output = String::from_utf8_lossy(&output[..output.len().min(OUTPUT_MAX)]).into_owned();
            Ok(TestResult { test: test.clone(), status: status.trim().parse().unwrap_or(-1), output })
        };
        let results = self.tests.iter().enumerate().map(result).collect::<Result<_, _>>()?;
        Ok(Report { merge: said, results })
    }
}
