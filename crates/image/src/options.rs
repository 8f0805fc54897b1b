//! How an image is written.

use std::num::NonZeroUsize;

use crate::disk::Verity;
use crate::erofs;
use crate::error::ImageError;
use crate::format::{Codec, Compression, Format};
use tree::TreePath;

/// Options for [`write()`](crate::write()).
#[derive(Debug, Clone, Default)]
pub struct ImageOptions {
    /// The format.
    pub format: Format,
    /// How squashfs and erofs are compressed.
    pub compression: Compression,
    /// Threads that compress; by default as many as the machine has, at most 16. The bytes don't depend on it.
    pub threads: Option<NonZeroUsize>,
    /// Of squashfs, 128 KiB by default; a power of two from 4 KiB to 1 MiB. Bytes.
    pub block_size: Option<u32>,
    /// Makes it a disk image, protected by dm-verity.
    pub verity: Option<Verity>,
    /// Files that are read together, best in the order of reading: squashfs puts their data side by side.
    pub first: Vec<TreePath>,
}

/// More threads don't help: writing is one thread's work.
const MAX_THREADS: usize = 16;

impl ImageOptions {
    /// Whether the format can do what is asked for; `write()` checks it, too.
    ///
    /// # Errors
    /// It can't.
    pub fn check(&self) -> Result<(), ImageError> {
        let format = self.format;
        if let Some(codec) = self.compression.codec.filter(|&codec| !takes(format, codec)) {
            return Err(ImageError::Compression { format, codec });
        }
        if self.block_size.is_some() && format != Format::Squashfs {
            return Err(ImageError::BlockSize { format });
        }
        if self.verity.is_some() && !format.is_file_system() {
            return Err(ImageError::NoDisk { format });
        }
        Ok(())
    }

    /// Those asked for, else as many as the machine has.
    pub(crate) fn threads(&self) -> NonZeroUsize {
        let available = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        self.threads.or(NonZeroUsize::new(available)).unwrap_or(NonZeroUsize::MIN)
    }
}

/// Whether files of that format can be compressed this way.
fn takes(format: Format, codec: Codec) -> bool {
    match format {
        Format::Squashfs => true,
        Format::Erofs => erofs::takes(codec),
        _ => false,
    }
}
