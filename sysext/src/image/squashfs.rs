//! squashfs images, by [`crate::squashfs`].

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::Scope;

use super::{ImageError, ImageOptions};
use crate::{
    Extension,
    squashfs::{self, Options},
};
use tree::{Content, Event, Events};

/// More threads don't help: writing is one thread's work.
const MAX_THREADS: usize = 16;

/// Writes the file system at `start` in the file, which ends there.
pub(super) fn write(
    extension: &Extension,
    file: &File,
    start: u64,
    path: &Path,
    options: &ImageOptions,
    events: &dyn Events,
) -> Result<(), ImageError> {
    let (codec, level) = options.compression.resolve(options.format)?;
    let epoch = extension.epoch();
    let mkfs_time = u32::try_from(epoch).map_err(|_| ImageError::Epoch { format: options.format, epoch })?;
    let threads = threads(options);
    (&*file)
        .seek(SeekFrom::Start(start))
        .map_err(|source| ImageError::Io { path: path.to_owned(), source })?;
    let block_size = options.block_size.unwrap_or(squashfs::DEFAULT_BLOCK_SIZE);
    let task = format!("writing {}", path.file_name().unwrap_or_default().to_string_lossy());
    let contents = extension.tree().iter().filter_map(|(_, n)| n.content());
    let total = contents.map(Content::len).fold(0, u64::saturating_add);
    let result = std::thread::scope(|scope| {
        squashfs::write(
            extension.tree(),
            &mut EarlySync::new(scope, file, start),
            &Options { codec, level, block_size, mkfs_time, threads, first: options.first.clone() },
            &mut |done| events.event(Event::Progress { task: &task, done, total: Some(total) }),
        )
    });
    events.event(Event::Done { task: &task });
    result
        .map(drop)
        .map_err(|source| ImageError::Squashfs { path: path.to_owned(), source: Box::new(source) })
}

/// Those asked for, else as many as the machine has.
pub(super) fn threads(options: &ImageOptions) -> NonZeroUsize {
    let available = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    options.threads.or(NonZeroUsize::new(available)).unwrap_or(NonZeroUsize::MIN)
}

/// Has the disk work while the processors do: a thread syncs what was written, so that little is left for the end.
pub(super) struct EarlySync<'env> {
    file: &'env File,
    /// Where the image begins in it.
    start: u64,
    pending: usize,
    ask: SyncSender<()>,
}

/// Bytes between two syncs.
const SYNC_EVERY: usize = 1 << 21;

impl<'env> EarlySync<'env> {
    pub(super) fn new<'scope>(scope: &'scope Scope<'scope, 'env>, file: &'env File, start: u64) -> Self {
        let (ask, asked) = sync_channel(1);
        scope.spawn(move || {
            while asked.recv().is_ok() {
                // The sync at the end reports what goes wrong.
                let _ = file.sync_data();
            }
        });
        EarlySync { file, start, pending: 0, ask }
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
        let to = match to {
            SeekFrom::Start(at) => {
                SeekFrom::Start(self.start.checked_add(at).ok_or(io::ErrorKind::InvalidInput)?)
            }
            other => other,
        };
        self.file.seek(to)?.checked_sub(self.start).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }
}
