//! A part of a file: a partition, or all of it.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// A part of a file.
#[derive(Debug)]
pub(crate) struct Section {
    /// The file's, for messages and tools.
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    /// Bytes.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) len: u64,
}

impl Section {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn read_exact_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        match at.checked_add(buf.len() as u64) {
            Some(end) if end <= self.len => self.file.read_exact_at(buf, self.offset + at),
            _ => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}
