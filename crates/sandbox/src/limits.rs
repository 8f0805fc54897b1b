//! What a run may take, and who sees to it.
//!
//! Control groups are not there for everybody, and the kernel's own limits count by user or by process. So the sandbox's first process looks
//! at all processes in it several times a second, and the helper at the disk. What is over its limit is killed with all the rest.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{Dir, Mode, OFlags, openat, statvfs};
use serde::{Deserialize, Serialize};

/// What a run may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLimits {
    /// From the command's start to its end.
    pub time: Option<Duration>,
    /// Of all processes together. Bytes. Memory that several share counts once for each.
    pub memory: Option<u64>,
    /// At once.
    pub processes: Option<u64>,
    /// That the command writes. Bytes, without the holes of sparse files.
    pub disk: u64,
}

impl Default for RunLimits {
    fn default() -> Self {
        RunLimits { time: None, memory: None, processes: None, disk: 32 << 30 }
    }
}

/// The limit that a command has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Exceeded {
    /// [`RunLimits::time`].
    Time(Duration),
    /// [`RunLimits::memory`]. Bytes.
    Memory(u64),
    /// [`RunLimits::processes`].
    Processes(u64),
    /// [`RunLimits::disk`]. Bytes.
    Disk(u64),
    /// The file system of the scratch directory is almost full. Bytes that have to stay free.
    Full(u64),
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exceeded::Time(time) => write!(f, "it took longer than {} s", time.as_secs_f32()),
            Exceeded::Memory(bytes) => write!(f, "it took more than {bytes} bytes of memory"),
            Exceeded::Processes(count) => write!(f, "it had more than {count} processes"),
            Exceeded::Disk(bytes) => write!(f, "it wrote more than {bytes} bytes"),
            Exceeded::Full(bytes) => write!(f, "it left fewer than {bytes} bytes free on the disk"),
        }
    }
}

/// The processes of a sandbox, as its first one sees them.
#[derive(Debug)]
pub(super) struct Processes {
    /// The sandbox's /proc, opened before the command could do anything. Only if processes are to be looked at: whatever is
    /// open here, root in the sandbox can reach.
    proc: Option<OwnedFd>,
    limits: RunLimits,
    start: Instant,
}

impl Processes {
    pub(super) fn new(limits: RunLimits) -> io::Result<Processes> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let is_limited = limits.memory.is_some() || limits.processes.is_some();
        let proc = is_limited.then(|| rustix::fs::open("/proc", flags, Mode::empty())).transpose()?;
        Ok(Processes { proc, limits, start: Instant::now() })
    }

    /// How often it is worth to look.
    pub(super) fn interval(&self) -> Duration {
        let RunLimits { time, memory, processes, .. } = self.limits;
        let often = time.is_some() || memory.is_some() || processes.is_some();
        Duration::from_millis(if often { 100 } else { 1000 })
    }

    /// The limit that is exceeded.
    pub(super) fn exceeded(&self) -> io::Result<Option<Exceeded>> {
        if let Some(time) = self.limits.time.filter(|time| self.start.elapsed() > *time) {
            return Ok(Some(Exceeded::Time(time)));
        }
        let RunLimits { memory, processes, .. } = self.limits;
        let Some(proc) = &self.proc else { return Ok(None) };
        let (mut count, mut bytes) = (0, 0u64);
        for entry in Dir::read_from(proc)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !name.iter().all(u8::is_ascii_digit) || name == b"1" {
                continue;
            }
            count += 1;
            if memory.is_some() {
                // One that has ended meanwhile has none.
                bytes = bytes.saturating_add(anonymous_memory(proc, name).unwrap_or(0));
            }
        }
        if let Some(limit) = processes.filter(|limit| count > *limit) {
            return Ok(Some(Exceeded::Processes(limit)));
        }
        Ok(memory.filter(|limit| bytes > *limit).map(Exceeded::Memory))
    }
}

