//! Archives as trees. Nothing is written anywhere but inflated tars in the cache, and a file's content is a place there.

mod ar;
mod zip;

use std::collections::BTreeMap;
use std::io::{self, Read};

use globset::{GlobBuilder, GlobMatcher};
use store::{Cache, CacheError, CompressionFormat, Digest, ExpectedLayer};
use tree::{
    Content, ContentError, Events, Ino, Meta, Node, PathError, Tree, TreeError, TreePath,
    archive::{ArchiveError, Limits},
};

use crate::format::Archive;

pub(crate) use self::zip::ZipError;
pub(crate) use ar::ArError;

/// What to do with an archive.
#[derive(Debug, Clone, Default)]
pub struct UnpackOptions {
    /// What it is; by default, what its name says.
    pub archive: Option<Archive>,
    /// Leading parts of paths to drop. What has no more parts is dropped, too.
    pub strip: u32,
    /// Archives in this archive that are unpacked in their turn: their files make the tree. Matched against whole paths
    /// without the leading slash, after `strip`.
    pub inside: Option<String>,
}

/// An archive that makes no tree.
#[derive(Debug, thiserror::Error)]
#[error("archive {name}: {cause}")]
pub struct UnpackError {
    /// Its file name, behind that of the archive that it is in.
    pub name: String,
    /// Why.
    pub cause: UnpackCause,
}

