//! What a command changed, as the tree of a layer.
//!
//! Runs in the helper, as the name space's root, after every process of the sandbox is gone. What it reads is hostile all
//! the same: nothing is followed ([`Tree::from_dir`]), and what can't be stored is reported.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use tree::{Kind, Node, ReadOptions, Tree, TreePath, list_some};

use super::lower::{Lower, Stamp};
use super::wire::{At, Go, Step};
use super::{Mode, beneath, owners};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Documentation/filesystems/overlayfs.rst: user.overlay.* with the mount option userxattr.
const OVERLAY_XATTRS: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
const CAPABILITY: &[u8] = b"security.capability";

/// More names than this in a warning help nobody.
const NAMED: usize = 10;

/// The layer's tree. The scratch directory is the current one.
pub(super) fn collect(
    go: &Go,
    lower: &Lower,
    mode: Mode,
    unrecorded: bool,
    warn: &mut dyn FnMut(String),
) -> Result<Tree, Step> {
    let from = if lower.before.is_some() { "lower" } else { "upper" };
    let mut tree = Tree::from_dir(from.as_ref(), &ReadOptions::default()).at("reading the changes")?;
    for path in go.ignored.iter().filter_map(|p| TreePath::new(p).ok()) {
        tree.remove(&path);
    }
    drop_unstorable(&mut tree, warn);
    let marks = match &lower.before {
        None => overlay_marks(&mut tree, go)?,
        Some(before) => {
            let dir = std::fs::File::open("lower").at("reading the changes")?;
            let gone = missing(&tree, go, before.keys());
            // A new name of a file changes its stamp.
            keep_touched(&mut tree, &gone, |path, _| {
                let file = beneath::open(&dir, path.as_relative())?;
                Ok(before.get(path.as_relative()) == Some(&Stamp::of(&file)?))
            })
            .at("comparing the changes")?;
            gone
        }
    };
    set_owners(&mut tree, mode);
    if lower.before.is_none() {
        // Another name of it may be new.
        keep_touched(&mut tree, &marks, |path, names| Ok(names == 1 && same_as_before(lower, path, mode)?))
            .at("comparing the changes")?;
    }
    if unrecorded || lower.unrecorded {
        drop_privileges(&mut tree, warn);
    }
    for mark in marks {
        tree.insert(mark, Node::file(0, "")).at("whiteouts")?;
    }
    check_size(&tree, go.limits.disk)?;
    Ok(tree)
}

/// Sockets, which mean nothing without the process behind them; and names that would be read as whiteouts.
fn drop_unstorable(tree: &mut Tree, warn: &mut dyn FnMut(String)) {
    let sockets: Vec<TreePath> =
        tree.iter().filter(|(_, n)| matches!(n.kind, Kind::Socket)).map(|(p, _)| p.clone()).collect();
    for path in sockets {
        tree.remove(&path);
    }
    let names: Vec<TreePath> = tree
        .iter()
        .filter(|(p, n)| !n.is_overlay_whiteout() && p.file_name().is_some_and(|n| n.starts_with(WHITEOUT)))
        .map(|(p, _)| p.clone())
        .collect();
    if !names.is_empty() {
        warn(format!("left out, since a layer can't hold names that start with \".wh.\": {}", list(&names)));
    }
    for path in names {
        tree.remove(&path);
    }
}

/// Takes overlayfs's own marks out of the tree and gives those of a layer for them.
fn overlay_marks(tree: &mut Tree, go: &Go) -> Result<Vec<TreePath>, Step> {
    let mut marks = Vec::new();
    let mut gone = Vec::new();
    let paths: Vec<TreePath> = tree.iter().map(|(p, _)| p.clone()).collect();
    for path in paths {
        let Some(node) = tree.get(&path) else { continue };
        if node.is_overlay_whiteout() {
            // A file that was only lent to the command.
            if !go.added.iter().any(|a| a == path.as_relative()) {
                marks.push(whiteout_of(&path)?);
            }
            gone.push(path);
            continue;
        }
        let opaque = OVERLAY_XATTRS.iter().any(|prefix| {
            node.meta.xattrs.get(&[prefix, &b"opaque"[..]].concat()).is_some_and(|v| v == b"y")
        });
        if opaque && node.is_dir() {
            marks.push(path.join(OPAQUE).at("whiteouts")?);
        }
        if let Some(meta) = tree.meta_mut(&path) {
            meta.xattrs.retain(|name, _| !OVERLAY_XATTRS.iter().any(|prefix| name.starts_with(prefix)));
        }
    }
    for path in gone {
        tree.remove(&path);
    }
    Ok(marks)
}

