//! erofs by mkfs.erofs, from a staged directory.

use std::path::Path;
use std::process::Command;

use super::tool::{Stage, Tool, clean, uuid, uuid_text};
use super::{Format, ImageError};
use crate::host::WriteOptions;
use crate::{Extension, HostError};

const MKFS: Tool = Tool { name: "mkfs.erofs", package: "erofs-utils" };

pub(super) fn write(extension: &Extension, temporary: &Path, path: &Path) -> Result<(), ImageError> {
    let epoch = extension.epoch();
    if epoch < 0 {
        return Err(ImageError::Epoch { format: Format::Erofs, epoch });
    }
    let mkfs = MKFS.find()?;
    let stage = Stage::beside(path)?;
    let staged = stage.path().join("root");
    std::fs::create_dir(&staged).map_err(|source| ImageError::Io { path: path.to_owned(), source })?;
    // Owners are all root, which mkfs.erofs sees to; devices and some attributes take root to stage.
    let options = WriteOptions { ownership: false, ..WriteOptions::all() };
    let _report =
        extension.tree().write_dir(&staged, &options).map_err(|source| takes_root(source, Format::Erofs))?;
    let mut command = in_user_namespace(&mkfs);
    clean(&mut command, epoch);
    // Every file takes the one time. lz4hc is in every build; the clusters are 64 KiB, Linux 5.13.
    command.args(["--quiet", "--all-root", "-x2", "-zlz4hc,12", "-C65536"]);
    command.arg(format!("-T{epoch}")).arg(format!("-U{}", uuid_text(&uuid(extension)?)));
    MKFS.run(command.arg(temporary).arg(&staged))
}

/// An unprivileged caller can't read a staged file of mode 0000; root of a user namespace can.
fn in_user_namespace(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        let mut probe = Command::new("unshare");
        clean(&mut probe, 0);
        if probe.args(["--map-root-user", "true"]).output().is_ok_and(|o| o.status.success()) {
            let mut command = Command::new("unshare");
            command.arg("--map-root-user").arg(program);
            return command;
        }
    }
    Command::new(program)
}

/// What an unprivileged caller can't stage is said with what to do.
pub(super) fn takes_root(error: HostError, format: Format) -> ImageError {
    match &error {
        HostError::Io { path, source }
            if source.kind() == std::io::ErrorKind::PermissionDenied
                && !rustix::process::geteuid().is_root() =>
        {
            ImageError::TakesRoot { format, path: path.clone() }
        }
        _ => ImageError::Host(error),
    }
}
