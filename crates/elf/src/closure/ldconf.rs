//! `/etc/ld.so.conf` and musl's path file: the directories that a loader's configuration adds. ldconfig(8).

use std::collections::HashMap;

use globset::GlobBuilder;
use tree::{Tree, TreePath};

/// Files read in all; more is a loop or an attack.
const FILES: usize = 256;
/// Bytes of one file.
const FILE_LIMIT: u64 = 1 << 20;
/// Bytes of ld.so.cache. Each library has some hundred.
const CACHE_LIMIT: u64 = 16 << 20;
/// CACHEMAGIC_VERSION_NEW. sysdeps/generic/dl-cache.h in glibc.
const CACHE_MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const DEPTH: usize = 8;

/// The directories of an image's ld.so.conf, in order, includes followed inside the image.
pub(crate) fn glibc_dirs(tree: &Tree, file: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = Reader { tree, dirs: Vec::new(), files: 0 };
    reader.file(file, 0);
    reader.dirs
}

/// What ld.so.cache has: names of libraries, and paths in the order of the table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cache {
    entries: HashMap<Vec<u8>, Vec<Vec<u8>>>,
    dirs: Vec<Vec<u8>>,
}

impl Cache {
    /// The paths of a library.
    pub(crate) fn paths(&self, name: &[u8]) -> &[Vec<u8>] {
        self.entries.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Whether a path is that of a library for better processors, in `glibc-hwcaps/NAME`.
pub(crate) fn is_variant(path: &[u8]) -> bool {
    parent(parent(path)).ends_with(b"/glibc-hwcaps")
}

/// The directories of the libraries that ld.so.cache has, in its order: those that ldconfig(8) was given by hand are
/// nowhere else, and an image may come without its ld.so.conf. Nothing if it can't be understood.
pub(crate) fn cached_dirs(tree: &Tree, file: &[u8]) -> Vec<Vec<u8>> {
    cache(tree, file).unwrap_or_default().dirs
}

/// The table of ld.so.cache; none if there is none, or none that can be understood.
pub(crate) fn cache(tree: &Tree, file: &[u8]) -> Option<Cache> {
    let bytes = read(tree, file, CACHE_LIMIT)?;
    // sysdeps/generic/dl-cache.h in glibc: struct cache_file_new, which may stand behind an older table; its offsets
    // count from itself.
    let start = bytes.windows(CACHE_MAGIC.len()).position(|w| w == CACHE_MAGIC)?;
    let cache = &bytes[start..];
    let fits = |count: u32| 48 + u64::from(count) * 24 <= cache.len() as u64;
    let count = cache.get(20..24)?.try_into().ok()?;
    let little = fits(u32::from_le_bytes(count));
    let number = |b: [u8; 4]| if little { u32::from_le_bytes(b) } else { u32::from_be_bytes(b) };
    if !fits(number(count)) {
        return None;
    }
    let string = |at: [u8; 4]| {
        let text = cache.get(number(at) as usize..).unwrap_or_default();
        // PATH_MAX: what is longer is no path, and costs no more than that.
        text.iter().take(4096).position(|&b| b == 0).map_or(&b""[..], |end| &text[..end])
    };
    let mut out = Cache::default();
    for entry in cache[48..].chunks_exact(24).take(number(count) as usize) {
        // flags, key and value are of four bytes each.
        let key = string([entry[4], entry[5], entry[6], entry[7]]);
        let path = string([entry[8], entry[9], entry[10], entry[11]]);
        if !path.starts_with(b"/") {
            continue;
        }
        let known = out.entries.entry(key.to_vec()).or_default();
        if known.len() < FILES {
            known.push(path.to_vec());
        }
        // glibc-hwcaps/x86-64-v3 belongs to the directory that it is in.
        let dir = if is_variant(path) { parent(parent(parent(path))) } else { parent(path) };
        if out.dirs.len() < FILES && dir.starts_with(b"/") && !out.dirs.iter().any(|d| d == dir) {
            out.dirs.push(dir.to_vec());
        }
    }
    Some(out)
}

fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|&b| b == b'/').map_or(b"", |at| &path[..at])
}

/// The directories of musl's path file; none if there is no such file.
pub(crate) fn musl_dirs(tree: &Tree, file: &TreePath) -> Option<Vec<Vec<u8>>> {
    let text = read(tree, &file.to_absolute(), FILE_LIMIT)?;
    Some(
        text.split(|&b| b == b'\n' || b == b':')
            .filter(|d| d.starts_with(b"/"))
            .map(<[u8]>::to_vec)
            .collect(),
    )
}

fn read(tree: &Tree, path: &[u8], limit: u64) -> Option<Vec<u8>> {
    let real = tree.resolve(path, true).ok()?;
    tree.get(&real.path)?.content()?.read(limit).ok()
}

struct Reader<'t> {
    tree: &'t Tree,
    dirs: Vec<Vec<u8>>,
    files: usize,
}

