//! Compressed streams, identified by their first bytes.
//!
//! The media type isn't asked: Docker's and OCI's names for zstd layers differ, and registries serve layers whose type says
//! gzip and whose bytes say otherwise (skopeo#1286, containers/image#2906).

mod gzip;

use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use gzip::Gzip;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionFormat {
    /// Not at all.
    None,
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames, skippable ones too.
    Zstd,
    /// Any number of streams.
    Bzip2,
    /// Any number of streams.
    Xz,
}

impl fmt::Display for CompressionFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CompressionFormat::None => "plain",
            CompressionFormat::Gzip => "gzip",
            CompressionFormat::Zstd => "zstd",
            CompressionFormat::Bzip2 => "bzip2",
            CompressionFormat::Xz => "xz",
        })
    }
}

/// How many bytes [`CompressionFormat::sniff`] wants to see.
pub const SNIFF: usize = 8;

impl CompressionFormat {
    /// Detects the format from the first [`SNIFF`] bytes of a stream, or fewer if it is shorter.
    ///
    /// # Errors
    /// A format that is known, but not supported.
    pub fn sniff(head: &[u8]) -> Result<Self, DecodeError> {
        let unsupported = |name| Err(DecodeError::Unsupported(name));
        match head {
            [0x1f, 0x8b, ..] => Ok(CompressionFormat::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(CompressionFormat::Zstd),
            // RFC 8878, 3.1.2: a skippable frame may come first. pzstd and zstd:chunked write them.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(CompressionFormat::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Ok(CompressionFormat::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(CompressionFormat::Xz),
            [0x04, 0x22, 0x4d, 0x18, ..] => unsupported("lz4"),
            [0x5d, 0, 0, _, _, 0xff, 0xff, ..] | [0x5d, 0, 0, _, _, 0, 0, ..] => unsupported("lzma"),
            [b'L', b'Z', b'I', b'P', ..] => unsupported("lzip"),
            [0x1f, 0x9d | 0xa0, ..] => unsupported("compress"),
            [b'P', b'K', 3, 4, ..] => unsupported("zip"),
            [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => unsupported("7z"),
            _ => Ok(CompressionFormat::None),
        }
    }
}

/// How much a compressed stream may unfold to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Bytes that come out, at most; runs of zeros have limits of their own.
    pub bytes: u64,
    /// Bytes out for one byte in, at most; counted from `ratio_from` on.
    pub ratio: u64,
    /// Output bytes that are allowed at any ratio.
    pub ratio_from: u64,
    /// Bytes in runs of zeros, at most. They take no room, but time to be hashed.
    pub zeros: u64,
    /// Bytes in runs of zeros for one byte in, at most; counted from `zeros_from` on.
    pub zeros_ratio: u64,
    /// Bytes in runs of zeros that nobody minds whatever the ratio.
    pub zeros_from: u64,
    /// Memory that a decoder may take for its window or dictionary. Bytes, rounded down to a power of two for zstd.
    pub memory: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        DecodeLimits {
            bytes: 64 << 30,
            // Deflate can't do more than 1032:1, and file trees don't come near: a Debian root has 2.6:1.
            ratio: 250,
            ratio_from: 512 << 20,
            // What does come near is a sparse /var/log/lastlog, 292 bytes for each uid up to the highest one: 627 GB at
            // most. Docker packs it as zeros. A core hashes 1 to 2 GB of them in a second, so that 64 GiB take a minute at
            // most; whoever wants more time of others has to send a byte for each 1200, which is gzip's best.
            zeros: 1 << 40,
            zeros_ratio: 1200,
            zeros_from: 64 << 30,
            // xz -9 needs 65 MiB, zstd --long=27 128 MiB; the zstd tool refuses more as well.
            memory: 128 << 20,
        }
    }
}

