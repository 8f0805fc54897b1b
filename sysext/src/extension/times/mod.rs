//! Files that record the time of another file, and are ignored, or made anew at each start, when that time is not the
//! one they know. All files of an extension get one time, so what was fresh before has to say that time after.
//!
//! Which formats do this, and which only compare times and are content when these are equal, is told in
//! docs/decisions/0076-recorded-times.md.

mod fontconfig;
pub(super) mod pyc;

use std::collections::BTreeMap;

use super::ExtensionError;
use tree::{Content, ContentError, Ino, Patch, Tree, TreePath};

/// One format that records times.
struct Format {
    /// Whether a file may be one, by its name.
    is: fn(&TreePath) -> bool,
    /// Reads what the file records.
    read: fn(&Tree, &TreePath, &Content) -> Result<Option<Recorded>, ContentError>,
}

const FORMATS: &[Format] =
    &[Format { is: pyc::is, read: pyc::read }, Format { is: fontconfig::is, read: fontconfig::read }];

/// The time that a file records.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Recorded {
    /// Whether it is that of the other file, and whatever else is recorded is, too.
    fresh: bool,
    /// Where it stands. Bytes.
    at: u64,
    /// The time as it is stored: the lower 32 bits of the seconds since the epoch.
    time: [u8; 4],
    /// Whether the most significant byte comes first.
    big_endian: bool,
    /// What becomes zero with the time: the fraction of the second, as place and length. Bytes.
    fraction: Option<(u64, usize)>,
}

impl Recorded {
    fn store(&self, seconds: i64) -> [u8; 4] {
        // Python masks what it compares in this way, C casts.
        let low = seconds as u32;
        if self.big_endian { low.to_be_bytes() } else { low.to_le_bytes() }
    }

    /// What to write when the other file's time becomes `epoch`. Stale stays stale: what happens to record that very
    /// time gets another.
    fn patches(&self, epoch: i64) -> Vec<Patch> {
        let time = match (self.fresh, self.time == self.store(epoch)) {
            (true, false) => epoch,
            (false, true) => epoch.wrapping_add(1),
            (true, true) if self.fraction.is_some() => epoch,
            _ => return Vec::new(),
        };
        let mut out = vec![Patch { at: self.at, bytes: self.store(time).to_vec() }];
        out.extend(self.fraction.map(|(at, len)| Patch { at, bytes: vec![0; len] }));
        out
    }
}

/// Lets what records another file's time follow when that becomes `epoch`. The tree still has the times that its files
/// had before.
pub(super) fn follow(tree: &mut Tree, epoch: i64) -> Result<(), ExtensionError> {
    let mut found: BTreeMap<Ino, (TreePath, Recorded)> = BTreeMap::new();
    for (path, ino, node) in tree.iter_inodes() {
        let Some(content) = node.content() else { continue };
        for format in FORMATS.iter().filter(|f| (f.is)(path)) {
            let recorded = (format.read)(tree, path, content)
                .map_err(|source| ExtensionError::Content { path: path.clone(), source })?;
            let Some(recorded) = recorded else { continue };
            // Under several names it is fresh if it is under each.
            let fresh = recorded.fresh;
            let (_, known) = found.entry(ino).or_insert_with(|| (path.clone(), recorded));
            known.fresh &= fresh;
        }
    }
    for (path, recorded) in found.into_values() {
        let patches = recorded.patches(epoch);
        if let Some(content) = tree.content_mut(&path).filter(|_| !patches.is_empty()) {
            *content = content
                .patched(content.len(), patches)
                .map_err(|source| ExtensionError::Content { path, source })?;
        }
    }
    Ok(())
}

/// The place of an absolute path of a root of which `near` is a part. A whole image may stand below a folder of the
/// extension, so the innermost root counts that has the path.
fn find(tree: &Tree, near: &TreePath, path: &[u8]) -> Option<TreePath> {
    let relative = path.strip_prefix(b"/")?;
    let mut root = near.parent();
    while let Some(dir) = root {
        let found = dir.join(relative).ok().filter(|p| tree.contains(p));
        if found.is_some() {
            return found;
        }
        root = dir.parent();
    }
    None
}

#[cfg(test)]
mod tests;