fn whiteout_of(path: &TreePath) -> Result<TreePath, Step> {
    let name = path.file_name().ok_or("internal error: the root itself is gone").at("whiteouts")?;
    let name = [WHITEOUT, name].concat();
    path.parent().unwrap_or_else(TreePath::root).join(name).at("whiteouts")
}

/// Whiteouts for what was there and isn't any more: the topmost of each.
fn missing<'a>(tree: &Tree, go: &Go, before: impl Iterator<Item = &'a Vec<u8>>) -> Vec<TreePath> {
    let ignored: Vec<TreePath> =
        go.ignored.iter().chain(&go.added).filter_map(|p| TreePath::new(p).ok()).collect();
    let is_dir = |path: &TreePath| tree.get(path).is_some_and(Node::is_dir);
    let mut out: Vec<TreePath> = before
        .filter_map(|p| TreePath::new(p).ok())
        .filter(|p| !tree.contains(p) && !ignored.iter().any(|i| p.starts_with(i)))
        // Below something that is gone as a whole, or has become a file, nothing has to be said.
        .filter(|p| p.parent().is_some_and(|parent| is_dir(&parent)))
        .filter_map(|p| whiteout_of(&p).ok())
        .collect();
    out.sort();
    out
}

/// Takes out what wasn't touched, as `is_same` says of a path and the number of names that its file has left; directories only if
/// nothing is left in them and no mark goes there.
fn keep_touched(
    tree: &mut Tree,
    marks: &[TreePath],
    mut is_same: impl FnMut(&TreePath, u32) -> std::io::Result<bool>,
) -> std::io::Result<()> {
    let marked: BTreeSet<TreePath> = marks.iter().filter_map(TreePath::parent).collect();
    let paths: Vec<TreePath> = tree.iter().filter(|(p, _)| !p.is_root()).map(|(p, _)| p.clone()).collect();
    for path in paths.into_iter().rev() {
        let Some(ino) = tree.ino(&path) else { continue };
        let is_dir = tree.node(ino).is_dir();
        let kept = is_dir && (tree.children(&path).next().is_some() || marked.contains(&path));
        let names = if is_dir { 1 } else { tree.nlink(ino) };
        if !kept && is_same(&path, names)? {
            tree.remove(&path);
        }
    }
    Ok(())
}

/// Puts the recorded owners in their place.
fn set_owners(tree: &mut Tree, mode: Mode) {
    let paths: Vec<TreePath> = tree.iter().map(|(p, _)| p.clone()).collect();
    for path in paths {
        let Some(meta) = tree.meta_mut(&path) else { continue };
        let recorded = meta.xattrs.remove(owners::XATTR.as_bytes()).and_then(|v| owners::decode(&v));
        if let Some((uid, gid)) = recorded {
            // Where owners can be set, one that was set counts.
            if mode == Mode::Single || (mode == Mode::Subuid && (meta.uid, meta.gid) == (0, 0)) {
                (meta.uid, meta.gid) = (uid, gid);
            }
        }
    }
}

