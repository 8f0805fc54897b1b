//! Metadata blocks: 8 KiB each, compressed one by one, a length of 16 bits before each.

use std::io::{self, Write};

use super::output::Output;
use crate::codec::Encoder;
use crate::squashfs::layout::{METADATA_SIZE, METADATA_UNCOMPRESSED, MetadataPlace, Record};

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
    pub(super) fn place(&self) -> MetadataPlace {
        // A full block is written at once, so the offset is below 8192.
        MetadataPlace { block: self.written, offset: self.buffer.len() as u16 }
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
            (self.buffer.len() as u16 | METADATA_UNCOMPRESSED, &self.buffer)
        };
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(bytes)?;
        self.written += 2 + bytes.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Writes a table of records that is found by an index: metadata blocks, then the absolute place of each. Says where the
/// index is.
pub(super) fn write_table<'r, R: Record + 'r>(
    out: &mut Output<'_>,
    encoder: Encoder,
    records: impl Iterator<Item = &'r R>,
) -> io::Result<u64> {
    let index = write_records(out, encoder, records)?;
    let start = out.position;
    out.write_all(&index)?;
    Ok(start)
}

/// Writes the metadata blocks of a table, and gives its index.
pub(super) fn write_records<'r, R: Record + 'r>(
    out: &mut Output<'_>,
    encoder: Encoder,
    records: impl Iterator<Item = &'r R>,
) -> io::Result<Vec<u8>> {
    // So that no record lies across two blocks.
    const { assert!(METADATA_SIZE.is_multiple_of(R::SIZE)) };
    let mut index = Vec::new();
    let mut bytes = Vec::with_capacity(R::SIZE);
    let mut table = MetadataWriter::new(&mut *out, encoder);
    for record in records {
        if table.buffer.is_empty() {
            index.extend_from_slice(&table.out.position.to_le_bytes());
        }
        bytes.clear();
        record.put(&mut bytes);
        table.write(&bytes)?;
    }
    table.finish()?;
    Ok(index)
}
