//! ext4 and ext2: an empty file system by mke2fs, filled by a script for debugfs.
//!
//! `mke2fs -d` would copy the time at which the staged files were made, number inodes in the order in which the host's
//! file system lists them, and take owners and capabilities from files that only root can make. debugfs writes what it is
//! told, without privileges.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::debugfs::{self, MAX_LINE, QuoteError};
use crate::error::{ImageError, unreadable};
use crate::format::Format;
use crate::tool::{Stage, Tool};
use crate::uuid::uuid_text;
use crate::volume::Volume;
use tree::{Content, Ino, Kind, Node, Tree, TreePath};

const MKE2FS: Tool = Tool { name: "mke2fs", package: "e2fsprogs" };
const DEBUGFS: Tool = Tool { name: "debugfs", package: "e2fsprogs" };

/// Bytes.
const BLOCK: u64 = 4096;

/// All features by name, since the defaults are the host's (/etc/mke2fs.conf). No journal: the image is never written.
const EXT4: &str = "none,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,\
                    dir_nlink,extra_isize,metadata_csum";
const EXT2: &str = "none,ext_attr,dir_index,filetype,sparse_super,large_file";

pub(crate) fn write(
    volume: Volume<'_>,
    image: &File,
    temporary: &Path,
    path: &Path,
    format: Format,
) -> Result<(), ImageError> {
    let epoch = volume.epoch;
    if !(0..=i64::from(i32::MAX)).contains(&epoch) {
        return Err(ImageError::Epoch { format, epoch, max: i32::MAX.into() });
    }
    let tree = volume.tree;
    let stage = Stage::beside(path)?;
    let io = |source| ImageError::Io { path: path.to_owned(), source };
    let script = script(tree, stage.path(), epoch)?;
    let script_path = stage.path().join("script");
    std::fs::write(&script_path, script).map_err(io)?;
    let uuid = uuid_text(&volume.uuid()?);
    let (kind, features) = if format == Format::Ext2 { ("ext2", EXT2) } else { ("ext4", EXT4) };
    // An estimate that is too small is tried again with more; both tries depend on the tree alone.
    let mut blocks = estimate(tree, format);
    let mut attempts = 0;
    loop {
        image.set_len(0).map_err(io)?;
        image.set_len(blocks * BLOCK).map_err(io)?;
        let inodes = tree.len() as u64 + 16;
        let mut mke2fs = MKE2FS.command(epoch)?;
        mke2fs
            .args(["-q", "-F", "-t", kind, "-O", features, "-b", "4096", "-I", "256", "-m", "0", "-r", "1"]);
        mke2fs.args(["-N", &inodes.to_string(), "-U", &uuid]);
        mke2fs.args(["-E", &format!("hash_seed={uuid},root_owner=0:0,lazy_itable_init=0,nodiscard")]);
        // Not from the host's configuration.
        mke2fs.env("MKE2FS_CONFIG", "/dev/null");
        MKE2FS.run(mke2fs.arg(temporary))?;
        let mut debugfs = DEBUGFS.command(epoch)?;
        debugfs
            .current_dir(stage.path())
            .args(["-w", "-f"])
            .arg(&script_path)
            .arg(absolute(temporary).map_err(io)?);
        match fill(&mut debugfs) {
            Err(ImageError::Tool { message, .. }) if attempts < 3 && is_full(&message) => {
                attempts += 1;
                blocks += blocks / 4 + 64;
            }
            result => return result,
        }
    }
}

fn absolute(path: &Path) -> io::Result<std::path::PathBuf> {
    std::path::absolute(path)
}

fn is_full(message: &str) -> bool {
    ["Could not allocate", "No free space", "no free"].iter().any(|m| message.contains(m))
}

/// debugfs ends well whatever its commands say; that they say something is how one knows.
fn fill(command: &mut Command) -> Result<(), ImageError> {
    let output = command.output().map_err(|source| ImageError::Start { tool: DEBUGFS.name, source })?;
    let complaints: Vec<u8> = output
        .stderr
        .split(|&b| b == b'\n')
        .filter(|l| !l.is_empty() && !l.starts_with(b"debugfs "))
        .collect::<Vec<_>>()
        .join(&b'\n');
    if output.status.success() && complaints.is_empty() {
        return Ok(());
    }
    Err(DEBUGFS.failed(&output.status.to_string(), &complaints))
}

