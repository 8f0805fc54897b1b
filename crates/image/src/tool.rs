//! mkfs tools: finding and running them, and what they are given so that their output depends on the tree alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::ImageError;
use tree::output::TemporaryDir;
use tree::process::find_program;

/// A program and the Debian package that has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

impl Tool {
    pub(crate) fn find(self) -> Result<PathBuf, ImageError> {
        find_program(self.name).ok_or(ImageError::NoTool { tool: self.name, package: self.package })
    }

    /// A command in an environment that says nothing of this machine.
    pub(crate) fn command(self, epoch: i64) -> Result<Command, ImageError> {
        let mut command = Command::new(self.find()?);
        clean(&mut command, epoch);
        Ok(command)
    }

    /// Runs it to its end.
    pub(crate) fn run(self, command: &mut Command) -> Result<(), ImageError> {
        let output = command.output().map_err(|source| ImageError::Start { tool: self.name, source })?;
        if output.status.success() {
            return Ok(());
        }
        Err(self.failed(&output.status.to_string(), &output.stderr))
    }

    pub(crate) fn failed(self, status: &str, stderr: &[u8]) -> ImageError {
        let text = String::from_utf8_lossy(stderr);
        // The reason stands at the end; tools greet with their version.
        let mut lines: Vec<&str> =
            text.lines().map(str::trim).filter(|l| !l.is_empty()).rev().take(5).collect();
        lines.reverse();
        let message =
            if lines.is_empty() { status.to_owned() } else { format!("{status}: {}", lines.join("; ")) };
        ImageError::Tool { tool: self.name, message }
    }
}

/// Takes from a command what could show in its output.
pub(crate) fn clean(command: &mut Command, epoch: i64) {
    // libext2fs takes 0 for "now".
    let time = epoch.max(1).to_string();
    command.env_remove("MKE2FS_CONFIG").env("LC_ALL", "C").env("TZ", "UTC");
    command.env("E2FSPROGS_FAKE_TIME", &time).env("SOURCE_DATE_EPOCH", epoch.to_string());
    command.stdin(Stdio::null());
}

/// A directory beside the image, for files on their way into it; removed on drop and on signals.
pub(crate) struct Stage(TemporaryDir);

impl Stage {
    pub(crate) fn beside(image: &Path) -> Result<Stage, ImageError> {
        let io = |source| ImageError::Io { path: image.to_owned(), source };
        let parent = match image.parent() {
            Some(p) if p != Path::new("") => p,
            _ => Path::new("."),
        };
        // Tools run with this as their directory, so the path has to be absolute.
        TemporaryDir::new(parent, "sysext").map(Stage).map_err(io)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}
