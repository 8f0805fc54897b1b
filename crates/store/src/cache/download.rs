//! Files that are kept as they come: downloads that are no layers. They lie beside the layers, under the digest of their
//! bytes, and are checked, listed and pruned like them.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::lock::{self, Lock};
use super::{Cache, CacheError, at, files};
use crate::{Digest, Hasher, LayerBlob};

/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;

/// What is known of a file before it is here. All that is known is checked.
#[derive(Debug, Clone, Copy)]
pub struct ExpectedFile {
    /// Of its bytes.
    pub digest: Option<Digest>,
    /// Bytes.
    pub size: Option<u64>,
    /// Bytes; more than that isn't taken.
    pub limit: u64,
}

/// Why a file isn't in the cache. The caller knows its URL.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum DownloadError {
    /// The cache's own trouble.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The source failed. Its own error is inside.
    #[error(transparent)]
    Source(io::Error),
    #[error("got {got} bytes{}, expected {expected}", if *.more { " or more" } else { "" })]
    Size {
        /// Bytes.
        got: u64,
        /// Whether it was given up there.
        more: bool,
        /// Bytes.
        expected: u64,
    },
    /// More than may be taken in.
    #[error("got more than {limit} bytes, the limit for a download")]
    Limit { limit: u64 },
    #[error("got content with digest {got}, expected {expected}")]
    Digest {
        got: Digest,
        /// As it should be.
        expected: Digest,
    },
}

impl Cache {
    /// A file by the digest of its bytes, if it is here and undamaged.
    ///
    /// # Errors
    /// The file is there but can't be read.
    pub fn file(&self, digest: &Digest) -> Result<Option<LayerBlob>, CacheError> {
        self.layer(digest)
    }

    /// Fetches a file unless it is here. `open` gets a reader that starts at an offset, and may tell the whole length: what
    /// an earlier run got is not asked for again. That takes a known digest; without one the offset is always 0. `name` is
    /// any text that stands for the source: two processes don't fetch from one source at once, the second `waits`.
    /// `progress` gets the bytes that are here and the length, if known.
    ///
    /// # Errors
    /// The reader's errors; content that isn't what was expected; no room.
    pub fn fetch_file<R: Read>(
        &self,
        name: &str,
        expect: &ExpectedFile,
        waits: impl FnOnce(),
        mut open: impl FnMut(u64) -> io::Result<(R, Option<u64>)>,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<LayerBlob, DownloadError> {
        // A layer's digest has its own lock and partial file under the same name, with other content.
        let id = match &expect.digest {
            Some(digest) => Digest::of(format!("file {digest}")),
            None => Digest::of(format!("url {name}")),
        };
        let lock_path = self.path("locks", &id.hex());
        let _lock = Lock::acquire(&lock_path, waits).map_err(at(&lock_path))?;
        if let Some(digest) = &expect.digest
            && let Some(file) = self.file(digest)?
        {
            return Ok(file);
        }
        let path = self.path("partial", &id.hex());
        loop {
            let mut file = lock::open(&path, true).map_err(at(&path))?;
            let mut here = file.metadata().map_err(at(&path))?.len();
            if here > 0 && (expect.digest.is_none() || expect.size.is_some_and(|size| here > size)) {
                file.set_len(0).map_err(at(&path))?;
                here = 0;
            }
            let taken = self.take_file(&mut file, &path, here, expect, &mut open, progress);
            match taken {
                Ok(digest) => return Ok(self.publish_file(&path, file, &digest)?),
                // The old part may be what is wrong.
                Err(e) if here > 0 && e.is_content() => files::remove(&path)?,
                Err(e) => {
                    if expect.digest.is_none() || !matches!(e, DownloadError::Source(_)) {
                        // Nothing that could be continued. The first error counts.
                        let _ = std::fs::remove_file(&path);
                    }
                    return Err(e);
                }
            }
        }
    }

    /// Brings the partial file to its end and says its digest.
    fn take_file<R: Read>(
        &self,
        file: &mut File,
        path: &Path,
        here: u64,
        expect: &ExpectedFile,
        open: &mut impl FnMut(u64) -> io::Result<(R, Option<u64>)>,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<Digest, DownloadError> {
        let mut hasher = Hasher::new();
        let mut buf = vec![0; BUFFER];
        let mut done = 0;
        file.seek(SeekFrom::Start(0)).map_err(at(path))?;
        while done < here {
            match file.read(&mut buf).map_err(at(path))? {
                0 => break,
                n => {
                    hasher.update(&buf[..n]);
                    done += n as u64;
                }
            }
        }
        if expect.size != Some(done) {
            let (mut reader, told) = open(done).map_err(DownloadError::Source)?;
            if let (Some(got), Some(expected)) = (told, expect.size)
                && got != expected
            {
                return Err(DownloadError::Size { got, more: false, expected });
            }
            loop {
                let n = match reader.read(&mut buf) {
                    Ok(0) => break,
                    Ok(n) => n,
                    Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                    Err(e) => return Err(DownloadError::Source(e)),
                };
                done += n as u64;
                if let Some(expected) = expect.size.filter(|size| done > *size) {
                    return Err(DownloadError::Size { got: done, more: true, expected });
                }
                if done > expect.limit {
                    return Err(DownloadError::Limit { limit: expect.limit });
                }
                hasher.update(&buf[..n]);
                file.write_all(&buf[..n]).map_err(at(path))?;
                progress(done, expect.size.or(told));
            }
        }
        if let Some(expected) = expect.size.filter(|size| done != *size) {
            return Err(DownloadError::Size { got: done, more: false, expected });
        }
        let got = hasher.finish();
        match expect.digest {
            Some(expected) if expected != got => Err(DownloadError::Digest { got, expected }),
            _ => Ok(got),
        }
    }

    /// Gives a finished file its name.
    fn publish_file(&self, path: &Path, file: File, digest: &Digest) -> Result<LayerBlob, CacheError> {
        let to = self.layer_path(digest);
        std::fs::rename(path, &to).map_err(at(&to))?;
        // This is the same file, even if somebody prunes it at once.
        lock::shared(&file).map_err(at(&to))?;
        let stamp = self.stamp(&file).map_err(at(&to))?;
        self.write_small(&to.with_extension("ok"), stamp.as_bytes())?;
        let len = file.metadata().map_err(at(&to))?.len();
        let blob = tree::Blob::from_file(&to, file);
        Ok(LayerBlob { diff_id: *digest, digest: None, blob, offset: 0, len })
    }
}

impl DownloadError {
    /// Whether the content was not what was promised: worth a try elsewhere, where a full disk isn't.
    pub fn is_content(&self) -> bool {
        matches!(self, DownloadError::Size { .. } | DownloadError::Digest { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        (dir, cache)
    }

    fn expect(digest: Option<Digest>, size: Option<u64>) -> ExpectedFile {
        ExpectedFile { digest, size, limit: 100 }
    }

    type Open<'a> = dyn FnMut(u64) -> io::Result<(Box<dyn Read>, Option<u64>)> + 'a;

    /// Breaks after some bytes.
    struct Breaks<'a>(&'a [u8]);

    impl Read for Breaks<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buf)? {
                0 => Err(ErrorKind::ConnectionReset.into()),
                n => Ok(n),
            }
        }
    }

