//! Root file systems that are no images: tars and directories.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use tree::{DumpOptions, Event, Events, Mounts, ReadOptions, Tree};

use super::layout_files::{self, LayoutFiles};
use super::{LivePaths, SourceError};
use crate::{Config, Rootfs};
use store::{Digest, Hasher};

/// A tar of a root file system. No whiteouts: they mean something in layers alone.
pub(super) fn tar(files: LayoutFiles) -> Result<Rootfs, SourceError> {
    let path = files.path().to_owned();
    let Some((tree, tar)) = files.into_archive() else {
        return Err(SourceError::Kind { path, why: "not a file" });
    };
    // Not the ChainID of the same tar as a layer: its whiteouts would make another tree.
    let id = Digest::of(format!("tar {}", layout_files::digest(&path, &tar)?));
    Ok(Rootfs { tree, id, manifest: None, config: Config::default() })
}

/// A directory that has a root file system in it, possibly the one that this program runs in.
pub(super) fn dir(path: &Path, wanted: &LivePaths, events: &dyn Events) -> Result<Rootfs, SourceError> {
    let real = path.canonicalize().map_err(|source| SourceError::Io { path: path.to_owned(), source })?;
    let options = if real == Path::new("/") {
        ReadOptions::live_root(wanted.whole.iter().cloned(), wanted.single.clone())
    } else {
        // A system that was installed there may have /proc and the like mounted.
        ReadOptions { mounts: Mounts::Stored, ..ReadOptions::default() }
    };
    let (tree, skipped) = Tree::from_dir_skipping(path, &options)?;
    if !skipped.is_empty() {
        let text = format!(
            "{path:?}: {} directories or files can't be read, or are made up by the kernel, and are left out",
            skipped.len()
        );
        events.event(Event::Note(text.into()));
    }
    let id = dir_id(&tree);
    Ok(Rootfs { tree, id, manifest: None, config: Config::default() })
}

/// Hashing all content would take seconds. Instead: all metadata, and for each file its inode and the time of its last change,
/// which nobody can set back.
fn dir_id(tree: &Tree) -> Digest {
    let mut hasher = Hasher::new();
    let _ = hasher.write_all(b"dir\n");
    let _ = hasher.write_all(tree.dump_with(DumpOptions { mtime: true, text: 0 }).as_bytes());
    let mut line = String::new();
    for (path, node) in tree.iter() {
        let Some(seen) = node.content().and_then(|c| c.blob()).and_then(|b| b.seen()) else { continue };
        line.clear();
        let (seconds, nanoseconds) = seen.ctime;
        let _ = writeln!(line, "{path} {} {} {seconds} {nanoseconds}", seen.device, seen.inode);
        let _ = hasher.write_all(line.as_bytes());
    }
    hasher.finish()
}