/// Whether a file that overlayfs copied up is what it was: opened for writing, or chmod'ed to the mode that it had.
fn same_as_before(lower: &Lower, path: &TreePath, mode: Mode) -> std::io::Result<bool> {
    let old = match beneath::open(&lower.dir, path.as_relative()) {
        Ok(old) => old,
        Err(e) if is_absent(&e) => return Ok(false),
        Err(e) => return Err(e),
    };
    let upper = std::fs::File::open("upper")?;
    let new = beneath::open(&upper, path.as_relative())?;
    let (a, b) = (rustix::fs::fstat(&old)?, rustix::fs::fstat(&new)?);
    use rustix::fs::FileType;
    let kind = FileType::from_raw_mode(a.st_mode);
    if (a.st_mode, a.st_uid, a.st_gid) != (b.st_mode, b.st_uid, b.st_gid) {
        return Ok(false);
    }
    if kind == FileType::Directory {
        // Its time means nothing that its content doesn't.
        return attributes(&old, mode).and_then(|a| Ok(a == attributes(&new, mode)?));
    }
    if kind != FileType::RegularFile {
        return Ok(false);
    }
    if (a.st_size, a.st_mtime, a.st_mtime_nsec) != (b.st_size, b.st_mtime, b.st_mtime_nsec)
        || attributes(&old, mode)? != attributes(&new, mode)?
    {
        return Ok(false);
    }
    same_content(&old, &new)
}

fn attributes(file: &OwnedFd, mode: Mode) -> std::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut all = beneath::xattrs(file)?;
    all.retain(|(name, _)| !OVERLAY_XATTRS.iter().any(|prefix| name.starts_with(prefix)));
    if mode == Mode::Root {
        all.retain(|(name, _)| name != owners::XATTR.as_bytes());
    }
    Ok(all)
}

fn same_content(a: &OwnedFd, b: &OwnedFd) -> std::io::Result<bool> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::FileExt;
    let open =
        |fd: &OwnedFd| std::fs::File::open(std::ffi::OsStr::from_bytes(beneath::path_of(fd).as_bytes()));
    let (a, b) = (open(a)?, open(b)?);
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut at = 0;
    loop {
        let n = a.read_at(&mut left, at)?;
        if n == 0 {
            return Ok(b.read_at(&mut right[..1], at)? == 0);
        }
        match b.read_exact_at(&mut right[..n], at) {
            Ok(()) if left[..n] == right[..n] => at += n as u64,
            Ok(()) => return Ok(false),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(e) => return Err(e),
        }
    }
}

fn is_absent(e: &std::io::Error) -> bool {
    // ELOOP: below what was a symlink before.
    matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP))
}

/// Nobody knows whose privileges the bits would give: a file of group ssh with setgid would come out as one of root's.
fn drop_privileges(tree: &mut Tree, warn: &mut dyn FnMut(String)) {
    let risky: Vec<TreePath> = tree
        .iter()
        .filter(|(_, n)| n.is_file() && (n.meta.mode & 0o6000 != 0 || n.meta.xattrs.contains_key(CAPABILITY)))
        .map(|(p, _)| p.clone())
        .collect();
    if risky.is_empty() {
        return;
    }
    for path in &risky {
        if let Some(meta) = tree.meta_mut(path) {
            meta.mode &= !0o6000;
            meta.xattrs.remove(CAPABILITY);
        }
    }
    warn(format!(
        "owners couldn't be recorded in this sandbox, so these files lost their setuid and setgid bits and capabilities: {}",
        list(&risky)
    ));
}

fn list(paths: &[TreePath]) -> String {
    list_some(paths, NAMED)
}

/// Bytes of data in a file.
fn stored(content: &tree::Content) -> u64 {
    match content.extents() {
        Some(extents) => extents.iter().map(|extent| extent.len).sum(),
        None => content.len(),
    }
}

/// A sparse file counts by its data.
fn check_size(tree: &Tree, limit: u64) -> Result<(), Step> {
    let mut total = 0u64;
    let mut largest = (0, None);
    for (path, node) in tree.iter() {
        let len = node.content().map_or(0, stored);
        total = total.saturating_add(len);
        if len > largest.0 {
            largest = (len, Some(path));
        }
    }
    match largest {
        (len, Some(path)) if total > limit => Err(Step {
            step: "storing the changes".into(),
            message: format!(
                "got {total} bytes, expected at most {limit}; the largest file is {path}, {len} bytes"
            ),
        }),
        _ => Ok(()),
    }
}
