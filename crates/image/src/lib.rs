//! File systems and disks as bytes: squashfs, erofs, ext, btrfs, GPT and dm-verity, each with its writer and its reader.
//!
//! [`write()`] makes an image of a [`Volume`], [`read()`] reads any image into a tree.

mod format;
pub use format::{Codec, Compression, Format, FormatError, LevelError};

mod volume;
pub use volume::Volume;

mod codec;
mod crc32c;
mod device;
mod sha256;
mod uuid;

pub mod gpt;

mod signer;
pub use signer::{SignerError, VeritySigner};

mod verity;

mod disk;
pub use disk::Verity;

mod section;

pub mod squashfs;

mod error;
pub use error::ImageError;

mod early_sync;
mod tool;

mod erofs;

pub mod debugfs;

mod ext;

mod btrfs;

mod options;
pub use options::ImageOptions;

mod plain;

mod write;
pub use write::{Written, write};

mod reader;
pub use reader::{ForeignError, ImageContents, ImageKind, ReadCause, ReadError, is_image, read, read_host};

#[cfg(test)]
mod tests;
