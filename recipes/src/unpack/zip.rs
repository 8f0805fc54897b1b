//! Zip archives.

use std::io::{self, Read, Seek, SeekFrom, Write};

use store::{Cache, CacheError};
use tree::{Blob, Content, Kind, Meta, Node, PathError, Tree, TreeError, TreePath};
use zip::ZipArchive;
use zip::result::ZipError as Malformed;

const ENTRIES: usize = 1 << 20;
/// Bytes of all files together, at most.
const BYTES: u64 = 16 << 30;
/// Bytes of a symlink's target.
const TARGET: u64 = 4096;

/// Why a zip makes no tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum ZipError {
    #[error("is malformed: {0}")]
    Malformed(String),
    #[error("entry {name:?}: {message}")]
    Entry {
        /// Its name as stored.
        name: String,
        message: String,
    },
    /// More than any real one has.
    #[error("has too many {0}")]
    TooMany(&'static str),
    /// No room for the inflated files.
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("inflated files: {0}")]
    Spool(io::Error),
}

/// The tree. The inflated files lie in a file that is gone with the last of them.
pub(super) fn tree(content: &Content, cache: &Cache) -> Result<Tree, ZipError> {
    let malformed = |e: Malformed| ZipError::Malformed(e.to_string());
    let mut archive = ZipArchive::new(Seekable { content, at: 0 }).map_err(malformed)?;
    if archive.len() > ENTRIES {
        return Err(ZipError::TooMany("entries"));
    }
    let scratch = cache.scratch("zip")?;
    let place = scratch.path().join("files");
    let mut options = std::fs::File::options();
    let mut spool = options.read(true).write(true).create_new(true).open(&place).map_err(ZipError::Spool)?;
    let blob = Blob::from_file(&place, spool.try_clone().map_err(ZipError::Spool)?);
    let mut tree = Tree::default();
    let mut at = 0;
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).map_err(malformed)?;
        let raw = entry.name_raw().to_vec();
        let bad =
            |message: String| ZipError::Entry { name: String::from_utf8_lossy(&raw).into_owned(), message };
        let path = TreePath::new(&raw).map_err(|e: PathError| bad(e.to_string()))?;
        let mode = entry.unix_mode();
        let kind = mode.unwrap_or(0) & 0o170_000;
        let node = if entry.is_dir() {
            Node { meta: Meta::dir(), kind: Kind::Dir }
        } else if kind == 0o120_000 {
            let mut target = Vec::new();
            entry.by_ref().take(TARGET + 1).read_to_end(&mut target).map_err(|e| bad(e.to_string()))?;
            if target.is_empty() || target.len() as u64 > TARGET {
                return Err(bad(format!("symlink has a target of {} bytes", target.len())));
            }
            Node::symlink(target)
        } else if matches!(kind, 0 | 0o100_000) {
            let mut limited = entry.by_ref().take(BYTES.saturating_sub(at) + 1);
            let len = copy(&mut limited, &mut spool).map_err(|e| match e {
                Copy::Read(e) => bad(e.to_string()),
                Copy::Write(e) => ZipError::Spool(e),
            })?;
            let content = Content::in_blob(blob.clone(), at, len);
            at += len;
            if at > BYTES {
                return Err(ZipError::TooMany("bytes"));
            }
            let executable = mode.is_some_and(|m| m & 0o111 != 0);
            Node::file(if executable { 0o755 } else { 0o644 }, content)
        } else {
            return Err(bad(format!("type {kind:o} is no file, directory or symlink")));
        };
        if path.is_root() {
            continue;
        }
        // Without symlinks on the way: no entry goes through another one.
        tree.insert_all(path, node, &Meta::dir()).map_err(|e: TreeError| bad(e.to_string()))?;
    }
    Ok(tree)
}

enum Copy {
    Read(io::Error),
    Write(io::Error),
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> Result<u64, Copy> {
    let mut buf = vec![0; 64 << 10];
    let mut len = 0;
    loop {
        let n = match from.read(&mut buf) {
            Ok(0) => return Ok(len),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Copy::Read(e)),
        };
        to.write_all(&buf[..n]).map_err(Copy::Write)?;
        len += n as u64;
    }
}

/// A content as a file to be read.
struct Seekable<'a> {
    content: &'a Content,
    at: u64,
}

impl Read for Seekable<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.content.read_at(buf, self.at).map_err(io::Error::other)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Seekable<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::End(n) => self.content.len().checked_add_signed(n),
            SeekFrom::Current(n) => self.at.checked_add_signed(n),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
