//! Directories that a loader searches, and files in them.

use std::collections::HashMap;
use std::sync::Arc;

use tree::{Ino, Tree, TreePath};

use super::ClosureError;
use super::ldconf::{Cache, is_variant};
use crate::Elf;
use crate::loader::{Family, Loader};

/// Bytes of one DT_RPATH or DT_RUNPATH. Real ones have a few hundred.
const PATH_LIMIT: usize = 32 << 10;

/// Reads an image's files once each.
#[derive(Debug)]
pub(super) struct Files<'t> {
    pub tree: &'t Tree,
    elfs: HashMap<Ino, Option<Arc<Elf>>>,
    dirs: HashMap<Vec<u8>, Option<TreePath>>,
    variants: HashMap<TreePath, Arc<[TreePath]>>,
    /// By file and the first of the names asked for.
    mentions: HashMap<(Ino, &'static str), bool>,
    /// Libraries of the user, by file name and SONAME.
    stand_ins: HashMap<Vec<u8>, Vec<Found>>,
}

/// A file found by name.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Directory and name; a symlink or the file itself.
    pub link: TreePath,
    pub path: TreePath,
    /// The directory whose search led here; of a variant the one above. None if a path led here.
    pub dir: Option<TreePath>,
    pub elf: Arc<Elf>,
}

impl Found {
    /// The file at a real path.
    pub(super) fn at(path: TreePath, elf: Arc<Elf>) -> Self {
        Found { link: path.clone(), path, dir: None, elf }
    }
}

/// What a search gave: the file, and variants of it for better processors, which the loader would prefer.
#[derive(Debug, Default)]
pub(super) struct Search {
    pub base: Option<Found>,
    pub variants: Vec<Found>,
}

impl Search {
    pub(super) fn is_empty(&self) -> bool {
        self.base.is_none() && self.variants.is_empty()
    }

    /// Keeps what was found under such paths.
    pub(super) fn retain(&mut self, is: impl Fn(&TreePath) -> bool) {
        self.base.take_if(|found| !is(&found.link));
        self.variants.retain(|found| is(&found.link));
    }
}

impl<'t> Files<'t> {
    pub(super) fn new(tree: &'t Tree) -> Self {
        Files {
            tree,
            elfs: HashMap::new(),
            dirs: HashMap::new(),
            variants: HashMap::new(),
            mentions: HashMap::new(),
            stand_ins: HashMap::new(),
        }
    }

    /// The ELF file at a real path; none if it is another kind of file.
    pub(super) fn elf(&mut self, path: &TreePath) -> Result<Option<Arc<Elf>>, ClosureError> {
        let Some(ino) = self.tree.ino(path) else { return Ok(None) };
        if let Some(known) = self.elfs.get(&ino) {
            return Ok(known.clone());
        }
        let parsed = match self.tree.node(ino).content() {
            Some(content) => {
                Elf::parse(content).map_err(|source| ClosureError::Elf { path: path.clone(), source })?
            }
            None => None,
        };
        let parsed = parsed.map(Arc::new);
        self.elfs.insert(ino, parsed.clone());
        Ok(parsed)
    }

    /// Takes a file at a real path as it was read before.
    pub(super) fn know(&mut self, path: &TreePath, elf: Arc<Elf>) {
        if let Some(ino) = self.tree.ino(path) {
            self.elfs.insert(ino, Some(elf));
        }
    }

