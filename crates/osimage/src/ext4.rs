//! Files put into an ext4 partition of a disk image by debugfs, without mounting it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tree::TreePath;
use tree::process::find_program;

use super::payload::{PayloadEntry, PayloadItem};
use image::debugfs::{self, QuoteError};
use image::gpt::{self, Partition};

/// Why a partition could not be written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub enum Ext4Error {
    /// The partition holds something else.
    #[error("partition {0} holds no ext4 file system")]
    NotExt4(String),
    /// It was in use, or is damaged.
    #[error("file system of partition {0} wasn't unmounted cleanly")]
    Unclean(String),
    /// There isn't enough room.
    #[error("partition {name} has no space: {needed} bytes are needed, {free} are free")]
    NoSpace { name: String, needed: u64, free: u64 },
    /// Something is there already.
    #[error("{path} exists in partition {name} already, as {what}")]
    Exists {
        name: String,
        /// The path on it.
        path: TreePath,
        what: String,
    },
    /// A promise of [`crate::Payload`] is broken.
    #[error("internal error: the payload has a file in the place of the root directory")]
    Root,
    /// A name that can't be written in a debugfs script.
    #[error("{path} {source}, which debugfs can't write")]
    Name { path: TreePath, source: QuoteError },
    /// A program that does the work is missing.
    #[error("{tool} isn't installed (package e2fsprogs)")]
    NoTool { tool: &'static str },
    #[error("{tool} on partition {name}: {message}")]
    Tool { tool: &'static str, name: String, message: String },
    /// A file could not be read or written.
    #[error("{path:?}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// An ext4 file system in a partition of a file.
struct Volume<'a> {
    image: &'a Path,
    partition: &'a Partition,
}

/// Seconds since 1970 that new files get: a fixed time, so that the same input gives the same image.
const TIME: &str = "1";

/// Whether the tools are there: to be asked before anything long begins.
pub(super) fn check_tools() -> Result<(), Ext4Error> {
    tool("debugfs")?;
    tool("e2fsck")?;
    Ok(())
}

/// Puts entries into a partition. `stage` is an empty directory for the tool's script.
pub(super) fn insert(
    image: &Path,
    partition: &Partition,
    entries: &[&PayloadEntry],
    stage: &Path,
) -> Result<(), Ext4Error> {
    let volume = Volume { image, partition };
    volume.check_space(entries)?;
    let (missing, entries) = volume.missing(entries)?;
    let script = script(&missing, &entries, stage)?;
    let path = stage.join("script");
    std::fs::write(&path, script).map_err(|source| Ext4Error::Io { path: path.clone(), source })?;
    let output =
        volume.run(Command::new(tool("debugfs")?).current_dir(stage).args(["-w", "-f", "script"]))?;
    let complaints = complaints(&output);
    if !output.status.success() || !complaints.is_empty() {
        return Err(volume.failed("debugfs", &complaints));
    }
    // Judged by somebody else: 0 is "no errors".
    let output = volume.run(Command::new(tool("e2fsck")?).args(["-f", "-n"]))?;
    if !output.status.success() {
        return Err(volume.failed("e2fsck", &String::from_utf8_lossy(&output.stdout)));
    }
    Ok(())
}

impl Volume<'_> {
    /// Runs a tool of e2fsprogs on the partition: libext2fs takes an offset after the name.
    fn run(&self, command: &mut Command) -> Result<Output, Ext4Error> {
        let io = |source| Ext4Error::Io { path: self.image.to_owned(), source };
        let mut image = std::path::absolute(self.image).map_err(io)?.into_os_string();
        image.push(format!("?offset={}", self.partition.offset));
        command.arg(image).stdin(Stdio::null());
        command.env("LC_ALL", "C").env("E2FSPROGS_FAKE_TIME", TIME).env_remove("DEBUGFS_PAGER");
        tree::process::output(command)
            .map_err(|source| Ext4Error::Io { path: command.get_program().into(), source })
    }

    fn failed(&self, tool: &'static str, text: &str) -> Ext4Error {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).take(5).collect();
        Ext4Error::Tool { tool, name: self.partition.name.clone(), message: lines.join("; ") }
    }

    fn check_space(&self, entries: &[&PayloadEntry]) -> Result<(), Ext4Error> {
        let io = |source| Ext4Error::Io { path: self.image.to_owned(), source };
        let name = || self.partition.name.clone();
        let mut block = [0; 1024];
        if self.partition.size < 2048 {
            return Err(Ext4Error::NotExt4(name()));
        }
        let file = File::open(self.image).map_err(io)?;
        file.read_exact_at(&mut block, self.partition.offset + 1024).map_err(io)?;
        let free = match free_space(&block) {
            Some(free) => free,
            None => return Err(Ext4Error::NotExt4(name())),
        };
        if !is_clean(&block) {
            return Err(Ext4Error::Unclean(name()));
        }
        let size = |e: &&&PayloadEntry| match &e.item {
            // Up to a block is lost at the end, and a file's extents and directories take some, too.
            PayloadItem::File { size, .. } => size.saturating_add(size / 256).saturating_add(16 << 10),
            PayloadItem::Text(_) | PayloadItem::Symlink(_) => 16 << 10,
        };
        let needed = entries.iter().fold(0u64, |sum, e| sum.saturating_add(size(&e)));
        if needed > free {
            return Err(Ext4Error::NoSpace { name: name(), needed, free });
        }
        Ok(())
    }

    /// The directories above the entries that aren't there, parents first; and the entries. Nothing may stand in an entry's
    /// place but a file with the same text (every bake writes the same noop.conf), or a link to the same, such as that of a
    /// unit that was enabled before.
    fn missing<'e>(
        &self,
        entries: &[&'e PayloadEntry],
    ) -> Result<(BTreeSet<TreePath>, Vec<&'e PayloadEntry>), Ext4Error> {
        let mut missing = BTreeSet::new();
        let mut left = Vec::new();
        let mut there = BTreeSet::from([TreePath::root()]);
        for entry in entries {
            let mut parents = Vec::new();
            let mut path = entry.path.parent();
            while let Some(parent) = path {
                path = parent.parent();
                parents.push(parent);
            }
            for parent in parents.into_iter().rev() {
                if missing.contains(&parent) || there.contains(&parent) {
                    continue;
                }
                match self.kind(&parent)?.as_deref() {
                    None => missing.insert(parent),
                    Some("directory") => there.insert(parent),
                    Some(what) => return Err(self.exists(&parent, what)),
                };
            }
            let in_new = entry.path.parent().is_some_and(|p| missing.contains(&p));
            let what = if in_new { None } else { self.kind(&entry.path)? };
            match (&entry.item, what) {
                (_, None) => left.push(*entry),
                (PayloadItem::Text(text), Some(what))
                    if what == "regular" && self.text(&entry.path)? == *text => {}
                (PayloadItem::Symlink(target), Some(what))
                    if what == "symlink"
                        && self
                            .target(&entry.path)?
                            .is_some_and(|is| is_same_link(&entry.path, &is, target)) => {}
                (_, Some(what)) => return Err(self.exists(&entry.path, &what)),
            }
        }
        Ok((missing, left))
    }

    fn exists(&self, path: &TreePath, what: &str) -> Ext4Error {
        let what = match what {
            "regular" => "a file".to_owned(),
            what => format!("a {what}"),
        };
        Ext4Error::Exists { name: self.partition.name.clone(), path: path.clone(), what }
    }

    /// What a file holds, as far as it is text.
    fn text(&self, path: &TreePath) -> Result<String, Ext4Error> {
        let request = format!("cat {}", quote(&path.to_absolute(), path)?);
        let output = self.run(Command::new(tool("debugfs")?).arg("-R").arg(request))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Where a symlink leads, if its target is short enough to be in its inode.
    fn target(&self, path: &TreePath) -> Result<Option<String>, Ext4Error> {
        let request = format!("stat {}", quote(&path.to_absolute(), path)?);
        let output = self.run(Command::new(tool("debugfs")?).arg("-R").arg(request))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let target = text.split_once("Fast link dest: \"").and_then(|(_, rest)| rest.split_once("\"\n"));
        Ok(target.map(|(target, _)| target.to_owned()))
    }

    /// The type of what a path is, none if nothing is there. The last component isn't followed.
    fn kind(&self, path: &TreePath) -> Result<Option<String>, Ext4Error> {
        let request = format!("stat {}", quote(&path.to_absolute(), path)?);
        let output = self.run(Command::new(tool("debugfs")?).arg("-R").arg(request))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if let Some((_, rest)) = text.split_once("Type: ") {
            return Ok(rest.split_whitespace().next().map(str::to_owned));
        }
        let complaints = complaints(&output);
        if complaints.contains("File not found") {
            Ok(None)
        } else {
            Err(self.failed("debugfs", &complaints))
        }
    }
}

/// Whether two targets of a link mean the same. Of a unit that another one wants, the name is all that counts: systemd.unit(5).
fn is_same_link(path: &TreePath, is: &str, wanted: &str) -> bool {
    let name = |target: &str| target.rsplit('/').next().map(str::to_owned);
    let enables =
        path.parent().is_some_and(|dir| dir.file_name().is_some_and(|name| name.ends_with(b".wants")));
    is == wanted || enables && name(is) == name(wanted)
}

/// Bytes that are free, from a superblock: <https://docs.kernel.org/filesystems/ext4/super.html>. None: it is none.
fn free_space(block: &[u8; 1024]) -> Option<u64> {
    let word = |at: usize| u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    let magic = u16::from_le_bytes([block[0x38], block[0x39]]);
    let log = word(0x18);
    if magic != 0xef53 || log > 6 {
        return None;
    }
    let is_64bit = word(0x60) & 0x80 != 0;
    let wide = |low: usize, high: usize| {
        u64::from(word(low)) | if is_64bit { u64::from(word(high)) << 32 } else { 0 }
    };
    // s_free_blocks_count and s_r_blocks_count; root may use what is reserved, but a system needs that to start.
    let free = wide(0x0c, 0x158).saturating_sub(wide(0x08, 0x154));
    free.checked_mul(1024 << log)
}

/// Unmounted cleanly, without errors, and no journal to be replayed.
fn is_clean(block: &[u8; 1024]) -> bool {
    let state = u16::from_le_bytes([block[0x3a], block[0x3b]]);
    let incompatible = u32::from_le_bytes([block[0x60], block[0x61], block[0x62], block[0x63]]);
    state & 1 != 0 && state & 2 == 0 && incompatible & 4 == 0
}

fn script(
    missing: &BTreeSet<TreePath>,
    entries: &[&PayloadEntry],
    stage: &Path,
) -> Result<String, Ext4Error> {
    let mut out = String::new();
    for dir in missing {
        let place = quote(&dir.to_absolute(), dir)?;
        let _ = writeln!(out, "mkdir {place}\nsif {place} mode 040755\nsif {place} uid 0\nsif {place} gid 0");
    }
    for (number, entry) in entries.iter().enumerate() {
        let place = quote(&entry.path.to_absolute(), &entry.path)?;
        if let PayloadItem::Symlink(target) = &entry.item {
            let target = quote(target.as_bytes(), &entry.path)?;
            let _ = writeln!(out, "symlink {place} {target}");
            continue;
        }
        // A name of ours, since the tool reads the user's with rules of its own.
        let source = format!("f{number}");
        let path = stage.join(&source);
        match &entry.item {
            PayloadItem::File { source: file, .. } => {
                std::path::absolute(file).and_then(|file| symlink(file, &path))
            }
            PayloadItem::Text(text) => std::fs::write(&path, text),
            PayloadItem::Symlink(_) => Ok(()),
        }
        .map_err(|source| Ext4Error::Io { path, source })?;
        // `write` takes a name in the current directory only.
        let parent = entry.path.parent().unwrap_or_else(TreePath::root);
        let name = quote(entry.path.file_name().ok_or(Ext4Error::Root)?, &entry.path)?;
        let _ = writeln!(out, "cd {}\nwrite {source} {name}", quote(&parent.to_absolute(), &parent)?);
        let _ = writeln!(out, "sif {place} mode 0100644\nsif {place} uid 0\nsif {place} gid 0");
        let _ =
            writeln!(out, "sif {place} mtime @{TIME}\nsif {place} atime @{TIME}\nsif {place} ctime @{TIME}");
    }
    Ok(out)
}

/// A word of a script about `path`.
fn quote(word: &[u8], path: &TreePath) -> Result<String, Ext4Error> {
    debugfs::quote(word).map_err(|source| Ext4Error::Name { path: path.clone(), source })
}

/// Errors that debugfs printed. Its exit status is 0 even if commands fail.
fn complaints(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines = text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with("debugfs "));
    lines.collect::<Vec<_>>().join("\n")
}

fn tool(name: &'static str) -> Result<PathBuf, Ext4Error> {
    find_program(name).ok_or(Ext4Error::NoTool { tool: name })
}

// The offset is handed on in bytes, as the table has it.
const _: () = assert!(gpt::SECTOR == 512);
