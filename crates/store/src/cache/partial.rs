//! What is here of a compressed layer, kept while it is fetched, so that a killed run or a lost line costs little.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::{CacheError, at, files, is_full, lock};

/// Reads first what is here of a layer, then the rest from elsewhere, and keeps the rest too. Belongs to whoever holds the
/// lock on the layer's digest.
#[derive(Debug)]
pub(super) struct Partial<R, O> {
    path: PathBuf,
    file: Option<File>,
    /// Bytes that are still to be replayed.
    replay: u64,
    /// Bytes that were here at the beginning.
    replayed: u64,
    len: u64,
    /// The whole length, if known: there is no need to ask for the rest of a complete file.
    size: Option<u64>,
    open: O,
    rest: Option<R>,
}

impl<R: Read, O: FnMut(u64) -> io::Result<R>> Partial<R, O> {
    pub(super) fn open(path: PathBuf, size: Option<u64>, open: O) -> Result<Self, CacheError> {
        let file = lock::open(&path, true).map_err(at(&path))?;
        let mut len = file.metadata().map_err(at(&path))?.len();
        if size.is_some_and(|size| len > size) {
            file.set_len(0).map_err(at(&path))?;
            len = 0;
        }
        Ok(Partial { path, file: Some(file), replay: len, replayed: len, len, size, open, rest: None })
    }

    /// Whether some of the bytes came from an earlier run.
    pub(crate) fn is_resumed(&self) -> bool {
        self.replayed > 0
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The content was wrong, or is no longer needed.
    pub(crate) fn discard(self) -> Result<(), CacheError> {
        files::remove(&self.path)
    }

    /// Starts anew, without what was here.
    pub(super) fn restart(&mut self) -> Result<(), CacheError> {
        if let Some(file) = &mut self.file {
            file.set_len(0).and_then(|()| file.rewind()).map_err(at(&self.path))?;
        }
        (self.replay, self.replayed, self.len, self.rest) = (0, 0, 0, None);
        Ok(())
    }
}

impl<R: Read, O: FnMut(u64) -> io::Result<R>> Read for Partial<R, O> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(file) = self.file.as_mut().filter(|_| self.replay > 0) {
            let want = usize::try_from(self.replay).unwrap_or(usize::MAX).min(buf.len());
            let n = file.read(&mut buf[..want])?;
            if n == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.replay -= n as u64;
            return Ok(n);
        }
        if self.rest.is_none() {
            if self.size == Some(self.len) {
                return Ok(0);
            }
            self.rest = Some((self.open)(self.len)?);
        }
        let Some(rest) = &mut self.rest else { return Ok(0) };
        let n = rest.read(buf)?;
        self.len += n as u64;
        if let Some(file) = &mut self.file
            && let Err(e) = file.write_all(&buf[..n])
        {
            self.file = None;
            let _ = std::fs::remove_file(&self.path);
            // The inflated layer is on the same disk and larger. What else may be wrong here is no reason to stop: the
            // download is worth more than the copy of it.
            if is_full(e.kind()) {
                return Err(io::Error::new(e.kind(), at(&self.path)(e)));
            }
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let mut partial = Partial::open(path.clone(), Some(9), |_| Ok(&b"some text"[..])).unwrap();
        partial.file = Some(File::options().write(true).open("/dev/full").unwrap());
        let source = partial.read(&mut [0; 9]).unwrap_err();
        let error = CacheError::Source { name: "x".into(), source }.unwrapped();
        assert!(matches!(&error, CacheError::Io { path: p, .. } if *p == path), "{error}");
        assert!(error.to_string().contains("No space left on device"), "{error}");
        assert!(!path.exists());
    }
}