/// The script, and the files that it reads.
fn script(tree: &Tree, stage: &Path, epoch: i64) -> Result<String, ImageError> {
    let mut out = String::new();
    let mut first: HashMap<Ino, &TreePath> = HashMap::new();
    let mut directory = TreePath::root();
    let mut checked = 0;
    for (number, (path, ino, node)) in tree.iter_inodes().enumerate() {
        check_lines(&out[checked..], path)?;
        checked = out.len();
        let place = quote(&path.to_absolute(), path)?;
        let meta = &node.meta;
        // `write` and `mknod` take a name in the current directory only, and for all others what precedes the last slash of
        // "/usr" is the current directory.
        let parent = path.parent().unwrap_or_else(TreePath::root);
        let by_name = !matches!(node.kind, Kind::Dir | Kind::Symlink(_));
        if (by_name || parent.is_root()) && parent != directory {
            let _ = writeln!(out, "cd {}", quote(&parent.to_absolute(), &parent)?);
            directory = parent;
        }
        if tree.nlink(ino) > 1 && !node.is_dir() {
            if let Some(target) = first.get(&ino) {
                let _ = writeln!(out, "ln {} {place}", quote(&target.to_absolute(), target)?);
                continue;
            }
            first.insert(ino, path);
        }
        let name = quote(path.file_name().unwrap_or_default(), path)?;
        let kind = match &node.kind {
            Kind::Dir => {
                if !path.is_root() {
                    let _ = writeln!(out, "mkdir {place}");
                }
                0o040_000
            }
            Kind::File(content) => {
                let source = format!("f{number}");
                copy(content, &stage.join(&source), path)?;
                let _ = writeln!(out, "write {source} {name}");
                0o100_000
            }
            Kind::Symlink(target) => {
                let _ = writeln!(out, "symlink {place} {}", quote(target, path)?);
                0o120_000
            }
            Kind::CharDevice { major, minor } => {
                let _ = writeln!(out, "mknod {name} c {major} {minor}");
                0o020_000
            }
            Kind::BlockDevice { major, minor } => {
                let _ = writeln!(out, "mknod {name} b {major} {minor}");
                0o060_000
            }
            Kind::Fifo => {
                let _ = writeln!(out, "mknod {name} p");
                0o010_000
            }
            // debugfs can't make one, but can change what a pipe is.
            Kind::Socket => {
                let _ = writeln!(out, "mknod {name} p");
                0o140_000
            }
        };
        let _ = writeln!(out, "sif {place} mode 0{:o}", kind | (meta.mode & 0o7777));
        let _ = writeln!(out, "sif {place} mtime @{epoch}");
        if tree.nlink(ino) > 1 && !node.is_dir() {
            let _ = writeln!(out, "sif {place} links_count {}", tree.nlink(ino));
        }
        for (i, (attribute, value)) in meta.xattrs.iter().enumerate() {
            let source = format!("x{number}-{i}");
            std::fs::write(stage.join(&source), value)
                .map_err(|source| ImageError::Io { path: stage.to_owned(), source })?;
            let _ = writeln!(out, "ea_set -f {source} {place} {}", quote(attribute, path)?);
        }
    }
    check_lines(&out[checked..], &directory)?;
    // Made by mke2fs at its own time.
    let _ = writeln!(out, "sif /lost+found mtime @{epoch}");
    Ok(out)
}

/// Refuses what debugfs would not read as one line. `path` is the last that the lines are about.
fn check_lines(lines: &str, path: &TreePath) -> Result<(), ImageError> {
    if lines.split_inclusive('\n').all(|line| line.len() <= MAX_LINE) {
        return Ok(());
    }
    let reason = "has a name or target too long for debugfs, or comes after one";
    Err(ImageError::Unstorable { path: path.clone(), format: Format::Ext4, reason })
}

#[cfg(test)]
pub(crate) fn script_for_tests(tree: &Tree) -> Result<String, ImageError> {
    let stage = tempfile::tempdir().map_err(|source| ImageError::Io { path: "/tmp".into(), source })?;
    script(tree, stage.path(), 0)
}

/// A word of the script about `path`.
fn quote(word: &[u8], path: &TreePath) -> Result<String, ImageError> {
    debugfs::quote(word).map_err(|e| {
        let reason = match e {
            QuoteError::LineEnd => "has a line end in its name or target",
            QuoteError::NotUtf8 => "is not UTF-8",
        };
        ImageError::Unstorable { path: path.clone(), format: Format::Ext4, reason }
    })
}

fn copy(content: &Content, to: &Path, path: &TreePath) -> Result<(), ImageError> {
    let io = |source| ImageError::Io { path: to.to_owned(), source };
    let mut file = File::create(to).map_err(io)?;
    let mut reader = content.reader();
    io::copy(&mut reader, &mut file).map(|_| ()).map_err(|e| unreadable(path, e))
}

/// Blocks that the tree takes, and some to spare.
fn estimate(tree: &Tree, format: Format) -> u64 {
    let mut blocks = 0u64;
    for (path, node) in tree.iter() {
        blocks = blocks.saturating_add(own_blocks(tree, path, node, format));
    }
    // A block holds 16 inodes; a group of 32,768 blocks has bitmaps, and every group's descriptor is kept several times.
    let inodes = (tree.len() as u64 + 16).div_ceil(16) + 16;
    let total = blocks + inodes;
    let groups = total / 32_768 + 1;
    // The smallest that mke2fs takes without a word is not worth finding out: a quarter MiB is spared.
    total + groups * 24 + total / 64 + 128
}

fn own_blocks(tree: &Tree, path: &TreePath, node: &Node, format: Format) -> u64 {
    let own = match &node.kind {
        Kind::File(content) => {
            let data = content.len().div_ceil(BLOCK);
            // ext2 lists every block, 1,024 to a block; ext4 lists runs.
            let map = if format == Format::Ext2 {
                data / 1024 + u64::from(data > 12) * 3
            } else {
                data / 4096 + u64::from(data > 64)
            };
            data + map
        }
        Kind::Dir => {
            let bytes: u64 = tree
                .children(path)
                .map(|(p, _)| 8 + (p.file_name().unwrap_or_default().len() as u64).next_multiple_of(4))
                .sum();
            // Entries don't cross blocks, which wastes some of each.
            bytes / 3600 + 1
        }
        Kind::Symlink(target) => u64::from(target.len() >= 60),
        _ => 0,
    };
    own + u64::from(!node.meta.xattrs.is_empty())
}
