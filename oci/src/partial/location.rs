//! Where a layer's table of contents is, and the table itself.

use std::io::{self, Cursor, Read};

use store::{Cache, DecodeLimits, Decoder, Digest, DownloadError, ExpectedFile};
use tree::{Blob, Content, Item, Kind, Limits, entries};

use super::remote::Remote;
use crate::Descriptor;

/// Bytes of a table, compressed or not. About a hundred thousand files.
pub(super) const TABLE_MAX: u64 = 32 << 20;

/// eStargz: digest of the table as JSON.
const STARGZ: &str = "containerd.io/snapshot/stargz/toc.digest";
/// zstd:chunked: digest of the compressed table, and `OFFSET:COMPRESSED:UNCOMPRESSED:TYPE`, lengths in bytes.
const CHUNKED: [(&str, &str); 2] = [
    (
        "io.github.containers.zstd-chunked.manifest-checksum",
        "io.github.containers.zstd-chunked.manifest-position",
    ),
    ("io.containers.zstd-chunked.manifest-checksum", "io.containers.zstd-chunked.manifest-position"),
];
/// The only type of table there is: eStargz's, as zstd:chunked has extended it.
const TYPE: &str = "1";

/// eStargz, "Footer": an empty gzip member whose extra field says where the table's member is.
const FOOTER: u64 = 51;
/// Up to the hexadecimal offset: header with an extra field of 26 bytes, subfield `SG` of 22.
const FOOTER_HEAD: [(usize, u8); 8] =
    [(0, 0x1f), (1, 0x8b), (2, 8), (3, 4), (10, 26), (11, 0), (12, b'S'), (13, b'G')];
const FOOTER_OFFSET: std::ops::Range<usize> = 16..32;
const FOOTER_MAGIC: &[u8] = b"STARGZ";
/// The file in the table's tar.
const TABLE_NAME: &[u8] = b"stargz.index.json";

/// What a manifest says of a table.
pub(super) enum Location {
    Stargz {
        /// Of the JSON.
        digest: Digest,
    },
    Chunked {
        /// Of the compressed JSON.
        digest: Digest,
        /// Bytes from the start of the layer.
        offset: u64,
        /// Compressed.
        len: u64,
    },
}

impl Location {
    /// None if the manifest names no table, or not well enough.
    pub(super) fn of(descriptor: &Descriptor) -> Option<Location> {
        let annotation = |key: &str| descriptor.annotations.get(key);
        for (digest, position) in CHUNKED {
            let (Some(digest), Some(position)) = (annotation(digest), annotation(position)) else { continue };
            let mut numbers = position.split(':');
            let mut number = || numbers.next()?.parse::<u64>().ok();
            let (offset, len, unpacked) = (number()?, number()?, number()?);
            let fits = offset.checked_add(len).is_some_and(|end| end <= descriptor.size);
            let small = len > 0 && len <= TABLE_MAX && unpacked <= TABLE_MAX;
            let known = numbers.next() == Some(TYPE);
            return (fits && small && known)
                .then(|| Some(Location::Chunked { digest: digest.parse().ok()?, offset, len }))?;
        }
        Some(Location::Stargz { digest: annotation(STARGZ)?.parse().ok()? })
    }

    pub(super) fn digest(&self) -> Digest {
        match self {
            Location::Stargz { digest } | Location::Chunked { digest, .. } => *digest,
        }
    }

    /// The table as JSON, from the cache or from the layer.
    pub(super) fn fetch(&self, remote: &Remote, cache: &Cache) -> Result<Vec<u8>, DownloadError> {
        let (digest, size) = match self {
            Location::Stargz { digest } => (*digest, None),
            Location::Chunked { digest, len, .. } => (*digest, Some(*len)),
        };
        let expect = ExpectedFile { digest: Some(digest), size, limit: TABLE_MAX };
        let open = |start: u64| {
            let mut bytes = match self {
                Location::Stargz { .. } => stargz(remote)?,
                Location::Chunked { offset, len, .. } => remote.bytes((*offset, offset + len))?,
            };
            bytes.drain(..bytes.len().min(start as usize));
            Ok((Cursor::new(bytes), None))
        };
        let file = cache.fetch_file(&digest.to_string(), &expect, || (), open, &mut |_, _| ())?;
        let content = Content::in_blob(file.blob, file.offset, file.len);
        let bytes = content.read(TABLE_MAX).map_err(|e| DownloadError::Source(io::Error::other(e)))?;
        match self {
            Location::Stargz { .. } => Ok(bytes),
            Location::Chunked { .. } => inflate(&bytes[..]).map_err(DownloadError::Source),
        }
    }
}

fn inflate(bytes: impl Read) -> io::Result<Vec<u8>> {
    let limits = DecodeLimits { bytes: TABLE_MAX, zeros: TABLE_MAX, ..DecodeLimits::default() };
    let mut out = Vec::new();
    Decoder::new(bytes, limits)?.read_to_end(&mut out)?;
    Ok(out)
}

/// The JSON out of the tar at the end of an eStargz layer.
fn stargz(remote: &Remote) -> io::Result<Vec<u8>> {
    let odd = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let start = remote.size.checked_sub(FOOTER).ok_or_else(|| odd("layer has no footer"))?;
    let footer = remote.bytes((start, remote.size))?;
    let offset = table_offset(&footer).filter(|offset| *offset < start && start - *offset <= TABLE_MAX);
    let offset = offset.ok_or_else(|| odd("layer has no footer of eStargz"))?;
    let tar = inflate(&remote.bytes((offset, start))?[..])?;
    json(&tar)?.ok_or_else(|| odd("layer has no stargz.index.json"))
}

/// What a footer says; none if it isn't one.
fn table_offset(footer: &[u8]) -> Option<u64> {
    let is_head = FOOTER_HEAD.iter().all(|(at, byte)| footer.get(*at) == Some(byte));
    let magic = footer.get(FOOTER_OFFSET.end..)?.starts_with(FOOTER_MAGIC);
    let digits = std::str::from_utf8(footer.get(FOOTER_OFFSET)?).ok()?;
    (is_head && magic).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// The table out of its tar, which has been in a file for as long as this takes: that is where archives are read.
fn json(tar: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let file = std::fs::File::from(rustix::fs::memfd_create("table", rustix::fs::MemfdFlags::CLOEXEC)?);
    std::os::unix::fs::FileExt::write_all_at(&file, tar, 0)?;
    let blob = Blob::from_file("table of contents", file);
    for entry in entries(&blob, 0, tar.len() as u64, &Limits::default()) {
        let entry = entry.map_err(io::Error::other)?;
        if let Item::Node(Kind::File(content)) = &entry.item
            && entry.path == TABLE_NAME
        {
            return content.read(TABLE_MAX).map(Some).map_err(io::Error::other);
        }
    }
    Ok(None)
}
