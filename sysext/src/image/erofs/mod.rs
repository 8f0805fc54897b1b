//! An erofs writer for extensions: compressed by LZ4 or zstd, small files and directories inside of the metadata.
//!
//! Layout, in the order of the file: superblock and the compressors' settings in the first block, data, large directories,
//! inodes. Names follow fs/erofs/erofs_fs.h in Linux; Documentation/filesystems/erofs.rst tells of the format.
//!
//! A file is cut into pieces of [`data::PIECE`] bytes that are compressed on all threads and put down in order, so the bytes
//! don't depend on the number of threads. A piece becomes a "physical cluster" of whole blocks, or stays as it is if that
//! saves no block. A file that is compressed to less than a block lies behind its inode.

mod data;
mod directory;
mod inode;
mod place;
mod superblock;
mod xattr;

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::squashfs::{EarlySync, threads};
use super::tool::uuid;
use super::{Codec, ImageError, ImageOptions};
use crate::Extension;
use tree::{Content, Event, Events, Tree};

/// Bytes.
const BLOCK: u64 = 4096;

/// `EROFS_…_LZ4` and others: Z_EROFS_COMPRESSION_LZ4, Z_EROFS_COMPRESSION_ZSTD.
fn algorithm(codec: Codec) -> Option<u8> {
    match codec {
        Codec::Lz4 => Some(0),
        Codec::Zstd => Some(3),
        Codec::Gzip | Codec::Xz => None,
    }
}

/// Whether files can be compressed this way.
pub(super) fn takes(codec: Codec) -> bool {
    algorithm(codec).is_some()
}

pub(super) use xattr::stores as stores_xattr;

/// Writes the file system at `start` in the file, which ends there.
pub(super) fn write(
    extension: &Extension,
    file: &File,
    start: u64,
    path: &Path,
    options: &ImageOptions,
    events: &dyn Events,
) -> Result<(), ImageError> {
    let format = options.format;
    let (codec, level) = options.compression.resolve(format)?;
    let algorithm = algorithm(codec).ok_or(ImageError::Compression { format, codec })?;
    let epoch = extension.epoch();
    let build_time = u64::try_from(epoch).map_err(|_| ImageError::Epoch { format, epoch })?;
    let task = format!("writing {}", path.file_name().unwrap_or_default().to_string_lossy());
    let contents = extension.tree().iter().filter_map(|(_, n)| n.content());
    let total = contents.map(Content::len).fold(0, u64::saturating_add);
    let settings =
        Settings { codec, level, threads: threads(options), algorithm, build_time, uuid: uuid(extension)? };
    let result = write_tree(extension.tree(), (file, start, path), &settings, &mut |done| {
        events.event(Event::Progress { task: &task, done, total: Some(total) });
    });
    events.event(Event::Done { task: &task });
    result
}

/// How to write.
#[derive(Debug)]
struct Settings {
    codec: Codec,
    level: u32,
    threads: NonZeroUsize,
    /// The codec's number.
    algorithm: u8,
    /// Seconds since the epoch.
    build_time: u64,
    uuid: [u8; 16],
}

fn write_tree(
    tree: &Tree,
    (file, start, path): (&File, u64, &Path),
    settings: &Settings,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ImageError> {
    let io = |source| ImageError::Io { path: path.to_owned(), source };
    let &Settings { algorithm, build_time, uuid, .. } = settings;
    (&*file).seek(SeekFrom::Start(start)).map_err(io)?;
    let (places, stored, blocks) = std::thread::scope(|scope| {
        let file = EarlySync::new(scope, file, start);
        let mut out = Output { file: BufWriter::with_capacity(1 << 18, file), position: 0, path };
        out.write(&[0; BLOCK as usize])?;
        let stored = data::write(tree, &mut out, settings, progress)?;
        let places = place::Places::new(tree, &stored, build_time, out.block())?;
        inode::write(tree, &stored, &places, algorithm, build_time, &mut out)?;
        out.fill()?;
        out.file.flush().map_err(io)?;
        Ok::<_, ImageError>((places, stored, out.block()))
    })?;
    let superblock = superblock::Superblock {
        root_nid: u16::try_from(places.root())
            .map_err(|_| io(io::Error::other("the root's inode lies too far behind for erofs")))?,
        inodes: places.inodes(),
        build_time,
        blocks: u32::try_from(blocks).map_err(|_| io(io::ErrorKind::FileTooLarge.into()))?,
        meta: places.meta(),
        uuid,
        algorithm,
        largest: stored.largest,
        packed: stored.has_packed(),
    };
    file.write_all_at(&superblock.to_bytes(), start).map_err(io)
}

/// The image being written, and where in it we are.
struct Output<'a, W> {
    file: W,
    /// Bytes from the start of the file system.
    position: u64,
    path: &'a Path,
}

impl<W: Write> Output<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        let io = |source| ImageError::Io { path: self.path.to_owned(), source };
        self.file.write_all(bytes).map_err(io)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    /// Zeros up to a place.
    fn advance(&mut self, to: u64) -> Result<(), ImageError> {
        while self.position < to {
            let n = (to - self.position).min(BLOCK);
            self.write(&[0; BLOCK as usize][..n as usize])?;
        }
        Ok(())
    }

    /// Zeros up to the end of the block.
    fn fill(&mut self) -> Result<(), ImageError> {
        self.advance(self.position.next_multiple_of(BLOCK))
    }

    /// The block that comes next.
    fn block(&self) -> u64 {
        self.position.div_ceil(BLOCK)
    }
}

#[cfg(test)]
mod tests;
