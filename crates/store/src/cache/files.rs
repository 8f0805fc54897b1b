//! Temporary files, renames, and removing what is left over.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

use super::{Cache, CacheError, at, lock};

/// Distinguishes temporary files of the same process.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A file in `tmp/` that vanishes unless it is renamed.
#[derive(Debug)]
pub(super) struct Temporary {
    pub path: PathBuf,
    pub file: File,
    /// Whether the file has got its name, and this one may be another's by now.
    kept: bool,
}

impl Temporary {
    /// Gives the file its name.
    pub(super) fn keep(&mut self, path: &Path) -> Result<(), CacheError> {
        std::fs::rename(&self.path, path).map_err(at(path))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            // What stays here is got by the next sweep.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A name that no other process uses now: process IDs are reused, and differ between containers that share a cache, so the
/// caller has to be ready for a clash.
pub(super) fn unique(what: &str) -> String {
    format!("{what}-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

impl Cache {
    pub(super) fn temporary(&self) -> Result<Temporary, CacheError> {
        loop {
            let path = self.path("tmp", &unique("new"));
            match lock::create_locked(&path) {
                Ok(file) => return Ok(Temporary { path, file, kept: false }),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(at(&path)(e)),
            }
        }
    }

    /// A file without a name, on the same file system as the layers. It vanishes when it is closed.
    ///
    /// # Errors
    /// It can't be made.
    pub fn unnamed_file(&self) -> Result<File, CacheError> {
        let temporary = self.temporary()?;
        temporary.file.try_clone().map_err(at(&temporary.path))
    }

    /// Writes a file that is complete or not there.
    pub(super) fn write_small(&self, path: &Path, bytes: &[u8]) -> Result<(), CacheError> {
        let mut temporary = self.temporary()?;
        temporary.file.write_all(bytes).map_err(at(&temporary.path))?;
        temporary.keep(path)
    }

    /// Removes what no living process has locked in `tmp/`, `locks/` and `scratch/`.
    pub(super) fn sweep(&self) -> Result<(), CacheError> {
        let mut paths = entries(&self.dir.join("tmp"))?;
        paths.extend(entries(&self.dir.join("locks"))?);
        for path in paths {
            let Ok(file) = lock::open(&path, false) else { continue };
            if lock::try_exclusive(&file).map_err(at(&path))? && lock::same(&file, &path) {
                remove(&path)?;
            }
        }
        self.sweep_scratch()
    }
}

/// Paths in a directory, sorted.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let mut out = Vec::new();
    for entry in dir.read_dir().map_err(at(dir))? {
        out.push(entry.map_err(at(dir))?.path());
    }
    out.sort();
    Ok(out)
}

/// Removes a file; that it is gone already is fine.
pub(super) fn remove(path: &Path) -> Result<(), CacheError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(at(path)(e)),
        _ => Ok(()),
    }
}

/// Notes that a file was used. A cache that can't be written to can still be read.
pub(super) fn touch(path: &Path) {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    let _ = rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
}

/// Removes a directory with all below it, whatever modes a hostile image gave its directories and however deep they are
/// nested. Links are not followed, mounts not entered.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let top = match open_dir(CWD, path.as_os_str()) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return std::fs::remove_file(path),
        Err(e) => return Err(e.into()),
    };
    let device = rustix::fs::fstat(&top)?.st_dev;
    let mut removal = Removal { top: &top, device, moved: 0 };
    // Deep directories are moved up to the top, which is why it takes several turns.
    while removal.children(&top, 0)? {}
    rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR)?;
    Ok(())
}

struct Removal<'a> {
    top: &'a rustix::fd::OwnedFd,
    device: u64,
    moved: u64,
}

/// Levels that are entered at once: each takes a file descriptor.
const DEPTH: usize = 64;

impl Removal<'_> {
    /// Empties a directory. Says whether it moved something to the top.
    fn children(&mut self, dir: &rustix::fd::OwnedFd, depth: usize) -> io::Result<bool> {
        let mut moved = false;
        let mut names = Vec::new();
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push((entry.file_name().to_owned(), entry.file_type()));
            }
        }
        for (name, kind) in names {
            if !matches!(kind, FileType::Directory | FileType::Unknown) {
                gone(rustix::fs::unlinkat(dir, &name, AtFlags::empty()))?;
                continue;
            }
            let bytes = name.to_bytes();
            let child = match open_dir(dir, std::os::unix::ffi::OsStrExt::from_bytes(bytes)) {
                Ok(child) => child,
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    gone(rustix::fs::unlinkat(dir, &name, AtFlags::empty()))?;
                    continue;
                }
                Err(Errno::NOENT) => continue,
                Err(e) => return Err(e.into()),
            };
            if rustix::fs::fstat(&child)?.st_dev != self.device {
                return Err(io::Error::new(ErrorKind::ResourceBusy, "a file system is mounted in it"));
            }
            if depth == DEPTH {
                self.moved += 1;
                let place = unique(&format!("deep-{}", self.moved));
                rustix::fs::renameat(dir, &name, self.top, &place)?;
                moved = true;
                continue;
            }
            moved |= self.children(&child, depth + 1)?;
            gone(rustix::fs::unlinkat(dir, &name, AtFlags::REMOVEDIR))?;
        }
        Ok(moved)
    }
}

fn gone(result: Result<(), Errno>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Opens a directory so that it can be emptied: its mode may forbid that even to its owner.
fn open_dir(at: impl rustix::fd::AsFd, name: &OsStr) -> Result<rustix::fd::OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let at = at.as_fd();
    let dir = match rustix::fs::openat(at, name, flags | OFlags::RDONLY, Mode::empty()) {
        Ok(dir) => dir,
        Err(Errno::ACCESS) => {
            // O_PATH needs no permission on the directory itself; /proc/self/fd gives chmod a name that can't be swapped.
            let place = rustix::fs::openat(at, name, flags | OFlags::PATH, Mode::empty())?;
            let link = format!("/proc/self/fd/{}", rustix::fd::AsRawFd::as_raw_fd(&place));
            rustix::fs::chmodat(CWD, link.as_str(), Mode::RWXU, AtFlags::empty())?;
            rustix::fs::openat(at, name, flags | OFlags::RDONLY, Mode::empty())?
        }
        Err(e) => return Err(e),
    };
    // Readable, but perhaps not writable. Root needs no mode at all, and a directory of somebody else stays as it is.
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&dir)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        let _ = rustix::fs::fchmod(&dir, mode | Mode::RWXU);
    }
    Ok(dir)
}