/// Why a stream can't be decoded; the inner error of the [`io::Error`]s of a [`Decoder`], except those that come from its
/// source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum DecodeError {
    /// A known format without a decoder here.
    #[error("compressed with {0}, expected gzip, zstd, bzip2, xz or plain")]
    Unsupported(&'static str),
    /// The decoder rejected the data.
    #[error("{compression} stream is damaged: {message}")]
    Damaged { compression: CompressionFormat, message: String },
    /// The stream stops in the middle.
    #[error("{0} stream ends early")]
    Truncated(CompressionFormat),
    /// Something behind the stream's end that belongs to no stream.
    #[error("{0} stream has other data behind its end")]
    Trailing(CompressionFormat),
    /// More than [`DecodeLimits::bytes`].
    #[error("{compression} stream is larger than {limit} bytes when decompressed")]
    Bytes { compression: CompressionFormat, limit: u64 },
    /// More than [`DecodeLimits::zeros`], or more than the ratio allows.
    #[error("{compression} stream unfolds to more than {limit} bytes of zeros")]
    Zeros { compression: CompressionFormat, limit: u64 },
    /// More than [`DecodeLimits::ratio`].
    #[error("{compression} stream unfolds to more than {limit} times its size")]
    Ratio { compression: CompressionFormat, limit: u64 },
}

impl From<DecodeError> for io::Error {
    fn from(e: DecodeError) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, e)
    }
}

/// Decompresses what it reads from `R`, to the very end of it. Errors of `R` come through as they are; all others hold a
/// [`DecodeError`].
pub struct Decoder<R: Read> {
    codec: Codec<R>,
    compression: CompressionFormat,
    /// Bytes.
    limits: DecodeLimits,
    out: u64,
    /// Bytes of these in runs of zeros.
    zeros: u64,
    ended: bool,
}

enum Codec<R: Read> {
    Plain(Source<R>),
    Gzip(Box<Gzip<Source<R>>>),
    Zstd(zstd::stream::read::Decoder<'static, Source<R>>),
    Bzip2(bzip2::bufread::MultiBzDecoder<Source<R>>),
    Xz(liblzma::bufread::XzDecoder<Source<R>>),
}

impl<R: Read> fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("compression", &self.compression).field("out", &self.out).finish()
    }
}

impl<R: Read> Decoder<R> {
    /// Looks at the first bytes of `reader`.
    ///
    /// # Errors
    /// The reader's own, or a format that isn't supported.
    pub fn new(reader: R, limits: DecodeLimits) -> io::Result<Self> {
        Self::with_checks(reader, limits, true)
    }

    /// As [`Decoder::new`], for content whose digest is known and compared: what gzip's own checksums would find, that finds, too.
    ///
    /// # Errors
    /// As those of [`Decoder::new`].
    pub(crate) fn without_checksums(reader: R, limits: DecodeLimits) -> io::Result<Self> {
        Self::with_checks(reader, limits, false)
    }

