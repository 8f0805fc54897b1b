//! mkfs tools: finding and running them, and what they are given so that their output depends on the tree alone.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};

use super::ImageError;
use crate::Extension;
use tree::process::find_program;
use tree::{ContentError, Kind, TreePath};

/// A program and the Debian package that has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    pub(super) package: &'static str,
}

impl Tool {
    pub(super) fn find(self) -> Result<PathBuf, ImageError> {
        find_program(self.name).ok_or(ImageError::NoTool { tool: self.name, package: self.package })
    }

    /// A command in an environment that says nothing of this machine.
    pub(super) fn command(self, epoch: i64) -> Result<Command, ImageError> {
        let mut command = Command::new(self.find()?);
        clean(&mut command, epoch);
        Ok(command)
    }

    /// Runs it to its end.
    pub(super) fn run(self, command: &mut Command) -> Result<(), ImageError> {
        let output = command.output().map_err(|source| ImageError::Start { tool: self.name, source })?;
        if output.status.success() {
            return Ok(());
        }
        Err(self.failed(&output.status.to_string(), &output.stderr))
    }

    pub(super) fn failed(self, status: &str, stderr: &[u8]) -> ImageError {
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
pub(super) fn clean(command: &mut Command, epoch: i64) {
    // libext2fs takes 0 for "now".
    let time = epoch.max(1).to_string();
    command.env_remove("MKE2FS_CONFIG").env("LC_ALL", "C").env("TZ", "UTC");
    command.env("E2FSPROGS_FAKE_TIME", &time).env("SOURCE_DATE_EPOCH", epoch.to_string());
    command.stdin(Stdio::null());
}

/// A UUID that is the same for the same extension and another for any other: hosts don't take two btrfs of one UUID.
pub(super) fn uuid(extension: &Extension) -> Result<[u8; 16], ImageError> {
    let mut hash = Sha256::new();
    hash.update(extension.name().as_str());
    for (path, node) in extension.tree().iter() {
        let add = |hash: &mut Sha256, bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        add(&mut hash, path.as_relative());
        let meta = &node.meta;
        hash.update(meta.mode.to_le_bytes());
        hash.update(meta.mtime.to_le_bytes());
        for (name, value) in &meta.xattrs {
            add(&mut hash, name);
            add(&mut hash, value);
        }
        match &node.kind {
            Kind::File(content) => {
                hash.update(content.len().to_le_bytes());
                io::copy(&mut content.reader(), &mut HashWriter(&mut hash))
                    .map_err(|e| unreadable(path, e))?;
            }
            Kind::Symlink(target) => add(&mut hash, target),
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                hash.update(major.to_le_bytes());
                hash.update(minor.to_le_bytes());
            }
            Kind::Dir | Kind::Fifo | Kind::Socket => {}
        }
    }
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&hash.finalize()[..16]);
    Ok(as_uuid(uuid))
}

/// Version 8, "vendor-specific". RFC 9562.
pub(super) fn as_uuid(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.update(buf);
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An error that a reader of content gave, with the content's own error taken out of its wrapping.
pub(super) fn unreadable(path: &TreePath, error: io::Error) -> ImageError {
    let kind = error.kind();
    match error.downcast::<ContentError>() {
        Ok(source) => ImageError::Content { path: path.clone(), source },
        Err(_) => ImageError::Io { path: path.as_host_relative().to_owned(), source: kind.into() },
    }
}

/// The form that tools take: `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
pub(super) fn uuid_text(uuid: &[u8; 16]) -> String {
    let hex: String = uuid.iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A directory beside the image, for files on their way into it; removed on drop and on signals.
pub(super) struct Stage {
    dir: tempfile::TempDir,
    _cleanup: tree::output::Cleanup,
}

impl Stage {
    pub(super) fn beside(image: &Path) -> Result<Stage, ImageError> {
        let io = |source| ImageError::Io { path: image.to_owned(), source };
        let parent = match image.parent() {
            Some(p) if p != Path::new("") => p,
            _ => Path::new("."),
        };
        // Tools run with this as their directory, so the path has to be absolute.
        let parent = std::path::absolute(parent).map_err(io)?;
        let dir =
            tempfile::Builder::new().prefix(".sysext-").suffix(".tmp").tempdir_in(parent).map_err(io)?;
        let cleanup = tree::output::register_path(dir.path());
        Ok(Stage { dir, _cleanup: cleanup })
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }
}