/// Bytes of a process.
fn anonymous_memory(proc: &OwnedFd, process: &[u8]) -> io::Result<u64> {
    let path = [process, b"/status"].concat();
    let file = openat(proc, path.as_slice(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    File::from(file).take(1 << 14).read_to_string(&mut text)?;
    Ok(resident(&text))
}

/// Bytes of memory that no file stands behind. proc_pid_status(5).
fn resident(status: &str) -> u64 {
    let field = |line: &str| {
        let rest = line.strip_prefix("RssAnon:").or_else(|| line.strip_prefix("RssShmem:"))?;
        rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    status.lines().filter_map(field).sum::<u64>() << 10
}

/// Bytes that a file system has to keep free, unless it had fewer at the start: the machine has other things to write.
const RESERVE: u64 = 256 << 20;

/// The disk that a command writes to.
#[derive(Debug)]
pub(super) struct Disk {
    limit: u64,
    reserve: u64,
    /// Bytes that are free at most for the directory to be measured again.
    next: u64,
    /// Where the command writes.
    dir: &'static str,
}

impl Disk {
    /// `dir` is where the command writes, in the current directory.
    pub(super) fn new(limit: u64, dir: &'static str) -> io::Result<Disk> {
        let free = free(dir)?;
        let reserve = if free > RESERVE { RESERVE } else { 0 };
        // What others write meanwhile looks the same from here, so this only says when to look closer.
        let used = used(Path::new(dir))?;
        Ok(Disk { limit: limit.saturating_add(used), reserve, next: free.saturating_sub(limit), dir })
    }

    /// The limit that is exceeded.
    pub(super) fn exceeded(&mut self) -> io::Result<Option<Exceeded>> {
        let free = free(self.dir)?;
        if free < self.reserve {
            return Ok(Some(Exceeded::Full(self.reserve)));
        }
        if free >= self.next {
            return Ok(None);
        }
        let used = used(Path::new(self.dir))?;
        if used > self.limit {
            return Ok(Some(Exceeded::Disk(self.limit)));
        }
        self.next = free.saturating_sub(self.limit - used);
        Ok(None)
    }
}

fn free(dir: &str) -> io::Result<u64> {
    let stat = statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Bytes on the disk below a directory. What changes meanwhile may count or not.
fn used(dir: &Path) -> io::Result<u64> {
    let mut total = 0u64;
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        let Ok(entries) = dir.read_dir() else { continue };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            total = total.saturating_add(meta.blocks().saturating_mul(512) / meta.nlink().max(1));
            if meta.is_dir() {
                todo.push(entry.path());
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_without_files() {
        let status = "Name:\tx\nVmRSS:\t  9000 kB\nRssAnon:\t     100 kB\nRssFile:\t 8000 kB\nRssShmem:\t      28 kB\n";
        assert_eq!(resident(status), 128 << 10);
        assert_eq!(resident("Name:\tkthreadd\n"), 0);
    }

    #[test]
    fn what_is_exceeded() {
        let none = RunLimits::default();
        let exceeded = |limits| Processes::new(limits).unwrap().exceeded().unwrap();
        assert_eq!(exceeded(none), None);
        assert_eq!(exceeded(RunLimits { processes: Some(0), ..none }), Some(Exceeded::Processes(0)));
        assert_eq!(exceeded(RunLimits { memory: Some(1), ..none }), Some(Exceeded::Memory(1)));
        assert_eq!(exceeded(RunLimits { memory: Some(u64::MAX), processes: Some(u64::MAX), ..none }), None);
        let time = Some(Duration::ZERO);
        assert_eq!(exceeded(RunLimits { time, ..none }), Some(Exceeded::Time(Duration::ZERO)));
    }

    #[test]
    fn holes_are_no_bytes_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join("holes")).unwrap().set_len(1 << 40).unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/data"), [1; 1 << 16]).unwrap();
        let used = used(dir.path()).unwrap();
        assert!((1 << 16..1 << 20).contains(&used), "{used}");
    }
}
