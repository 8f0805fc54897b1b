//! Outputs that are there as a whole or not at all.
//!
//! An output is written in the directory of its place, without a name or under a temporary one, synced, and linked or renamed. What is not committed is removed
//! on drop, and on SIGINT, SIGTERM and SIGHUP once [`remove_on_interrupt`] was called. What a run that was killed has left is removed by the
//! next one that writes the same output, or works in the same directory.

mod interrupt;
pub use interrupt::{Cleanup, on_interrupt, register_path, remove_on_interrupt};

mod stale;

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};

/// What temporary names end with, and how many random characters are before that.
/// With the project's name: whatever is called so and isn't locked is removed.
const SUFFIX: &str = ".flix.tmp";
const RANDOM: usize = 6;

/// Why an output could not be written. All name the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The system refused something.
    #[error("{path:?}: {source}")]
    Io {
        /// What was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path ends in `..` or `/`.
    #[error("{path:?}: is no file name")]
    NoFileName {
        /// What was asked for.
        path: PathBuf,
    },
    /// There is a directory in the file's place.
    #[error("{path:?}: is a directory, expected a file or nothing there")]
    IsDirectory {
        /// What was asked for.
        path: PathBuf,
    },
    /// A device, a pipe or a socket, which a file would replace.
    #[error("{path:?}: is no regular file, expected one or nothing there")]
    Special {
        /// What was asked for.
        path: PathBuf,
    },
    /// There is something in the directory's place that must not be lost.
    #[error("{path:?}: exists and is not an extension written before, which could be replaced")]
    Occupied {
        /// What was asked for.
        path: PathBuf,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> OutputError + '_ {
    move |source| OutputError::Io { path: path.to_owned(), source }
}

/// A file that takes its place when it is complete. Until then it has no name, where the file system can do that (O_TMPFILE), so that nothing of
/// it stays whatever ends the program; elsewhere, and for tools that want one, it has a temporary name.
#[derive(Debug)]
pub struct OutputFile {
    place: PathBuf,
    file: File,
    /// Its directory, and how a temporary name begins.
    dir: PathBuf,
    prefix: OsString,
    name: OnceLock<TemporaryName>,
}

/// A name that goes on drop and on signals.
#[derive(Debug)]
struct TemporaryName {
    path: tempfile::TempPath,
    _cleanup: Cleanup,
}

impl TemporaryName {
    fn new(path: tempfile::TempPath) -> Self {
        let cleanup = interrupt::register_path(&path);
        TemporaryName { path, _cleanup: cleanup }
    }
}

impl OutputFile {
    /// Makes the file in the directory of `place`. Its mode is that of a new file: 0666 less the umask.
    ///
    /// # Errors
    /// `place` is no file name, a directory or a special file, or its directory can't be written.
    pub fn create(place: impl Into<PathBuf>) -> Result<Self, OutputError> {
        let place = place.into();
        let (dir, prefix) = temporary_name(&place)?;
        if place.symlink_metadata().is_ok_and(|m| m.is_dir()) {
            return Err(OutputError::IsDirectory { path: place });
        }
        if is_special(&place) {
            return Err(OutputError::Special { path: place });
        }
        stale::sweep(&dir, &prefix);
        if let Some(file) = nameless(&dir) {
            return Ok(OutputFile { place, file, dir, prefix, name: OnceLock::new() });
        }
        let open = |path: &Path| OpenOptions::new().read(true).write(true).create_new(true).open(path);
        loop {
            let (file, path) = builder(&prefix).make_in(&dir, open).map_err(io_error(&place))?.into_parts();
            if stale::hold(&file, &path).map_err(io_error(&place))? {
                let name = OnceLock::from(TemporaryName::new(path));
                return Ok(OutputFile { place, file, dir, prefix, name });
            }
        }
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// A temporary path, for tools that want a name.
    ///
    /// # Errors
    /// The directory doesn't take the name.
    pub fn path(&self) -> Result<&Path, OutputError> {
        if let Some(name) = self.name.get() {
            return Ok(&name.path);
        }
        let made = self.named().map_err(io_error(&self.place))?;
        Ok(&self.name.get_or_init(|| made).path)
    }

    /// Links the file to a temporary name.
    fn named(&self) -> io::Result<TemporaryName> {
        // Locked before it can be seen.
        stale::lock(&self.file);
        let made = builder(&self.prefix).make_in(&self.dir, |path| link(&self.file, path))?;
        Ok(TemporaryName::new(made.into_temp_path()))
    }

    /// Where it goes.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Syncs the file and gives it its place, replacing a file there.
    ///
    /// # Errors
    /// The system refuses; then nothing is left behind, and what was in its place before is still there.
    pub fn commit(self) -> Result<(), OutputError> {
        let failed = io_error(&self.place);
        self.file.sync_all().map_err(failed)?;
        let failed = io_error(&self.place);
        let linked = match self.name.get() {
            Some(_) => Err(io::ErrorKind::AlreadyExists.into()),
            None => link(&self.file, &self.place),
        };
        match linked {
            Ok(()) => {}
            // Only a rename replaces what is there, and a rename takes a name.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.path()?;
                if let Some(name) = self.name.into_inner() {
                    name.path.persist(&self.place).map_err(|e| failed(e.error))?;
                }
            }
            Err(e) => return Err(failed(e)),
        }
        sync_parent(&self.place);
        Ok(())
    }
}

fn builder(prefix: &OsStr) -> tempfile::Builder<'_, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).rand_bytes(RANDOM).suffix(SUFFIX);
    builder
}

