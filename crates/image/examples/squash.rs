//! Makes one squashfs image, for the benchmark of images to measure: `squash CODEC LEVEL SOURCE IMAGE`.
//!
//! CODEC is one of ours, or `backhand:CODEC` for that crate's writer. SOURCE is a directory, or one of these trees that are
//! made in memory: `made:entries` (2 million), `made:wide` (20 directories of 100,000), `made:names` (200,000 names of 255
//! bytes), `made:sparse` (10 GiB of hole with some data). Prints the bytes of memory that the tree took, and how many more
//! the writer took at its peak. proc_pid_status(5), VmRSS and VmHWM; proc(5), clear_refs.
// A program for people at a terminal: printing is what it's for.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs;
use std::path::Path;

use image::{Compression, ImageOptions, Volume};
use tree::{Blob, Content, Extent, Meta, Node, ReadOptions, Silent, Tree, TreePath};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [codec, level, source, image] = args.as_slice() else {
        return Err("expected CODEC LEVEL SOURCE IMAGE".into());
    };
    let level: u32 = level.parse()?;
    if let Some(codec) = codec.strip_prefix("backhand:") {
        return backhand(codec, level, source.as_ref(), image.as_ref());
    }
    let tree = match source.strip_prefix("made:") {
        Some(kind) => made(kind, &Path::new(image).with_extension("data"))?,
        None => Tree::from_dir(source.as_ref(), &ReadOptions::default())?,
    };
    let volume = Volume { tree: &tree, name: "bench", architecture: None, epoch: 0 };
    let compression = Compression { codec: Some(codec.parse()?), level: Some(level) };
    let options = ImageOptions { compression, ..ImageOptions::default() };
    let before = status("VmRSS:")?;
    fs::write("/proc/self/clear_refs", "5")?;
    image::write(volume, image.as_ref(), &options, &Silent)?;
    println!("{before} {}", status("VmHWM:")?.saturating_sub(before));
    Ok(())
}

/// Bytes.
fn status(field: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|l| l.strip_prefix(field)).ok_or("/proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

fn made(kind: &str, data: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.insert_all("/usr/lib/made".parse()?, Node::dir(), &Meta::dir())?;
    let mut files = |directories: u32, files: u32, filler: &str| -> Result<()> {
        for d in 0..directories {
            let dir = TreePath::new(format!("/usr/lib/made/{d:04}"))?;
            tree.insert(dir.clone(), Node::dir())?;
            for f in 0..files {
                let text = format!("{d} {f}\n");
                tree.insert(dir.join(format!("{f:06}{filler}"))?, Node::file(0o644, text))?;
            }
        }
        Ok(())
    };
    match kind {
        "entries" => files(2000, 1000, "")?,
        "wide" => files(20, 100_000, "")?,
        "names" => files(2, 100_000, &"n".repeat(249))?,
        "sparse" => {
            fs::write(data, vec![b'd'; 1 << 20])?;
            let extents = (0..16).map(|i| Extent { at: i * (600 << 20) + 12_345, offset: 0, len: 1 << 20 });
            let content = Content::sparse(Blob::at_path(data), 10 << 30, extents.collect())?;
            tree.insert("/usr/lib/made/sparse".parse()?, Node::file(0o644, content))?;
        }
        _ => return Err(format!("{kind}: no such tree").into()),
    }
    Ok(tree)
}

fn backhand(codec: &str, level: u32, source: &Path, image: &Path) -> Result<()> {
    use backhand::compression::{CompressionOptions, Compressor, Gzip, Zstd};
    use backhand::{FilesystemCompressor, FilesystemWriter, NodeHeader};
    let (id, options) = match codec {
        "zstd" => (Compressor::Zstd, CompressionOptions::Zstd(Zstd { compression_level: level })),
        "gzip" => {
            let gzip = Gzip { compression_level: level, window_size: 15, strategies: 0 };
            (Compressor::Gzip, CompressionOptions::Gzip(gzip))
        }
        _ => return Err(format!("{codec}: not taken by this program").into()),
    };
    let mut writer = FilesystemWriter::default();
    writer.set_compressor(FilesystemCompressor::new(id, Some(options))?);
    writer.set_block_size(128 << 10);
    let tree = Tree::from_dir(source, &ReadOptions::default())?;
    for (path, node) in tree.iter().filter(|(path, _)| !path.is_root()) {
        let header = NodeHeader::new(node.meta.mode as u16, 0, 0, 0);
        let place = path.as_host_relative();
        match &node.kind {
            tree::Kind::Dir => writer.push_dir(place, header)?,
            tree::Kind::Symlink(target) => {
                writer.push_symlink(String::from_utf8_lossy(target).into_owned(), place, header)?;
            }
            tree::Kind::File(content) => writer.push_file(content.reader(), place, header)?,
            _ => {}
        }
    }
    writer.write(fs::File::create(image)?)?;
    Ok(())
}
