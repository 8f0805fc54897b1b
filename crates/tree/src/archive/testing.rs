//! Tars for tests, also such as no honest program writes.

use std::io::Write;
use std::sync::Arc;

use crate::Blob;

/// A header that is written as it stands here, and the data behind it.
#[derive(Debug, Clone)]
pub struct Raw {
    /// The name field; its first 100 bytes are used.
    pub name: Vec<u8>,
    /// The type letter.
    pub flag: u8,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The size field; the data's length if none.
    pub size: Option<u64>,
    /// Seconds.
    pub mtime: u64,
    /// The link name field.
    pub link: Vec<u8>,
    /// `ustar\0` and `00`, or GNU's.
    pub magic: [u8; 8],
    /// What follows the header, padded to a block.
    pub data: Vec<u8>,
    /// Bytes put over the header before its checksum is made.
    pub patches: Vec<(usize, Vec<u8>)>,
}

impl Raw {
    /// An empty regular file's.
    pub fn new(name: impl AsRef<[u8]>, flag: u8) -> Self {
        Raw {
            name: name.as_ref().to_vec(),
            flag,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: None,
            mtime: 0,
            link: Vec::new(),
            magic: *b"ustar\x0000",
            data: Vec::new(),
            patches: Vec::new(),
        }
    }
}

/// The extended header records `LENGTH KEY=VALUE\n`.
pub(crate) fn pax_records<K: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(K, V)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in pairs {
        let body = [b" ", key.as_ref(), b"=", value.as_ref(), b"\n"].concat();
        let mut len = body.len() + 1;
        while len.to_string().len() + body.len() != len {
            len += 1;
        }
        out.extend_from_slice(len.to_string().as_bytes());
        out.extend_from_slice(&body);
    }
    out
}

/// Writes a tar, entry by entry.
#[derive(Debug, Clone, Default)]
pub struct TarBuilder {
    bytes: Vec<u8>,
}

impl TarBuilder {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// A header as it is given, with a right checksum.
    #[must_use]
    pub fn raw(mut self, raw: &Raw) -> Self {
        let mut block = [0u8; 512];
        let mut put = |at: usize, bytes: &[u8], max: usize| {
            let n = bytes.len().min(max);
            block[at..at + n].copy_from_slice(&bytes[..n]);
        };
        put(0, &raw.name, 100);
        put(100, format!("{:07o}", raw.mode).as_bytes(), 7);
        put(108, format!("{:07o}", raw.uid).as_bytes(), 7);
        put(116, format!("{:07o}", raw.gid).as_bytes(), 7);
        put(124, format!("{:011o}", raw.size.unwrap_or(raw.data.len() as u64)).as_bytes(), 11);
        put(136, format!("{:011o}", raw.mtime).as_bytes(), 11);
        put(148, b"        ", 8);
        put(156, &[raw.flag], 1);
        put(157, &raw.link, 100);
        put(257, &raw.magic, 8);
        for (at, bytes) in &raw.patches {
            put(*at, bytes, 512 - at);
        }
        let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.bytes.extend_from_slice(&block);
        self.bytes.extend_from_slice(&raw.data);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// Bytes as they are, no header.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// A directory, 0755.
    #[must_use]
    pub fn dir(self, name: impl AsRef<[u8]>) -> Self {
        self.raw(&Raw { mode: 0o755, ..Raw::new(name, b'5') })
    }

    /// A regular file, 0644.
    #[must_use]
    pub fn file(self, name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        self.raw(&Raw { data: data.as_ref().to_vec(), ..Raw::new(name, b'0') })
    }

    /// A symlink.
    #[must_use]
    pub fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.raw(&Raw { mode: 0o777, link: target.as_ref().to_vec(), ..Raw::new(name, b'2') })
    }

    /// A hard link.
    #[must_use]
    pub fn hardlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.raw(&Raw { link: target.as_ref().to_vec(), ..Raw::new(name, b'1') })
    }

    /// A character device (`3`) or a block device (`4`).
    #[must_use]
    pub fn device(self, name: impl AsRef<[u8]>, flag: u8, major: u32, minor: u32) -> Self {
        let patches = vec![(329, format!("{major:07o}").into()), (337, format!("{minor:07o}").into())];
        self.raw(&Raw { patches, ..Raw::new(name, flag) })
    }

    /// An extended header (`x`) with these records, or a global one (`g`).
    #[must_use]
    pub fn pax<K: AsRef<[u8]>, V: AsRef<[u8]>>(self, flag: u8, pairs: &[(K, V)]) -> Self {
        self.raw(&Raw { data: pax_records(pairs), ..Raw::new("PaxHeaders/x", flag) })
    }

    /// GNU's long name (`L`) or long link (`K`).
    #[must_use]
    pub fn long(self, flag: u8, name: impl AsRef<[u8]>) -> Self {
        let data = [name.as_ref(), b"\0"].concat();
        self.raw(&Raw { data, magic: *b"ustar  \0", ..Raw::new("././@LongLink", flag) })
    }

    /// The archive without its end blocks.
    pub fn unfinished(self) -> Vec<u8> {
        self.bytes
    }

    /// The archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }
}

/// A blob that holds these bytes; gone when it is dropped.
///
/// # Panics
/// No temporary file can be written.
pub fn blob(bytes: &[u8]) -> Arc<Blob> {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).expect("a temporary file can be written");
    Blob::from_file("test.tar", file)
}
