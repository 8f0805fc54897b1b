//! The written root file system, made ready from inside the name space.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Gid, Mode as Bits, Uid, XattrFlags};

use super::wire::{At, Fixup, Go, Step};
use super::{Mode, beneath, owners};

/// `lower` in the scratch directory, which is the current one.
#[derive(Debug)]
pub(super) struct Lower {
    pub(super) dir: File,
    /// Without overlayfs the command works in `lower` itself: what each file was before.
    pub(super) before: Option<HashMap<Vec<u8>, Stamp>>,
    /// Some owner couldn't be written down, since the file system has no such attributes.
    pub(super) unrecorded: bool,
}

/// Change time of an inode, which no program can set: it shows whether a file was modified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    ino: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Stamp {
    pub(super) fn of(fd: impl AsFd) -> rustix::io::Result<Stamp> {
        let stat = rustix::fs::fstat(fd)?;
        Ok(Stamp { ino: stat.st_ino, seconds: stat.st_ctime as i64, nanoseconds: stat.st_ctime_nsec as i64 })
    }
}

/// Sets what only the name space's root can set, and makes the directories beside `lower`.
pub(super) fn prepare(go: &Go, mode: Mode, overlay: bool) -> Result<Lower, Step> {
    let dir = File::open("lower").at("lower directory")?;
    let mut unrecorded = false;
    for fixup in &go.fixups {
        unrecorded |=
            !apply(&dir, fixup, mode).at(&format!("owner of {:?}", String::from_utf8_lossy(&fixup.path)))?;
    }
    for name in ["upper", "work", "root"] {
        std::fs::create_dir(name).at(name)?;
    }
    if !overlay {
        return Ok(Lower { before: Some(stamps(&dir).at("reading the root")?), dir, unrecorded });
    }
    // The root of an overlay has the metadata of the upper directory.
    let upper = File::open("upper").at("upper directory")?;
    let stat = rustix::fs::fstat(&dir).at("lower directory")?;
    let lower = beneath::open(&dir, b"").at("lower directory")?;
    let (uid, gid) = owners::recorded(&lower).unwrap_or((stat.st_uid, stat.st_gid));
    let like = Fixup { path: Vec::new(), uid, gid, mode: Some(stat.st_mode & 0o7777), xattrs: Vec::new() };
    apply(&upper, &like, mode).at("upper directory")?;
    Ok(Lower { dir, before: None, unrecorded })
}

/// `false`: the owner couldn't be kept.
fn apply(dir: &File, fixup: &Fixup, mode: Mode) -> std::io::Result<bool> {
    let file = beneath::open(dir, &fixup.path)?;
    let path = beneath::path_of(&file);
    let kept = if mode != Mode::Single {
        let owner = (Some(Uid::from_raw(fixup.uid)), Some(Gid::from_raw(fixup.gid)));
        match rustix::fs::chownat(&file, c"", owner.0, owner.1, AtFlags::EMPTY_PATH) {
            // An id outside the range that this user has.
            Err(rustix::io::Errno::INVAL) if mode == Mode::Subuid => note(&file, fixup)?,
            other => other.map(|()| true)?,
        }
    } else {
        note(&file, fixup)?
    };
    let Some(bits) = fixup.mode else { return Ok(kept) };
    rustix::fs::chmod(&path, Bits::from_raw_mode(bits))?;
    for (name, value) in &fixup.xattrs {
        rustix::fs::setxattr(&path, name.as_slice(), value, XattrFlags::empty())?;
    }
    Ok(kept)
}

fn note(file: &OwnedFd, fixup: &Fixup) -> std::io::Result<bool> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode);
    if (fixup.uid, fixup.gid) != (0, 0) && matches!(kind, FileType::RegularFile | FileType::Directory) {
        return Ok(owners::record(file, fixup.uid, fixup.gid)?);
    }
    Ok(true)
}

/// The stamps of all files, taken at a moment after which every change makes another stamp.
fn stamps(dir: &File) -> std::io::Result<HashMap<Vec<u8>, Stamp>> {
    // The kernel's clock for inodes moves in ticks of some milliseconds: wait until it has left the last one written.
    let probe = Path::new("tick");
    std::fs::write(probe, "")?;
    let last = Stamp::of(File::open(probe)?)?;
    loop {
        std::thread::sleep(Duration::from_millis(1));
        std::fs::remove_file(probe)?;
        std::fs::write(probe, "")?;
        let now = Stamp::of(File::open(probe)?)?;
        if (now.seconds, now.nanoseconds) > (last.seconds, last.nanoseconds) {
            break;
        }
    }
    std::fs::remove_file(probe)?;
    let mut out = HashMap::new();
    let mut todo = vec![Vec::new()];
    while let Some(path) = todo.pop() {
        let file = beneath::open(dir, &path)?;
        out.insert(path.clone(), Stamp::of(&file)?);
        let is_dir = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) == FileType::Directory;
        if !is_dir {
            continue;
        }
        for entry in rustix::fs::Dir::read_from(rustix::fs::open(
            beneath::path_of(&file),
            rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
            Bits::empty(),
        )?)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
                todo.push([&path, slash, name].concat());
            }
        }
    }
    Ok(out)
}