    #[test]
    fn what_came_is_not_asked_for_again() {
        let (_dir, cache) = cache();
        let digest = Digest::of("0123456789");
        let wanted = expect(Some(digest), None);
        let fetch = |open: &mut Open<'_>| cache.fetch_file("u", &wanted, || (), open, &mut |_, _| ());
        let error = fetch(&mut |_| Ok((Box::new(Breaks(b"01234")), Some(10)))).unwrap_err();
        assert!(matches!(error, DownloadError::Source(_)), "{error}");
        let mut asked = Vec::new();
        let file = fetch(&mut |offset| {
            asked.push(offset);
            Ok((Box::new(&b"56789"[..]), Some(10)))
        });
        assert_eq!((file.unwrap().diff_id, asked), (digest, vec![5]));
        // It is here now.
        fetch(&mut |_| panic!("asked for")).unwrap();
        let content = cache.file(&digest).unwrap().unwrap();
        assert_eq!(tree::Content::in_blob(content.blob, 0, content.len).read(100).unwrap(), b"0123456789");
    }

    #[test]
    fn a_wrong_beginning_is_thrown_away() {
        let (_dir, cache) = cache();
        let wanted = expect(Some(Digest::of("0123456789")), Some(10));
        let broken = |_| Ok((Box::new(Breaks(b"xxx")) as Box<dyn Read>, None));
        cache.fetch_file("u", &wanted, || (), broken, &mut |_, _| ()).unwrap_err();
        let mut asked = Vec::new();
        let open = |offset: u64| {
            asked.push(offset);
            Ok((&b"0123456789"[offset as usize..], None))
        };
        cache.fetch_file("u", &wanted, || (), open, &mut |_, _| ()).unwrap();
        assert_eq!(asked, [3, 0]);
    }

    #[test]
    fn wrong_content_is_refused() {
        let (_dir, cache) = cache();
        let fetch = |expect: ExpectedFile, told| {
            let open = |_| Ok((&b"0123456789"[..], told));
            cache.fetch_file("u", &expect, || (), open, &mut |_, _| ())
        };
        let message = |expect, told| fetch(expect, told).unwrap_err().to_string();
        let other = Digest::of("other");
        let got = Digest::of("0123456789");
        let wanted = format!("got content with digest {got}, expected {other}");
        assert_eq!(message(expect(Some(other), None), None), wanted);
        assert_eq!(message(expect(None, Some(9)), None), "got 10 bytes or more, expected 9");
        assert_eq!(message(expect(None, Some(11)), None), "got 10 bytes, expected 11");
        assert_eq!(message(expect(None, Some(11)), Some(12)), "got 12 bytes, expected 11");
        let small = ExpectedFile { limit: 9, ..expect(None, None) };
        assert_eq!(message(small, None), "got more than 9 bytes, the limit for a download");
        assert!(cache.file(&got).unwrap().is_none());
        assert_eq!(fetch(expect(None, None), None).unwrap().diff_id, got);
        assert!(cache.dir().join("partial").read_dir().unwrap().next().is_none());
    }
}