impl Reader<'_> {
    fn file(&mut self, path: &[u8], depth: usize) {
        self.files += 1;
        if depth > DEPTH || self.files > FILES {
            return;
        }
        let Some(text) = read(self.tree, path, FILE_LIMIT) else { return };
        for line in text.split(|&b| b == b'\n') {
            let line = line.split(|&b| b == b'#').next().unwrap_or_default().trim_ascii();
            let (word, rest) = match line.iter().position(u8::is_ascii_whitespace) {
                Some(at) => (&line[..at], line[at..].trim_ascii()),
                None => (line, &b""[..]),
            };
            match word {
                b"" | b"hwcap" => {}
                b"include" => {
                    for pattern in rest.split(u8::is_ascii_whitespace).filter(|p| !p.is_empty()) {
                        self.include(path, pattern, depth);
                    }
                }
                _ => {
                    // "dir=libc6" is the old way to name a library type.
                    let dir = line.split(|&b| b == b'=').next().unwrap_or_default().trim_ascii();
                    if dir.starts_with(b"/") {
                        self.dirs.push(dir.to_vec());
                    }
                }
            }
        }
    }

    /// A pattern is relative to the directory of the file that includes it; matches come sorted.
    fn include(&mut self, from: &[u8], pattern: &[u8], depth: usize) {
        let mut full = Vec::new();
        if !pattern.starts_with(b"/") {
            let end = from.iter().rposition(|&b| b == b'/').unwrap_or(0);
            full.extend_from_slice(&from[..end]);
            full.push(b'/');
        }
        full.extend_from_slice(pattern);
        let slash = full.iter().rposition(|&b| b == b'/').unwrap_or(0);
        let (dir, name) = (&full[..slash.max(1)], &full[slash + 1..]);
        let Ok(dir) = self.tree.resolve(dir, true) else { return };
        let Ok(text) = std::str::from_utf8(name) else { return };
        let Ok(glob) = GlobBuilder::new(text).literal_separator(true).build() else { return };
        let glob = glob.compile_matcher();
        let found: Vec<Vec<u8>> = self
            .tree
            .children(&dir.path)
            .filter(|(p, _)| {
                let name = p.file_name().unwrap_or_default();
                // glob(3): a leading dot has to be matched by a dot.
                (!name.starts_with(b".") || text.starts_with('.'))
                    && std::str::from_utf8(name).is_ok_and(|n| glob.is_match(n))
            })
            .map(|(p, _)| p.to_absolute())
            .collect();
        for path in found {
            self.file(&path, depth + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::{Meta, Node};

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut t = Tree::default();
        for (path, text) in files {
            t.insert_all(path.parse().unwrap(), Node::file(0o644, *text), &Meta::dir()).unwrap();
        }
        t
    }

    fn dirs(t: &Tree) -> Vec<String> {
        glibc_dirs(t, b"/etc/ld.so.conf").into_iter().map(|d| String::from_utf8(d).unwrap()).collect()
    }

    #[test]
    fn includes_are_relative_sorted_and_inside_the_image() {
        let t = tree(&[
            (
                "/etc/ld.so.conf",
                "include ld.so.conf.d/*.conf\n/last # comment\n  /typed=libc6\nrelative\nhwcap 0 x\n",
            ),
            ("/etc/ld.so.conf.d/b.conf", "/b\n"),
            ("/etc/ld.so.conf.d/a.conf", "# nothing\n\t/a \n"),
            ("/etc/ld.so.conf.d/.hidden.conf", "/hidden\n"),
            ("/etc/ld.so.conf.d/c.txt", "/c\n"),
        ]);
        assert_eq!(dirs(&t), ["/a", "/b", "/last", "/typed"]);
    }

    #[test]
    fn a_file_that_includes_itself_ends() {
        let t = tree(&[("/etc/ld.so.conf", "/x\ninclude /etc/ld.so.conf\ninclude /etc/ld.so.conf\n")]);
        let dirs = dirs(&t);
        assert!(dirs.iter().all(|d| d == "/x") && dirs.len() <= FILES, "{}", dirs.len());
    }

    #[test]
    fn no_file_no_directories() {
        assert!(dirs(&Tree::default()).is_empty());
    }

    #[test]
    fn a_cache_of_either_byte_order_and_behind_an_older_table() {
        for big in [false, true] {
            let number = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
            let strings = b"libx.so\0/opt/x/libx.so\0/opt/x/glibc-hwcaps/x86-64-v3/libx.so\0";
            let mut cache = [CACHE_MAGIC, &number(3), &[0; 24]].concat();
            for value in [8, 24, u32::MAX] {
                let at = if value == u32::MAX { value } else { 48 + 3 * 24 + value };
                cache.extend([number(1), number(0), number(at), number(0), number(0), number(0)].concat());
            }
            cache.extend_from_slice(strings);
            for old in [&b""[..], b"ld.so-1.7.0\0\0\0\0\0"] {
                let mut t = Tree::default();
                let bytes = [old, &cache].concat();
                t.insert_all("/etc/ld.so.cache".parse().unwrap(), Node::file(0o644, bytes), &Meta::dir())
                    .unwrap();
                assert_eq!(cached_dirs(&t, b"/etc/ld.so.cache"), [b"/opt/x"], "{big}");
            }
            for cut in 0..cache.len() {
                let mut t = Tree::default();
                let node = Node::file(0o644, cache[..cut].to_vec());
                t.insert_all("/c".parse().unwrap(), node, &Meta::dir()).unwrap();
                assert!(cached_dirs(&t, b"/c").len() <= 1);
            }
        }
    }

    #[test]
    fn musl_separates_by_colon_and_newline() {
        let t = tree(&[("/etc/ld-musl-x.path", "/a:/b\n/c\n\nrel")]);
        let got = musl_dirs(&t, &"/etc/ld-musl-x.path".parse().unwrap()).unwrap();
        assert_eq!(got, [&b"/a"[..], b"/b", b"/c"]);
        assert!(musl_dirs(&t, &"/no".parse().unwrap()).is_none());
    }
}
