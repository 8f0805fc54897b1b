//! Images that are no file system of their own: a directory, a tar.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use crate::error::ImageError;
use crate::volume::Volume;
use tree::{
    Event, Events, TreePath,
    host::{Skipped, WriteOptions},
    output::OutputDir,
};

pub(crate) fn tar(volume: Volume<'_>, file: &File, path: &Path) -> Result<(), ImageError> {
    let io = |source| ImageError::Io { path: path.to_owned(), source };
    let mut out = BufWriter::with_capacity(1 << 18, file);
    let tar = |source| ImageError::Tar { path: path.to_owned(), source };
    volume.tree.write_tar(&mut out).map_err(tar)?;
    out.flush().map_err(io)
}

/// A directory that was an extension before may be replaced; nothing else that has something in it.
fn is_extension(dir: &Path) -> bool {
    dir.join("usr/lib/extension-release.d").is_dir()
}

/// Gives the length of the files in it. Bytes.
pub(crate) fn dir(volume: Volume<'_>, path: &Path, events: &dyn Events) -> Result<u64, ImageError> {
    let output = OutputDir::create(path, is_extension)?;
    let report = volume.tree.write_dir(output.path(), &WriteOptions::for_caller())?;
    // An image has one attribute thousands of times.
    let mut kinds: BTreeMap<(String, Option<String>), (TreePath, usize)> = BTreeMap::new();
    for Skipped { path, what, source } in report.skipped {
        let kind = (what, source.map(|e| e.to_string()));
        kinds.entry(kind).or_insert_with(|| (path, 0)).1 += 1;
    }
    for ((what, source), (path, count)) in kinds {
        let others = if count > 1 { format!(" and {} others", count - 1) } else { String::new() };
        let why = source.unwrap_or_else(|| "it takes root".to_owned());
        events.event(Event::Warning(format!("{path}{others}: {what} is left out: {why}").into()));
    }
    output.commit()?;
    Ok(volume.content_len())
}
