//! squashfs by backhand.
//!
//! What backhand can't do: extended attributes (an error before we get here) and hard links. The names of a hard link
//! become files of their own; the data of files of at least one block is there once, smaller ones are repeated in the
//! fragment blocks, where they compress well. In a read-only file system only `st_nlink` and `st_ino` tell.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::Scope;

use backhand::compression::{CompressionAction, CompressionOptions, Compressor};
use backhand::kind::Kind as Variant;
use backhand::{BackhandError, FilesystemCompressor, FilesystemWriter, NodeHeader, SuperBlock};

use super::ahead::{Ahead, JobQueue, Plan};
use super::{Codec, ImageError, ImageOptions};
use crate::{Content, ContentReader, Event, Events, Extension, Kind, Node, TreePath};

/// Bytes. mksquashfs' default, and what kernels are tuned for.
const BLOCK_SIZE: u32 = 128 << 10;

/// More threads don't help: reading and writing are one thread each.
const MAX_THREADS: usize = 8;

thread_local! {
    /// backhand wants a compressor that lives forever and knows nothing of the image; the image is this thread's.
    static AHEAD: RefCell<Option<Ahead>> = const { RefCell::new(None) };
}

struct FromAhead;

impl CompressionAction for FromAhead {
    type Error = BackhandError;
    type Compressor = Compressor;
    type FilesystemCompressor = FilesystemCompressor;
    type SuperBlock = SuperBlock;

    fn decompress(&self, _: &[u8], _: &mut Vec<u8>, _: Compressor) -> Result<(), BackhandError> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    fn compress(&self, bytes: &[u8], _: FilesystemCompressor, _: u32) -> Result<Vec<u8>, BackhandError> {
        AHEAD.with_borrow_mut(|ahead| match ahead {
            Some(ahead) => Ok(ahead.compress(bytes)?),
            None => Err(io::Error::from(io::ErrorKind::Unsupported).into()),
        })
    }
}

/// Ends the threads on every way out.
struct Installed;

impl Installed {
    fn new(ahead: Ahead) -> Self {
        AHEAD.set(Some(ahead));
        Installed
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        AHEAD.set(None);
    }
}

pub(super) fn write(
    extension: &Extension,
    file: &File,
    path: &Path,
    options: &ImageOptions,
    events: &dyn Events,
) -> Result<(), ImageError> {
    let (codec, level) = options.compression.resolve()?;
    let epoch = u32::try_from(extension.epoch())
        .map_err(|_| ImageError::Epoch { format: options.format, epoch: extension.epoch() })?;
    let squashfs =
        |source: BackhandError| ImageError::Squashfs { path: path.to_owned(), source: Box::new(source) };
    let io = |source| ImageError::Io { path: path.to_owned(), source };

    let task = format!("writing {}", path.file_name().unwrap_or_default().to_string_lossy());
    let progress = Progress { events, task: &task, done: Arc::default(), total: total(extension) };
    let mut writer = new_writer(codec, epoch).map_err(squashfs)?;
    let mut files = Vec::new();
    for (path, node) in extension.tree().iter() {
        push(&mut writer, path, node, epoch, &progress, &mut files).map_err(squashfs)?;
    }
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.map_or(available.min(MAX_THREADS), usize::from);
    let plan = Plan { codec, level, block_size: BLOCK_SIZE, threads };
    let jobs = JobQueue::default();
    let result = std::thread::scope(|scope| {
        let _installed = Installed::new(Ahead::start(scope, plan, files, &jobs).map_err(io)?);
        let mut out = BufWriter::with_capacity(1 << 18, EarlySync::new(scope, file));
        let (_, len) = writer.write(&mut out).map_err(squashfs)?;
        out.into_inner().map_err(|e| io(e.into_error()))?;
        // A duplicate that was written and taken back at the end leaves bytes behind.
        file.set_len(len).map_err(io)
    });
    events.event(Event::Done { task: &task });
    result
}