    /// Whether the dynamic string table of the file at a real path has one of `names`.
    pub(super) fn mentions(&mut self, path: &TreePath, names: &[&'static str]) -> Result<bool, ClosureError> {
        let first = names.first().copied().unwrap_or_default();
        let Some(ino) = self.tree.ino(path) else { return Ok(false) };
        if let Some(&known) = self.mentions.get(&(ino, first)) {
            return Ok(known);
        }
        let found = match self.tree.node(ino).content() {
            Some(content) => crate::mentions(content, names)
                .map_err(|source| ClosureError::Elf { path: path.clone(), source })?,
            None => false,
        };
        self.mentions.insert((ino, first), found);
        Ok(found)
    }

    /// The real path of a directory given as an absolute string.
    pub(super) fn dir(&mut self, dir: &[u8]) -> Option<TreePath> {
        if let Some(known) = self.dirs.get(dir) {
            return known.clone();
        }
        let real = self.tree.resolve(dir, true).ok().map(|r| r.path);
        let real = real.filter(|p| self.tree.get(p).is_some_and(|n| n.is_dir()));
        self.dirs.insert(dir.to_vec(), real.clone());
        real
    }

    /// Looks for `name` in directories, as the loader would for a program like `like`: files of another class or
    /// machine are passed over.
    pub(super) fn search(
        &mut self,
        dirs: &[TreePath],
        name: &[u8],
        like: &Elf,
        family: Family,
    ) -> Result<Search, ClosureError> {
        let mut out = Search::default();
        for dir in dirs {
            if family == Family::Glibc {
                for variant in self.variant_dirs(dir).iter() {
                    let found = self.candidate(variant, name, like)?;
                    out.variants.extend(found.map(|f| Found { dir: Some(dir.clone()), ..f }));
                }
            }
            out.base = self.candidate(dir, name, like)?;
            if out.base.is_some() {
                break;
            }
        }
        Ok(out)
    }

    /// Looks `name` up in ld.so.cache, as the loader would: files that are gone, or of another machine, are passed over.
    pub(super) fn cached(&mut self, cache: &Cache, name: &[u8], like: &Elf) -> Result<Search, ClosureError> {
        let mut out = Search::default();
        for path in cache.paths(name) {
            let (Ok(link), Ok(real)) = (self.tree.resolve(path, false), self.tree.resolve(path, true)) else {
                continue;
            };
            let elf = match self.elf(&real.path) {
                Ok(elf) => elf,
                Err(ClosureError::Elf { .. }) => None,
                Err(e) => return Err(e),
            };
            let Some(elf) = elf.filter(|e| e.is_compatible(like)) else { continue };
            let found = Found { dir: link.path.parent(), link: link.path, ..Found::at(real.path, elf) };
            match is_variant(path) {
                true => out.variants.push(found),
                false if out.base.is_none() => out.base = Some(found),
                false => {}
            }
        }
        Ok(out)
    }

    /// Lets a library of the user stand in for names that the loader doesn't find.
    pub(super) fn offer(&mut self, found: &Found) {
        let file = found.link.file_name().map(<[u8]>::to_vec);
        let soname = found.elf.soname.clone().filter(|s| Some(s) != file.as_ref());
        for name in file.into_iter().chain(soname) {
            let known = self.stand_ins.entry(name).or_default();
            if !known.iter().any(|k| k.path == found.path) {
                known.push(found.clone());
            }
        }
    }

    /// The library of the user that has a name, or a path's last part; of several the nearest to `asker`. It is found
    /// under that name, whether there is such a file beside it or not.
    pub(super) fn stand_in(&self, name: &[u8], asker: &TreePath, like: &Elf) -> Option<Found> {
        let name = name.rsplit(|&b| b == b'/').next()?;
        let common =
            |f: &&Found| f.link.components().zip(asker.components()).take_while(|(a, b)| a == b).count();
        let fits = self.stand_ins.get(name)?.iter().filter(|f| f.elf.is_compatible(like));
        let best = fits.min_by_key(|f| (std::cmp::Reverse(common(f)), f.link.clone()))?;
        let dir = best.link.parent()?;
        Some(Found { link: dir.join(name).ok()?, dir: Some(dir), ..best.clone() })
    }

    /// `name` in one directory, if it is there and fits.
    fn candidate(&mut self, dir: &TreePath, name: &[u8], like: &Elf) -> Result<Option<Found>, ClosureError> {
        let Ok(link) = dir.join(name) else { return Ok(None) };
        if !self.tree.contains(&link) {
            return Ok(None);
        }
        let Ok(real) = self.tree.resolve(link.to_absolute(), true) else { return Ok(None) };
        let elf = match self.elf(&real.path) {
            Ok(elf) => elf,
            // Broken files are passed over as the loader would; if nothing else turns up, the name is missing.
            Err(ClosureError::Elf { .. }) => None,
            Err(e) => return Err(e),
        };
        let elf = elf.filter(|e| e.is_compatible(like));
        Ok(elf.map(|elf| Found { link, dir: Some(dir.clone()), ..Found::at(real.path, elf) }))
    }

    /// Subdirectories that glibc prefers on some processors: `glibc-hwcaps/*`, and the older scheme (until 2.36).
    fn variant_dirs(&mut self, dir: &TreePath) -> Arc<[TreePath]> {
        if let Some(known) = self.variants.get(dir) {
            return known.clone();
        }
        let mut out = Vec::new();
        if let Ok(hwcaps) = dir.join("glibc-hwcaps") {
            out.extend(self.tree.children(&hwcaps).filter(|(_, n)| n.is_dir()).map(|(p, _)| p.clone()));
        }
        self.legacy(dir, 0, &mut out);
        let out: Arc<[TreePath]> = out.into();
        self.variants.insert(dir.clone(), out.clone());
        out
    }

    fn legacy(&self, dir: &TreePath, depth: usize, out: &mut Vec<TreePath>) {
        const NAMES: [&str; 34] = [
            "tls", "haswell", "xeon_phi", "avx512_1", "x86_64", "i686", "i586", "i486", "i386", "sse2",
            "nosegneg", "neon", "vfp", "vfpv3", "iwmmxt", "thumb", "half", "atomics", "v6l", "v7l", "v8l",
            "altivec", "power5", "power6", "power7", "power8", "power9", "power10", "z10", "z196", "zEC12",
            "z13", "z14", "z15",
        ];
        for name in NAMES {
            let Ok(sub) = dir.join(name) else { continue };
            if self.tree.get(&sub).is_some_and(|n| n.is_dir()) {
                out.push(sub.clone());
                if depth < 2 {
                    self.legacy(&sub, depth + 1, out);
                }
            }
        }
    }
}

/// The entries of a search path.
#[derive(Debug, Default)]
pub(super) struct Expanded {
    pub dirs: Vec<Vec<u8>>,
    /// Entries that would depend on the working directory, or that can't be understood.
    pub ignored: Vec<Vec<u8>>,
}

/// Splits a DT_RPATH or DT_RUNPATH and fills in `$ORIGIN`, `$LIB` and `$PLATFORM`.
pub(super) fn expand(
    path: &[u8],
    object: &TreePath,
    origin: &TreePath,
    machine: u16,
    loader: &Loader,
) -> Result<Expanded, ClosureError> {
    if path.len() > PATH_LIMIT {
        return Err(ClosureError::PathTooLong { path: object.clone(), len: path.len(), limit: PATH_LIMIT });
    }
    let mut out = Expanded::default();
    let separators: &[u8] = if loader.family == Family::Glibc { b":;" } else { b":" };
    for entry in path.split(|b| separators.contains(b)) {
        match tokens(entry, origin, machine, loader) {
            Some(dir) if dir.starts_with(b"/") => out.dirs.push(dir),
            _ if entry.is_empty() => {}
            _ => out.ignored.push(entry.to_vec()),
        }
    }
    Ok(out)
}

/// One path with its tokens filled in, if it is absolute then.
pub(super) fn expand_one(
    path: &[u8],
    object: &TreePath,
    origin: &TreePath,
    machine: u16,
    loader: &Loader,
) -> Result<Option<Vec<u8>>, ClosureError> {
    if path.len() > PATH_LIMIT {
        return Err(ClosureError::PathTooLong { path: object.clone(), len: path.len(), limit: PATH_LIMIT });
    }
    Ok(tokens(path, origin, machine, loader).filter(|p| p.starts_with(b"/")))
}

/// None if a token is not known: glibc then drops the entry, musl the whole path.
fn tokens(entry: &[u8], origin: &TreePath, machine: u16, loader: &Loader) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(entry.len());
    let mut rest = entry;
    while let Some(at) = rest.iter().position(|&b| b == b'$') {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let (name, after) = match rest.strip_prefix(b"{") {
            Some(inner) => {
                let end = inner.iter().position(|&b| b == b'}')?;
                (&inner[..end], &inner[end + 1..])
            }
            None => {
                let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
                let end = rest.iter().position(|b| !word(b)).unwrap_or(rest.len());
                rest.split_at(end)
            }
        };
        match (name, loader.family) {
            (b"ORIGIN", _) => out.extend_from_slice(&origin.to_absolute()),
            (b"LIB", Family::Glibc) => out.extend_from_slice(loader.lib_token()),
            (b"PLATFORM", Family::Glibc) => out.extend_from_slice(platform(machine)?),
            _ => return None,
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    Some(out)
}

/// AT_PLATFORM as the kernel gives it, by e_machine. getauxval(3), elf.h.
fn platform(machine: u16) -> Option<&'static [u8]> {
    Some(match machine {
        62 => b"x86_64",
        183 => b"aarch64",
        3 => b"i686",
        40 => b"v7l",
        21 => b"power8",
        22 => b"z13",
        _ => return None,
    })
}
