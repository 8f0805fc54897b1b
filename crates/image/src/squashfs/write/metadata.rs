//! Metadata blocks: 8 KiB each, compressed one by one, a length of 16 bits before each.

use std::io::{self, Write};

use super::Output;
use crate::codec::Encoder;

/// Bytes before compression. SQUASHFS_METADATA_SIZE.
pub(super) const METADATA_SIZE: usize = 8192;
/// Set in the length of a block that is stored as it is. SQUASHFS_COMPRESSED_BIT.
pub(super) const UNCOMPRESSED: u16 = 1 << 15;

/// A place in a table: where its metadata block starts, from the table's start, and the offset within the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Bytes, compressed.
    pub(super) block: u64,
    /// Bytes, uncompressed.
    pub(super) offset: u16,
}

impl Place {
    /// As inodes and xattr lists are named: 48 bits of block, 16 of offset.
    pub(super) fn reference(self) -> u64 {
        self.block << 16 | u64::from(self.offset)
    }

    pub(super) fn from_reference(reference: u64) -> Self {
        Place { block: reference >> 16, offset: reference as u16 }
    }
}

/// Packs bytes into metadata blocks.
pub(super) struct MetadataWriter<W> {
    out: W,
    encoder: Encoder,
    buffer: Vec<u8>,
    written: u64,
}

impl<W: Write> MetadataWriter<W> {
    pub(super) fn new(out: W, encoder: Encoder) -> Self {
        MetadataWriter { out, encoder, buffer: Vec::with_capacity(METADATA_SIZE), written: 0 }
    }

    /// Where the next byte goes.
    pub(super) fn place(&self) -> Place {
        // A full block is written at once, so the offset is below 8192.
        Place { block: self.written, offset: self.buffer.len() as u16 }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = bytes.len().min(METADATA_SIZE - self.buffer.len());
            self.buffer.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.buffer.len() == METADATA_SIZE {
                self.end_block()?;
            }
        }
        Ok(())
    }

    /// Writes what is left and gives the output back.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.end_block()?;
        Ok(self.out)
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let compressed = self.encoder.compress(&self.buffer)?;
        let (length, bytes) = if compressed.len() < self.buffer.len() {
            (compressed.len() as u16, &compressed)
        } else {
            (self.buffer.len() as u16 | UNCOMPRESSED, &self.buffer)
        };
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(bytes)?;
        self.written += 2 + bytes.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Writes a table of entries that is found by an index: metadata blocks, then the absolute place of each. Says where the
/// index is.
pub(super) fn write_table<const N: usize>(
    out: &mut Output<'_>,
    encoder: Encoder,
    entries: impl Iterator<Item = [u8; N]>,
) -> io::Result<u64> {
    // So that no entry lies across two blocks.
    const { assert!(METADATA_SIZE.is_multiple_of(N)) };
    let mut index = Vec::new();
    let mut table = MetadataWriter::new(&mut *out, encoder);
    for entry in entries {
        if table.buffer.is_empty() {
            index.extend_from_slice(&table.out.position.to_le_bytes());
        }
        table.write(&entry)?;
    }
    table.finish()?;
    let start = out.position;
    out.write_all(&index)?;
    Ok(start)
}