fn new_writer<'a>(codec: Codec, epoch: u32) -> Result<FilesystemWriter<'a, 'a, 'a>, BackhandError> {
    let id = match codec {
        Codec::Zstd => Compressor::Zstd,
        Codec::Gzip => Compressor::Gzip,
        Codec::Xz => Compressor::Xz,
    };
    let mut writer = FilesystemWriter::default();
    writer.set_kind(Variant::new_v4(&FromAhead));
    writer.set_compressor(FilesystemCompressor::new(id, None::<CompressionOptions>)?);
    writer.set_block_size(BLOCK_SIZE);
    writer.set_time(epoch);
    writer.set_only_root_id();
    Ok(writer)
}

fn push<'a>(
    writer: &mut FilesystemWriter<'a, 'a, 'a>,
    path: &TreePath,
    node: &Node,
    epoch: u32,
    progress: &Progress<'a>,
    files: &mut Vec<Content>,
) -> Result<(), BackhandError> {
    let meta = &node.meta;
    // Twelve bits.
    let header = NodeHeader::new((meta.mode & 0o7777) as u16, meta.uid, meta.gid, epoch);
    if path.is_root() {
        writer.set_root_mode(header.permissions);
        return Ok(());
    }
    let place = path.as_host_relative();
    match &node.kind {
        Kind::Dir => writer.push_dir(place, header),
        Kind::File(content) => {
            files.push(content.clone());
            let reader = Counted { reader: content.reader(), path: path.clone(), progress: progress.clone() };
            writer.push_file(reader, place, header)
        }
        Kind::Symlink(target) => writer.push_symlink(PathBuf::from(OsStr::from_bytes(target)), place, header),
        Kind::CharDevice { major, minor } => writer.push_char_device(device(*major, *minor), place, header),
        Kind::BlockDevice { major, minor } => writer.push_block_device(device(*major, *minor), place, header),
        Kind::Fifo => writer.push_fifo(place, header),
        Kind::Socket => writer.push_socket(place, header),
    }
}

/// The kernel's new_encode_dev(), include/linux/kdev_t.h.
fn device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

fn total(extension: &Extension) -> u64 {
    extension.tree().iter().filter_map(|(_, n)| n.content()).map(Content::len).fold(0, u64::saturating_add)
}

#[derive(Clone)]
struct Progress<'a> {
    events: &'a dyn Events,
    task: &'a str,
    done: Arc<AtomicU64>,
    total: u64,
}

/// A file's content for backhand: counts, and names the file in errors.
struct Counted<'a> {
    reader: ContentReader,
    path: TreePath,
    progress: Progress<'a>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buf).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", self.path)))?;
        let p = &self.progress;
        let done = p.done.fetch_add(n as u64, Ordering::Relaxed) + n as u64;
        p.events.event(Event::Progress { task: p.task, done, total: Some(p.total) });
        Ok(n)
    }
}

/// Has the disk work while the processors do: a thread syncs what was written, so that little is left for the end.
struct EarlySync<'env> {
    file: &'env File,
    pending: usize,
    ask: SyncSender<()>,
}

/// Bytes between two syncs.
const SYNC_EVERY: usize = 1 << 21;

impl<'env> EarlySync<'env> {
    fn new<'scope>(scope: &'scope Scope<'scope, 'env>, file: &'env File) -> Self {
        let (ask, asked) = sync_channel(1);
        scope.spawn(move || {
            while asked.recv().is_ok() {
                // The sync at the end reports what goes wrong.
                let _ = file.sync_data();
            }
        });
        EarlySync { file, pending: 0, ask }
    }
}

impl Write for EarlySync<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.file.write(buf)?;
        self.pending += n;
        if self.pending >= SYNC_EVERY {
            self.pending = 0;
            // Full: the thread will sync this, too.
            let _ = self.ask.try_send(());
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for EarlySync<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