    fn with_checks(mut reader: R, limits: DecodeLimits, checks: bool) -> io::Result<Self> {
        let mut head = Vec::with_capacity(SNIFF);
        reader.by_ref().take(SNIFF as u64).read_to_end(&mut head)?;
        let compression = CompressionFormat::sniff(&head)?;
        let source = Source::new(head, reader);
        let codec = match compression {
            CompressionFormat::None => Codec::Plain(source),
            CompressionFormat::Gzip => Codec::Gzip(Box::new(Gzip::new(source, checks))),
            CompressionFormat::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
                decoder.window_log_max(limits.memory.max(1024).ilog2().min(31))?;
                Codec::Zstd(decoder)
            }
            CompressionFormat::Bzip2 => Codec::Bzip2(bzip2::bufread::MultiBzDecoder::new(source)),
            CompressionFormat::Xz => {
                let flags = liblzma::stream::CONCATENATED;
                let stream = liblzma::stream::Stream::new_stream_decoder(limits.memory, flags)
                    .map_err(io::Error::other)?;
                Codec::Xz(liblzma::bufread::XzDecoder::new_stream(source, stream))
            }
        };
        Ok(Decoder { codec, compression, limits, out: 0, zeros: 0, ended: false })
    }

    /// What the first bytes said.
    pub fn compression(&self) -> CompressionFormat {
        self.compression
    }

    /// Bytes that came out so far.
    #[cfg(test)]
    fn bytes_out(&self) -> u64 {
        self.out
    }

    /// Bytes taken from the reader so far, what is buffered included.
    #[cfg(test)]
    fn bytes_in(&self) -> u64 {
        self.source().read
    }

    fn source(&self) -> &Source<R> {
        match &self.codec {
            Codec::Plain(s) => s,
            Codec::Gzip(d) => d.source(),
            Codec::Zstd(d) => d.get_ref(),
            Codec::Bzip2(d) => d.get_ref(),
            Codec::Xz(d) => d.get_ref(),
        }
    }

    fn source_mut(&mut self) -> &mut Source<R> {
        match &mut self.codec {
            Codec::Plain(s) => s,
            Codec::Gzip(d) => d.source_mut(),
            Codec::Zstd(d) => d.get_mut(),
            Codec::Bzip2(d) => d.get_mut(),
            Codec::Xz(d) => d.get_mut(),
        }
    }

    fn decode(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match &mut self.codec {
            Codec::Plain(s) => s.read(buf),
            Codec::Gzip(d) => d.read(buf),
            Codec::Zstd(d) => d.read(buf),
            Codec::Bzip2(d) => d.read(buf),
            Codec::Xz(d) => d.read(buf),
        }
    }

    fn explain(&self, e: io::Error) -> io::Error {
        // Errors of the source (a reset connection) are the caller's business and may be worth a retry.
        if self.source().failed || e.get_ref().is_some_and(|inner| inner.is::<DecodeError>()) {
            return e;
        }
        let compression = self.compression;
        if e.kind() == io::ErrorKind::UnexpectedEof {
            return DecodeError::Truncated(compression).into();
        }
        DecodeError::Damaged { compression, message: e.to_string() }.into()
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.ended || buf.is_empty() {
            return Ok(0);
        }
        let n = match self.decode(buf) {
            Ok(n) => n,
            Err(e) => return Err(self.explain(e)),
        };
        let compression = self.compression;
        if n == 0 {
            // Whoever hashes what goes in has to see all of it.
            if !self.source_mut().fill_buf()?.is_empty() {
                return Err(DecodeError::Trailing(compression).into());
            }
            self.ended = true;
            return Ok(0);
        }
        self.out = self.out.saturating_add(n as u64);
        self.zeros = self.zeros.saturating_add(zeros(&buf[..n]));
        self.check()?;
        Ok(n)
    }
}

impl<R: Read> Decoder<R> {
    fn check(&self) -> Result<(), DecodeError> {
        let (compression, limits) = (self.compression, &self.limits);
        let (data, read) = (self.out - self.zeros, self.source().read);
        if data > limits.bytes {
            return Err(DecodeError::Bytes { compression, limit: limits.bytes });
        }
        let plain = compression == CompressionFormat::None;
        if data > read.saturating_mul(limits.ratio).max(limits.ratio_from) && !plain {
            return Err(DecodeError::Ratio { compression, limit: limits.ratio });
        }
        let allowed = read.saturating_mul(limits.zeros_ratio).max(limits.zeros_from).min(limits.zeros);
        if self.zeros > allowed {
            return Err(DecodeError::Zeros { compression, limit: allowed });
        }
        Ok(())
    }
}

/// A block of zeros, to compare with.
pub(crate) const ZEROS: [u8; 4096] = [0; 4096];

/// How many of the bytes are in blocks of zeros.
fn zeros(bytes: &[u8]) -> u64 {
    bytes.chunks(ZEROS.len()).filter(|c| **c == ZEROS[..c.len()]).map(|c| c.len() as u64).sum()
}

/// The compressed side: buffered, counted, and remembering whether it failed itself.
struct Source<R> {
    reader: BufReader<io::Chain<Cursor<Vec<u8>>, R>>,
    read: u64,
    failed: bool,
}

impl<R: Read> Source<R> {
    fn new(head: Vec<u8>, reader: R) -> Self {
        let reader = BufReader::with_capacity(64 << 10, Cursor::new(head).chain(reader));
        Source { reader, read: 0, failed: false }
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let fresh = self.reader.buffer().is_empty();
        match self.reader.fill_buf() {
            Ok(bytes) => {
                if fresh {
                    self.read = self.read.saturating_add(bytes.len() as u64);
                }
                Ok(bytes)
            }
            Err(e) => {
                self.failed = e.kind() != io::ErrorKind::Interrupted;
                Err(e)
            }
        }
    }

    fn consume(&mut self, n: usize) {
        self.reader.consume(n);
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buf)?;
        self.consume(n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests;
