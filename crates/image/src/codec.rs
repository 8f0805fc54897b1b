//! One block in, one block out, by the codecs of squashfs and erofs. Encoders are kept, since making one costs more than a block.

use std::io::{self, Read};

use flate2::{Compress, FlushCompress, Status};
use liblzma::stream::{Action, Check, Filters, LzmaOptions, Stream};
use lz4::block::CompressionMode;

use zstd_blocks::Zstd;

use crate::format::Codec;

/// Compresses blocks of one image.
pub(crate) enum Encoder {
    Zstd(Zstd),
    Gzip(Compress),
    Xz { level: u32, dictionary: u32 },
    Lz4(CompressionMode),
}

impl Encoder {
    /// For blocks of up to `block_size` bytes.
    pub(crate) fn new(codec: Codec, level: u32, block_size: u32) -> io::Result<Self> {
        Ok(match codec {
            Codec::Zstd => Encoder::Zstd(Zstd::new(level, block_size)?),
            Codec::Gzip => Encoder::Gzip(Compress::new(flate2::Compression::new(level), true)),
            Codec::Xz => Encoder::Xz { level, dictionary: block_size },
            Codec::Lz4 => Encoder::Lz4(match level {
                1 => CompressionMode::DEFAULT,
                // At most 12.
                level => CompressionMode::HIGHCOMPRESSION(level as i32),
            }),
        })
    }

    /// The compressed block. May be longer than `block`.
    pub(crate) fn compress(&mut self, block: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Encoder::Zstd(z) => z.compress(block),
            Encoder::Gzip(z) => {
                z.reset();
                // zlib's bound: 5 bytes a 16 KiB stored block, and the frame.
                let mut out = Vec::with_capacity(block.len() + block.len() / 1000 + 64);
                match z.compress_vec(block, &mut out, FlushCompress::Finish)? {
                    Status::StreamEnd => Ok(out),
                    status => Err(io::Error::other(format!("zlib block ended with {status:?}"))),
                }
            }
            Encoder::Lz4(mode) => lz4::block::compress(block, Some(*mode), false),
            Encoder::Xz { level, dictionary } => {
                let mut options = LzmaOptions::new_preset(*level)?;
                // The kernel's decoder reserves no more than the block size. fs/squashfs/xz_wrapper.c
                options.dict_size(*dictionary);
                let mut filters = Filters::new();
                filters.lzma2(&options);
                let mut stream = Stream::new_stream_encoder(&filters, Check::Crc32)?;
                let mut out = Vec::with_capacity(block.len() + block.len() / 64 + 256);
                match stream.process_vec(block, &mut out, Action::Finish)? {
                    liblzma::stream::Status::StreamEnd => Ok(out),
                    status => Err(io::Error::other(format!("xz block ended with {status:?}"))),
                }
            }
        }
    }
}

/// Bytes. What a decoder may take for its dictionary.
const DECODER_MEMORY: u64 = 128 << 20;

/// The block that was compressed to `bytes`; none if they are damaged or more than `limit` comes out of them.
pub(crate) fn inflate(codec: Codec, bytes: &[u8], limit: usize) -> Option<Vec<u8>> {
    let all = |reader: &mut dyn Read| {
        let mut out = Vec::new();
        reader.take(limit as u64 + 1).read_to_end(&mut out).ok().map(|_| out)
    };
    let out = match codec {
        Codec::Gzip => all(&mut flate2::read::ZlibDecoder::new(bytes)),
        Codec::Xz => {
            let stream = Stream::new_stream_decoder(DECODER_MEMORY, 0).ok()?;
            all(&mut liblzma::read::XzDecoder::new_stream(bytes, stream))
        }
        Codec::Lz4 => lz4::block::decompress(bytes, Some(i32::try_from(limit).ok()?)).ok(),
        Codec::Zstd => zstd::bulk::decompress(bytes, limit).ok(),
    };
    out.filter(|out| out.len() <= limit)
}