/// A file without a name, if the file system has such, and if it can be given one later. open(2), O_TMPFILE.
fn nameless(dir: &Path) -> Option<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(dir, flags, Mode::from_raw_mode(0o666)).ok()?);
    // Where /proc isn't mounted there is no way back.
    let there = std::fs::metadata(descriptor(&file)).ok()?;
    let ours = file.metadata().ok()?;
    ((there.dev(), there.ino()) == (ours.dev(), ours.ino())).then_some(file)
}

fn descriptor(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn link(file: &File, path: &Path) -> io::Result<()> {
    Ok(rustix::fs::linkat(CWD, descriptor(file), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

/// Whether renaming a file to this place would break a part of the system: `/dev/null`, and `/dev/stdout`, which is a
/// symlink into /proc.
fn is_special(place: &Path) -> bool {
    let special = std::fs::metadata(place).is_ok_and(|m| !m.is_file() && !m.is_dir());
    special || std::fs::read_link(place).is_ok_and(|target| target.starts_with("/proc"))
}

/// A directory that takes its place when it is complete.
#[derive(Debug)]
pub struct OutputDir {
    place: PathBuf,
    temporary: TemporaryDir,
}

impl OutputDir {
    /// Makes the temporary directory (0700) beside `place`.
    ///
    /// # Errors
    /// There is something in its place that is neither empty nor, as `replaceable` judges, an output of before; or the
    /// directory above can't be written.
    pub fn create(
        place: impl Into<PathBuf>,
        replaceable: impl FnOnce(&Path) -> bool,
    ) -> Result<Self, OutputError> {
        let place = place.into();
        let (dir, prefix) = temporary_name(&place)?;
        if let Ok(found) = place.symlink_metadata() {
            let empty = found.is_dir() && std::fs::read_dir(&place).is_ok_and(|mut d| d.next().is_none());
            if !(found.is_dir() && (empty || replaceable(&place))) {
                return Err(OutputError::Occupied { path: place });
            }
        }
        let temporary = TemporaryDir::named(&dir, &prefix).map_err(io_error(&place))?;
        Ok(OutputDir { place, temporary })
    }

    /// The temporary path.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Where it goes.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Syncs the file system and renames the directory to its place; a directory there is exchanged for it in one step
    /// and then removed.
    ///
    /// # Errors
    /// The system refuses; then nothing is left behind, and what was in its place before is still there.
    pub fn commit(self) -> Result<(), OutputError> {
        let OutputDir { place, temporary } = self;
        let TemporaryDir { dir: temporary, _lock, _cleanup } = temporary;
        let handle = File::open(temporary.path()).map_err(io_error(&place))?;
        rustix::fs::syncfs(&handle).map_err(|e| io_error(&place)(e.into()))?;
        let rename = |flags| rustix::fs::renameat_with(CWD, temporary.path(), CWD, &place, flags);
        match rename(RenameFlags::NOREPLACE) {
            Ok(()) => {
                // Its old name is gone, so there is nothing to remove.
                let _ = temporary.keep();
            }
            Err(rustix::io::Errno::EXIST) => {
                // What was checked at the start may have been replaced since; never exchange something else.
                let found = rustix::fs::statat(CWD, &place, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|e| io_error(&place)(e.into()))?;
                if !rustix::fs::FileType::from_raw_mode(found.st_mode).is_dir() {
                    return Err(OutputError::Occupied { path: place });
                }
                rename(RenameFlags::EXCHANGE).map_err(|e| io_error(&place)(e.into()))?;
                // The temporary name now holds the old directory.
                temporary.close().map_err(io_error(&place))?;
            }
            Err(e) => return Err(io_error(&place)(e.into())),
        }
        sync_parent(&place);
        Ok(())
    }
}

/// A directory to work in beside an output. It is removed on drop and on signals, or, after kill -9, by the next that is made there with
/// the same prefix.
#[derive(Debug)]
pub struct TemporaryDir {
    dir: tempfile::TempDir,
    /// Holds the lock until it is closed.
    _lock: File,
    _cleanup: Cleanup,
}

impl TemporaryDir {
    /// Makes one (0700) in `parent`, absolute. `prefix` is a word of the program's own.
    ///
    /// # Errors
    /// `parent` can't be written.
    pub fn new(parent: &Path, prefix: &str) -> io::Result<TemporaryDir> {
        TemporaryDir::named(&std::path::absolute(parent)?, OsStr::new(&format!(".{prefix}.")))
    }

    fn named(parent: &Path, prefix: &OsStr) -> io::Result<TemporaryDir> {
        stale::sweep(parent, prefix);
        loop {
            let mut builder = tempfile::Builder::new();
            let dir = builder.prefix(prefix).rand_bytes(RANDOM).suffix(SUFFIX).tempdir_in(parent)?;
            let lock = File::open(dir.path())?;
            if stale::hold(&lock, dir.path())? {
                let cleanup = interrupt::register_path(dir.path());
                return Ok(TemporaryDir { dir, _lock: lock, _cleanup: cleanup });
            }
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// The directory for the temporary and how its name begins: hidden, so that a search directory of systemd skips it.
fn temporary_name(place: &Path) -> Result<(PathBuf, OsString), OutputError> {
    let no_name = || OutputError::NoFileName { path: place.to_owned() };
    let name = place.file_name().ok_or_else(no_name)?;
    if place.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(no_name());
    }
    let dir = match place.parent() {
        Some(p) if p != Path::new("") => p.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut prefix = OsString::from(".");
    // NAME_MAX leaves room for the random part and the suffix.
    let head = name.as_encoded_bytes();
    let short = if head.len() <= 200 { name } else { OsStr::new("output") };
    prefix.push(short);
    prefix.push(".");
    Ok((dir, prefix))
}

/// Whether an output that isn't complete could be called so: what to look for where a process was killed.
pub fn is_temporary(name: &OsStr) -> bool {
    let stem = name.as_encoded_bytes().strip_prefix(b".").and_then(|n| n.strip_suffix(SUFFIX.as_bytes()));
    let Some(stem) = stem else { return false };
    let (head, random) = stem.split_at(stem.len().saturating_sub(RANDOM));
    random.iter().all(u8::is_ascii_alphanumeric) && head.len() > 1 && head.ends_with(b".")
}

/// Makes the rename itself durable. Some file systems can't sync a directory; the data is safe all the same.
fn sync_parent(place: &Path) {
    let dir = match place.parent() {
        Some(p) if p != Path::new("") => p,
        _ => Path::new("."),
    };
    if let Ok(dir) = File::open(dir) {
        let _ = dir.sync_all();
    }
}

#[cfg(test)]
mod tests;
