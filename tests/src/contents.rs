//! Layers with a table of contents, written by hand: eStargz and zstd:chunked.

use std::io::{Cursor, Read, Write};

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tar::EntryType;

use crate::registry::{Layer, digest};

/// How files are compressed and where the table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// A gzip member for each piece; the table is a file of the tar, and a footer says where.
    Stargz,
    /// A zstd frame for each piece; the table is in a frame that others skip, and the manifest says where.
    Chunked,
}

/// A layer, and what its manifest has to say about it.
#[derive(Debug, Clone)]
pub struct Packed {
    /// Its bytes, and those of the tar in it.
    pub layer: Layer,
    /// Of its descriptor.
    pub annotations: Value,
}

/// Packs a tar with files in pieces of `chunk` bytes. `change` may alter the table before it is written.
///
/// # Errors
/// Not a tar.
pub fn pack(tar: &[u8], packing: Packing, chunk: usize, change: impl FnOnce(&mut Value)) -> Result<Packed> {
    let mut out = Out { packing, blob: Vec::new(), tar: Vec::new(), member: Vec::new() };
    let mut entries: Vec<Value> = Vec::new();
    let mut done = 0;
    for entry in tar::Archive::new(Cursor::new(tar)).entries()? {
        let mut entry = entry?;
        let (start, header) = (entry.raw_file_position() as usize, entry.header().clone());
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        out.member.extend(&tar[done..start]);
        let mut value = json!({
            "name": entry.path()?.to_string_lossy(), "type": kind(header.entry_type()), "mode": header.mode()?,
            "uid": header.uid()?, "gid": header.gid()?, "modtime": "2024-05-06T07:08:09Z",
        });
        if let Some(link) = entry.link_name()? {
            value["linkName"] = json!(link.to_string_lossy());
        }
        if let (Some(major), Some(minor)) = (header.device_major()?, header.device_minor()?) {
            (value["devMajor"], value["devMinor"]) = (json!(major), json!(minor));
        }
        if !content.is_empty() {
            (value["size"], value["digest"]) = (json!(content.len()), json!(digest(&content)));
        }
        let name = value["name"].clone();
        let mut first = Some(value);
        for (i, piece) in content.chunks(chunk).enumerate() {
            out.flush()?;
            let mut value = first.take().unwrap_or_else(|| json!({ "name": name, "type": "chunk" }));
            value["offset"] = json!(out.blob.len());
            value["chunkDigest"] = json!(digest(piece));
            if content.len() > chunk {
                (value["chunkOffset"], value["chunkSize"]) = (json!(i * chunk), json!(piece.len()));
            }
            entries.push(value);
            out.member.extend(piece);
            if packing == Packing::Chunked {
                out.flush()?;
            }
        }
        entries.extend(first);
        done = start + content.len();
    }
    let mut table = json!({ "version": 1, "entries": entries });
    change(&mut table);
    let table = serde_json::to_vec(&table)?;
    match packing {
        Packing::Stargz => out.stargz(&tar[done..], &table),
        Packing::Chunked => out.chunked(&tar[done..], &table),
    }
}

fn kind(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Directory => "dir",
        EntryType::Symlink => "symlink",
        EntryType::Link => "hardlink",
        EntryType::Char => "char",
        EntryType::Block => "block",
        EntryType::Fifo => "fifo",
        _ => "reg",
    }
}

struct Out {
    packing: Packing,
    blob: Vec<u8>,
    tar: Vec<u8>,
    /// What goes into the next member or frame.
    member: Vec<u8>,
}

impl Out {
    fn flush(&mut self) -> Result<()> {
        let bytes = std::mem::take(&mut self.member);
        self.tar.extend(&bytes);
        match self.packing {
            Packing::Stargz => {
                let mut gz = GzEncoder::new(&mut self.blob, Compression::fast());
                gz.write_all(&bytes)?;
                gz.finish()?;
            }
            Packing::Chunked => self.blob.extend(zstd::encode_all(&bytes[..], 1)?),
        }
        Ok(())
    }

    fn packed(self, annotations: Value) -> Packed {
        Packed { layer: Layer { blob: self.blob, tar: self.tar }, annotations }
    }

    /// estargz.md: the padding of the last file, then the table as the last file of the tar, then the footer.
    fn stargz(mut self, rest: &[u8], table: &[u8]) -> Result<Packed> {
        let padding = rest.len() - rest.len() / 512 * 512;
        self.member.extend(&rest[..padding]);
        self.flush()?;
        let offset = self.blob.len();
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(table.len() as u64);
        header.set_mode(0o444);
        builder.append_data(&mut header, "stargz.index.json", table)?;
        self.member = builder.into_inner()?;
        self.flush()?;
        self.blob.extend([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 26, 0, b'S', b'G', 22, 0]);
        self.blob.extend(format!("{offset:016x}STARGZ").bytes());
        self.blob.extend([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
        Ok(self.packed(json!({ "containerd.io/snapshot/stargz/toc.digest": digest(table) })))
    }

    /// A skippable frame of RFC 8878 with the compressed table.
    fn chunked(mut self, rest: &[u8], table: &[u8]) -> Result<Packed> {
        self.member.extend(rest);
        self.flush()?;
        let packed = zstd::encode_all(table, 1)?;
        self.blob.extend(0x184d_2a50_u32.to_le_bytes());
        self.blob.extend((packed.len() as u32).to_le_bytes());
        let position = format!("{}:{}:{}:1", self.blob.len(), packed.len(), table.len());
        self.blob.extend(&packed);
        Ok(self.packed(json!({
            "io.github.containers.zstd-chunked.manifest-checksum": digest(&packed),
            "io.github.containers.zstd-chunked.manifest-position": position,
        })))
    }
}
