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
    /// Of all processes together. Bytes. Memory that several share counts once for each; memory that no process has mapped is
    /// only seen by what the machine's shared memory grew by.
    pub memory: Option<u64>,
    /// At once, with 16 threads each on average.
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
    /// Bytes of the machine's shared memory at the start.
    shared: u64,
}

/// Threads of a process, on average.
const THREADS: u64 = 16;

impl Processes {
    pub(super) fn new(limits: RunLimits) -> io::Result<Processes> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let is_limited = limits.memory.is_some() || limits.processes.is_some();
        let proc = is_limited.then(|| rustix::fs::open("/proc", flags, Mode::empty())).transpose()?;
        let shared = match &proc {
            Some(proc) if limits.memory.is_some() => shared_memory(proc)?,
            _ => 0,
        };
        Ok(Processes { proc, limits, start: Instant::now(), shared })
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
        let (mut count, mut threads, mut bytes) = (0, 0u64, 0u64);
        for entry in Dir::read_from(proc)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !name.iter().all(u8::is_ascii_digit) || name == b"1" {
                continue;
            }
            count += 1;
            // One that has ended meanwhile has none.
            let status = read(proc, &[name, b"/status"].concat()).unwrap_or_default();
            bytes = bytes.saturating_add(resident(&status));
            threads = threads.saturating_add(field(&status, "Threads:").unwrap_or(1));
        }
        if let Some(limit) =
            processes.filter(|limit| count > *limit || threads > limit.saturating_mul(THREADS))
        {
            return Ok(Some(Exceeded::Processes(limit)));
        }
        let Some(limit) = memory else { return Ok(None) };
        // A file in memory that nobody has mapped is no process's.
        let grown = shared_memory(proc)?.saturating_sub(self.shared);
        Ok((bytes > limit || grown > limit).then_some(Exceeded::Memory(limit)))
    }
}

/// A file of /proc.
fn read(proc: &OwnedFd, path: &[u8]) -> io::Result<String> {
    let file = openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    File::from(file).take(1 << 14).read_to_string(&mut text)?;
    Ok(text)
}

/// The number after a key at the beginning of a line.
fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
}

/// Bytes of memory of the whole machine that processes share, or that files of memory file systems take. proc_meminfo(5).
fn shared_memory(proc: &OwnedFd) -> io::Result<u64> {
    let text = read(proc, b"meminfo")?;
    field(&text, "Shmem:").map(|kib| kib << 10).ok_or_else(|| io::Error::other("/proc/meminfo has no Shmem"))
}

/// Bytes of a process's memory that no file stands behind. proc_pid_status(5).
fn resident(status: &str) -> u64 {
    ["RssAnon:", "RssShmem:"].iter().filter_map(|key| field(status, key)).sum::<u64>() << 10
}

/// Bytes that a file system has to keep free, unless it had fewer at the start: the machine has other things to write.
const RESERVE: u64 = 256 << 20;

/// How often the disk is looked at.
pub(super) const DISK_INTERVAL: Duration = Duration::from_millis(500);

/// How many times its limit may vanish from the disk without being found where the command writes. Others write, too.
const HIDDEN: u64 = 4;

/// The disk that a command writes to.
#[derive(Debug)]
pub(super) struct Disk {
    limit: u64,
    reserve: u64,
    /// Bytes that are free at most for the directory to be measured again.
    next: u64,
    /// Bytes that have to stay free, whatever is found in the directory: what was unlinked while it is open isn't found.
    least: u64,
    /// When it was looked at last.
    looked: Option<Instant>,
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
        let least = free.saturating_sub(limit.saturating_mul(HIDDEN));
        let limit_with_used = limit.saturating_add(used);
        Ok(Disk {
            limit: limit_with_used,
            reserve,
            next: free.saturating_sub(limit),
            least,
            looked: None,
            dir,
        })
    }

    /// The limit that is exceeded, if it is time to look again.
    pub(super) fn exceeded(&mut self) -> io::Result<Option<Exceeded>> {
        if self.looked.is_some_and(|at| at.elapsed() < DISK_INTERVAL) {
            return Ok(None);
        }
        self.looked = Some(Instant::now());
        let free = free(self.dir)?;
        if free < self.reserve {
            return Ok(Some(Exceeded::Full(self.reserve)));
        }
        if free < self.least {
            return Ok(Some(Exceeded::Disk(self.limit)));
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
