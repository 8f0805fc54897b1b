//! Writing an image while the disk already works on its beginning.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::Scope;

/// Has the disk work while the processors do: a thread syncs what was written, so that little is left for the end.
pub(crate) struct EarlySync<'env> {
    file: &'env File,
    /// Where the image begins in it.
    start: u64,
    pending: usize,
    ask: SyncSender<()>,
}

/// Bytes between two syncs.
const SYNC_EVERY: usize = 1 << 21;

impl<'env> EarlySync<'env> {
    pub(crate) fn new<'scope>(scope: &'scope Scope<'scope, 'env>, file: &'env File, start: u64) -> Self {
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
