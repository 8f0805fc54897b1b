//! Files put into a partition of a disk image that is mounted for it: btrfs has no tool that writes into an image.
//!
//! The mount is made in a name space of one thread, on a loop device that the kernel takes down with its last user. So
//! nothing is left behind, whichever way the work ends: the process need not live to clean up.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use tree::TreePath;

use super::payload::{PayloadEntry, PayloadItem};
use super::sys;
use image::gpt::Partition;

/// Why a partition could not be written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub enum MountError {
    /// Only root may mount.
    #[error("partition {0} has to be mounted, which requires root")]
    NeedsRoot(String),
    /// It can't be mounted.
    #[error("partition {name} can't be mounted: {message}")]
    Mount { name: String, message: String },
    /// There isn't enough room.
    #[error("partition {name} has no space: {needed} bytes are needed, {free} are free")]
    NoSpace { name: String, needed: u64, free: u64 },
    /// A promise of [`crate::Payload`] is broken.
    #[error("internal error: the payload has a file in the place of the root directory")]
    Root,
    /// Something in the image could not be written.
    #[error("{path} of partition {name}: {source}")]
    Inside {
        name: String,
        /// The path on it.
        path: TreePath,
        source: io::Error,
    },
    /// A file of this machine could not be used.
    #[error("{path:?}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// Whether this process may mount: to be asked before anything long begins.
pub(super) fn check_privileges(name: &str) -> Result<(), MountError> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err(MountError::NeedsRoot(name.to_owned())) }
}

/// Puts entries into a partition. `stage` is an empty directory to mount it on.
pub(super) fn insert(
    image: &Path,
    partition: &Partition,
    entries: &[&PayloadEntry],
    stage: &Path,
) -> Result<(), MountError> {
    check_privileges(&partition.name)?;
    std::thread::scope(|scope| {
        // The thread's name space ends with it.
        let work = scope.spawn(|| in_private(image, partition, entries, stage));
        work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn in_private(
    image: &Path,
    partition: &Partition,
    entries: &[&PayloadEntry],
    stage: &Path,
) -> Result<(), MountError> {
    let name = &partition.name;
    let mount = |message: String| MountError::Mount { name: name.clone(), message };
    sys::private_mounts().map_err(|e| mount(format!("name space: {e}")))?;
    rustix::mount::mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(|e| mount(format!("propagation: {e}")))?;
    // loop: set up with autoclear. The options that an image must not bring along: devices, setuid programs.
    let options =
        format!("loop,offset={},sizelimit={},nodev,nosuid,noexec,noatime", partition.offset, partition.size);
    let output = Command::new("mount")
        .args(["-t", "btrfs", "-o", &options, "--"])
        .args([image, stage])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| mount(format!("mount isn't installed (package mount): {e}")))?;
    if !output.status.success() {
        return Err(mount(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let done = fill(name, stage, entries);
    // Only now is everything in the file, or known not to be.
    let unmounted = rustix::mount::unmount(stage, UnmountFlags::empty());
    done?;
    unmounted.map_err(|e| mount(format!("unmounting: {e}")))
}

fn fill(name: &str, mounted: &Path, entries: &[&PayloadEntry]) -> Result<(), MountError> {
    let io = |source: io::Error| MountError::Io { path: mounted.to_owned(), source };
    let space = rustix::fs::statvfs(mounted).map_err(|e| io(e.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let size = |e: &&PayloadEntry| match &e.item {
        PayloadItem::File { size, .. } => size.saturating_add(64 << 10),
        PayloadItem::Text(_) | PayloadItem::Symlink(_) => 16 << 10,
    };
    let needed = entries.iter().fold(0u64, |sum, e| sum.saturating_add(size(e)));
    if needed > free {
        return Err(MountError::NoSpace { name: name.to_owned(), needed, free });
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(mounted, flags, Mode::empty()).map_err(|e| io(e.into()))?;
    for entry in entries {
        let inside = |source| MountError::Inside { name: name.to_owned(), path: entry.path.clone(), source };
        let dir = directory(&root, &entry.path).map_err(inside)?;
        let file_name = entry.path.file_name().ok_or(MountError::Root)?;
        match &entry.item {
            PayloadItem::File { source, .. } => {
                let file =
                    File::open(source).map_err(|e| MountError::Io { path: source.clone(), source: e })?;
                create(&dir, file_name, &mut &file).map_err(inside)?;
            }
            PayloadItem::Text(text) => create(&dir, file_name, &mut text.as_bytes()).map_err(inside)?,
            PayloadItem::Symlink(target) => {
                rustix::fs::symlinkat(target.as_str(), &dir, file_name).map_err(|e| inside(e.into()))?
            }
        }
    }
    // An error in writing back shows here, or nowhere.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let whole = rustix::fs::open(mounted, flags, Mode::empty()).map_err(|e| io(e.into()))?;
    rustix::fs::syncfs(&whole).map_err(|e| io(e.into()))
}

/// The directory of a path, made if it is missing. Never goes through a link of the image: that could lead out of it.
fn directory(root: &OwnedFd, path: &TreePath) -> io::Result<OwnedFd> {
    let mut dir = root.as_fd().try_clone_to_owned()?;
    let parent = path.parent().unwrap_or_else(TreePath::root);
    for component in parent.as_relative().split(|&b| b == b'/').filter(|c| !c.is_empty()) {
        match rustix::fs::mkdirat(&dir, component, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                // Whatever the umask is.
                let made = open_dir(&dir, component)?;
                let real = rustix::fs::openat(&made, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
                rustix::fs::fchmod(real, Mode::from_raw_mode(0o755))?;
                dir = made;
            }
            Err(rustix::io::Errno::EXIST) => dir = open_dir(&dir, component)?,
            Err(e) => return Err(e.into()),
        }
    }
    Ok(dir)
}

fn open_dir(dir: &OwnedFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    Ok(rustix::fs::openat2(dir, name, flags, Mode::empty(), resolve)?)
}

fn create(dir: &OwnedFd, name: &[u8], from: &mut dyn io::Read) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644))?);
    io::copy(from, &mut file)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))?;
    file.flush()
}