/// Why an archive makes no tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the messages say what each is
pub enum UnpackCause {
    /// It can't be inflated, or the cache can't take it.
    #[error(transparent)]
    Cache(Box<CacheError>),
    /// The tar is malformed or hostile.
    #[error(transparent)]
    Tar(#[from] ArchiveError),
    /// The zip is malformed or hostile.
    #[error(transparent)]
    Zip(#[from] ZipError),
    /// The deb is malformed.
    #[error(transparent)]
    Ar(#[from] ArError),
    /// The bytes can't be had.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A name that no file can have.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Things that can't stand beside each other.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The pattern for inner archives is none.
    #[error("pattern {pattern:?} is invalid: {message}")]
    Pattern { pattern: String, message: String },
    #[error("has no file that matches {pattern:?}, but {}", some(.there))]
    NoneInside { pattern: String, there: Vec<TreePath> },
    /// Two inner archives have the same file.
    #[error("{path} is in two of the inner archives")]
    Twice { path: TreePath },
}

impl From<CacheError> for UnpackCause {
    fn from(e: CacheError) -> Self {
        UnpackCause::Cache(Box::new(e))
    }
}

fn some(paths: &[TreePath]) -> String {
    const SHOWN: usize = 6;
    let mut out: Vec<String> = paths.iter().take(SHOWN).map(ToString::to_string).collect();
    if paths.len() > SHOWN {
        out.push(format!("{} others", paths.len() - SHOWN));
    }
    if out.is_empty() { "nothing".into() } else { out.join(", ") }
}

/// What a file is by its name.
pub(crate) fn archive_of_name(name: &str) -> Archive {
    let name = name.to_ascii_lowercase();
    let ends = |suffixes: &[&str]| suffixes.iter().any(|s| name.ends_with(s));
    if ends(&[".tar", ".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2", ".tgz", ".txz", ".tzst", ".tbz2", ".tbz"])
    {
        Archive::Tar
    } else if ends(&[".zip"]) {
        Archive::Zip
    } else if ends(&[".deb"]) {
        Archive::Deb
    } else {
        Archive::File
    }
}

/// The tree that `content`, a file called `name` of this digest, holds. A file that is no archive makes a tree of itself; its
/// compression is taken off with the ending of its name.
///
/// # Errors
/// Malformed or hostile archives, names that lead out of them, a pattern that matches nothing.
pub fn unpack(
    content: &Content,
    digest: &Digest,
    name: &str,
    options: &UnpackOptions,
    cache: &Cache,
    events: &dyn Events,
) -> Result<Tree, UnpackError> {
    let failed = |cause| UnpackError { name: name.to_owned(), cause };
    let archive = options.archive.unwrap_or_else(|| archive_of_name(name));
    let tree = one(content, digest, name, archive, cache, events).map_err(failed)?;
    let tree = match archive {
        Archive::File => tree,
        _ => strip(&tree, options.strip).map_err(failed)?,
    };
    match &options.inside {
        Some(pattern) => inside(&tree, name, pattern, cache, events),
        None => Ok(tree),
    }
}

fn one(
    content: &Content,
    digest: &Digest,
    name: &str,
    archive: Archive,
    cache: &Cache,
    events: &dyn Events,
) -> Result<Tree, UnpackCause> {
    match archive {
        Archive::Tar => {
            let layer = match cache.layer_by_digest(digest)? {
                Some(layer) => layer,
                None => {
                    let expect =
                        ExpectedLayer { digest: Some(*digest), size: Some(content.len()), diff_id: None };
                    cache.ingest_layer(content.reader(), &expect, events)?
                }
            };
            Ok(Tree::from_tar(&layer.blob, layer.offset, layer.len, &Limits::default())?)
        }
        Archive::Zip => Ok(zip::tree(content, cache)?),
        Archive::Deb => {
            let (at, len) = ar::find(content, "data.tar")?;
            let layer =
                inflated(cache, &format!("deb {digest}"), Part { content, at, end: at + len }, events)?;
            Ok(Tree::from_tar(&layer.blob, layer.offset, layer.len, &Limits::default())?)
        }
        Archive::File => file(content, digest, name, cache, events),
    }
}

/// A compressed part, inflated once; `key` stands for it.
fn inflated(
    cache: &Cache,
    key: &str,
    reader: impl Read + Send,
    events: &dyn Events,
) -> Result<store::LayerBlob, UnpackCause> {
    let known = cache.key("unpacked", key)?.and_then(|d| d.parse::<Digest>().ok());
    if let Some(layer) = known.map(|d| cache.layer(&d)).transpose()?.flatten() {
        return Ok(layer);
    }
    let layer = cache.ingest_layer(reader, &ExpectedLayer::default(), events)?;
    cache.set_key("unpacked", key, &layer.diff_id.to_string())?;
    Ok(layer)
}

fn file(
    content: &Content,
    digest: &Digest,
    name: &str,
    cache: &Cache,
    events: &dyn Events,
) -> Result<Tree, UnpackCause> {
    let ending =
        [".gz", ".xz", ".zst", ".bz2"].iter().find_map(|e| name.strip_suffix(e)).filter(|n| !n.is_empty());
    let compressed =
        !matches!(CompressionFormat::sniff(&content.head(8)?), Ok(CompressionFormat::None) | Err(_));
    let (content, name) = match ending.filter(|_| compressed) {
        Some(inner) => {
            let layer = inflated(cache, &format!("file {digest}"), content.reader(), events)?;
            (Content::in_blob(layer.blob, layer.offset, layer.len), inner)
        }
        None => (content.clone(), name),
    };
    // A bare download has no mode; what can be run should be.
    let head = content.head(4)?;
    let mode = if head.starts_with(b"\x7fELF") || head.starts_with(b"#!") { 0o755 } else { 0o644 };
    let mut tree = Tree::default();
    let place = TreePath::root().join(name)?;
    tree.insert_all(place, Node::file(mode, content), &Meta::dir())?;
    Ok(tree)
}

/// Drops leading parts of all paths.
fn strip(tree: &Tree, parts: u32) -> Result<Tree, UnpackCause> {
    if parts == 0 {
        return Ok(tree.clone());
    }
    let mut out = Tree::default();
    add(&mut out, tree, |path| {
        let rest: Vec<&[u8]> = path.components().skip(parts as usize).collect();
        Ok((!rest.is_empty()).then(|| TreePath::new(rest.join(&b'/'))).transpose()?)
    })?;
    Ok(out)
}

/// Puts the files of `from` into `to`, hard links kept. Says which path two of them wanted, if any did.
fn add(
    to: &mut Tree,
    from: &Tree,
    place: impl Fn(&TreePath) -> Result<Option<TreePath>, UnpackCause>,
) -> Result<Option<TreePath>, UnpackCause> {
    let mut placed: BTreeMap<Ino, TreePath> = BTreeMap::new();
    let mut clash = None;
    for (path, ino, node) in from.iter_inodes() {
        let Some(path) = place(path)?.filter(|p| !p.is_root()) else { continue };
        if to.get(&path).is_some_and(|old| !old.is_dir() || !node.is_dir()) {
            clash.get_or_insert_with(|| path.clone());
        }
        if let Some(parent) = path.parent() {
            to.make_dirs(&parent, &Meta::dir())?;
        }
        match placed.get(&ino).filter(|_| !node.is_dir()) {
            Some(first) => to.link(path, first)?,
            None => {
                to.insert(path.clone(), node.clone())?;
                placed.insert(ino, path);
            }
        }
    }
    Ok(clash)
}

fn glob(pattern: &str) -> Result<GlobMatcher, UnpackCause> {
    let glob = GlobBuilder::new(pattern.trim_start_matches('/')).literal_separator(true).build();
    let bad = |e: globset::Error| UnpackCause::Pattern {
        pattern: pattern.to_owned(),
        message: e.kind().to_string(),
    };
    Ok(glob.map_err(bad)?.compile_matcher())
}

/// The files of all archives in `tree` that match.
fn inside(
    tree: &Tree,
    name: &str,
    pattern: &str,
    cache: &Cache,
    events: &dyn Events,
) -> Result<Tree, UnpackError> {
    let failed = |cause| UnpackError { name: name.to_owned(), cause };
    let matcher = glob(pattern).map_err(failed)?;
    let mut out = Tree::default();
    let mut found = false;
    for (path, node) in tree.iter() {
        let Some(content) = node.content().filter(|_| matcher.is_match(path.as_host_relative())) else {
            continue;
        };
        found = true;
        let inner = String::from_utf8_lossy(path.file_name().unwrap_or_default()).into_owned();
        let within = |cause| UnpackError { name: format!("{name}: {inner}"), cause };
        let digest = hash(content).map_err(|e| within(e.into()))?;
        let files = one(content, &digest, &inner, archive_of_name(&inner), cache, events).map_err(within)?;
        // Directories may be in several; a file that is has two contents, and no order says which one counts.
        if let Some(path) = add(&mut out, &files, |p| Ok(Some(p.clone()))).map_err(within)? {
            return Err(failed(UnpackCause::Twice { path }));
        }
    }
    if !found {
        let there = tree.iter().filter(|(_, n)| n.is_file()).map(|(p, _)| p.clone()).collect();
        return Err(failed(UnpackCause::NoneInside { pattern: pattern.to_owned(), there }));
    }
    Ok(out)
}

fn hash(content: &Content) -> Result<Digest, ContentError> {
    let mut hasher = store::Hasher::new();
    let mut buf = vec![0; 256 << 10];
    let mut at = 0;
    loop {
        let n = content.read_at(&mut buf, at)?;
        if n == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buf[..n]);
        at += n as u64;
    }
}

/// A range of a content as a stream.
struct Part<'a> {
    content: &'a Content,
    at: u64,
    end: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buf.len());
        let n = self.content.read_at(&mut buf[..n], self.at).map_err(io::Error::other)?;
        self.at += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests;
