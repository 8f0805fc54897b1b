//! Python's bytecode. PEP 3147 (places), PEP 552 (header); Lib/importlib/_bootstrap_external.py, which compares
//! `mtime & 0xFFFFFFFF` and the source's size.

use super::{Recorded, find};
use tree::{Content, ContentError, Kind, Node, Patch, Tree, TreePath};

const CACHE: &[u8] = b"__pycache__";

/// Magic numbers of the Pythons whose header has the time alone: 1.5 to 2.7, 3.0 to 3.2. Lib/importlib/_bootstrap_external.py
/// lists them.
const WITHOUT_SIZE: [std::ops::RangeInclusive<u16>; 2] = [20121..=62500, 3000..=3189];

pub(super) fn is(path: &TreePath) -> bool {
    path.file_name().is_some_and(|n| n.ends_with(b".pyc") || n.ends_with(b".pyo"))
}

pub(super) fn read(
    tree: &Tree,
    path: &TreePath,
    content: &Content,
) -> Result<Option<Recorded>, ContentError> {
    // Without its source beside it, it is loaded whatever it records.
    let Some(source) = source(path).and_then(|s| TreePath::new(s).ok()) else { return Ok(None) };
    let link = tree.get(&source).and_then(Node::symlink_target);
    let real = match link.and_then(|to| find(tree, &source, to)) {
        Some(place) => tree.resolve(place.to_absolute(), true),
        None => tree.resolve(source.to_absolute(), true),
    };
    let Some(node) = real.ok().and_then(|r| tree.get(&r.path)) else { return Ok(None) };
    let Node { meta, kind: Kind::File(text) } = node else { return Ok(None) };
    Ok(header(&content.head(16)?, meta.mtime as u32, text.len() as u32))
}

/// Lets the bytecode of a source whose length was `old` bytes follow when a change leaves the code as it is, as that of a
/// script's first line does.
///
/// # Errors
/// The bytecode can't be read.
pub fn resized(tree: &mut Tree, path: &TreePath, old: u64) -> Result<(), ContentError> {
    let Some(Node { meta, kind: Kind::File(text) }) = tree.get(path) else { return Ok(()) };
    let (mtime, size) = (meta.mtime as u32, text.len() as u32);
    let Some(dir) = path.parent().filter(|_| path.as_relative().ends_with(b".py")) else { return Ok(()) };
    let cache = dir.join(CACHE).ok();
    let of_it = |p: &&TreePath| is(p) && source(p).is_some_and(|s| s == path.to_absolute());
    let places = [Some(dir), cache].into_iter().flatten();
    let found: Vec<TreePath> = places
        .flat_map(|d| tree.children(&d).map(|(p, _)| p).filter(of_it).cloned().collect::<Vec<_>>())
        .collect();
    for bytecode in found {
        let Some(content) = tree.content_mut(&bytecode) else { continue };
        let head = content.head(16)?;
        // Where only the time is recorded, any length is fresh.
        let other = header(&head, mtime, !(old as u32)).is_some_and(|r| r.fresh);
        if let Some(recorded) = header(&head, mtime, old as u32).filter(|r| r.fresh && !other) {
            let patch = Patch { at: recorded.at + 4, bytes: size.to_le_bytes().to_vec() };
            *content = content.patched(content.len(), vec![patch])?;
        }
    }
    Ok(())
}

/// The path of the source: `x.py` beside `x.pyc`, or above `__pycache__/x.cpython-311.opt-1.pyc`.
fn source(path: &TreePath) -> Option<Vec<u8>> {
    let name = path.file_name()?;
    let stem = &name[..name.len().checked_sub(4)?];
    let dir = path.parent()?;
    let cached = dir.file_name() == Some(CACHE);
    let (dir, module) = match cached {
        true => {
            let (first, last) = split(stem)?;
            // PEP 488.
            let (module, _tag) = if last.starts_with(b"opt-") { split(first)? } else { (first, last) };
            (dir.parent()?, module)
        }
        false => (dir, stem),
    };
    Some([&dir.to_absolute(), b"/".as_slice(), module, b".py"].concat())
}

fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = name.iter().rposition(|&b| b == b'.')?;
    Some((&name[..dot], &name[dot + 1..]))
}

/// What the header of a bytecode file records of a source of this time and size. None if it is none, or goes by the
/// source's hash.
fn header(head: &[u8], mtime: u32, size: u32) -> Option<Recorded> {
    let word = |at: usize| head.get(at..at + 4).and_then(|w| <[u8; 4]>::try_from(w).ok());
    let number = |at| word(at).map(u32::from_le_bytes);
    let [low, high, b'\r', b'\n'] = word(0)? else { return None };
    let magic = u16::from_le_bytes([low, high]);
    let recorded = |at: usize, fresh| {
        Some(Recorded { fresh, at: at as u64, time: word(at)?, big_endian: false, fraction: None })
    };
    if WITHOUT_SIZE.iter().any(|r| r.contains(&magic)) {
        return recorded(4, number(4)? == mtime);
    }
    // PyPy and GraalPy have numbers of their own, so the header is known by what it says: flags, time and size since
    // 3.7, time and size from 3.3 on.
    let since_3_7 = match magic {
        3190..=3391 => false,
        3392..=3999 => true,
        _ => (number(4)?, number(8)?) != (mtime, size),
    };
    match since_3_7 {
        true if number(4)? != 0 => None,
        true => recorded(8, (number(8)?, number(12)?) == (mtime, size)),
        false => recorded(4, (number(4)?, number(8)?) == (mtime, size)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_by_place() {
        for (path, expected) in [
            ("/usr/a/__pycache__/x.cpython-311.pyc", Some("/usr/a/x.py")),
            ("/usr/a/__pycache__/x.cpython-311.opt-1.pyc", Some("/usr/a/x.py")),
            ("/usr/a/__pycache__/x.y.pypy39.opt-2.pyc", Some("/usr/a/x.y.py")),
            ("/usr/a/__pycache__/x.cpython-311-pytest-7.4.pyc", Some("/usr/a/x.cpython-311-pytest-7.py")),
            ("/usr/a/__pycache__/x.pyc", None),
            ("/usr/a/__pycache__/x.opt-1.pyc", None),
            ("/usr/a/x.pyc", Some("/usr/a/x.py")),
            ("/usr/a/x.pyo", Some("/usr/a/x.py")),
            ("/__pycache__/x.cpython-311.pyc", Some("//x.py")),
        ] {
            let got = source(&path.parse().unwrap()).map(|s| String::from_utf8(s).unwrap());
            assert_eq!(got.as_deref(), expected, "{path}");
        }
    }

    /// A header of little-endian words.
    fn words(magic: u16, words: &[u32]) -> Vec<u8> {
        let mut out = magic.to_le_bytes().to_vec();
        out.extend(b"\r\n");
        out.extend(words.iter().flat_map(|w| w.to_le_bytes()));
        out.extend([0xe3, 0, 0, 0]);
        out
    }

    #[test]
    fn headers_of_all_pythons() {
        const TIME: u32 = 1_600_000_000;
        for (what, head, expected) in [
            ("2.7", words(62211, &[TIME]), Some((4, true))),
            ("2.7, stale", words(62211, &[TIME + 1]), Some((4, false))),
            ("3.2", words(3180, &[TIME]), Some((4, true))),
            ("3.3", words(3230, &[TIME, 50]), Some((4, true))),
            ("3.6", words(3379, &[TIME, 50]), Some((4, true))),
            ("3.6, another size", words(3379, &[TIME, 51]), Some((4, false))),
            ("3.7", words(3394, &[0, TIME, 50]), Some((8, true))),
            ("3.11", words(3495, &[0, TIME, 50]), Some((8, true))),
            ("3.14, stale", words(3627, &[0, TIME - 1, 50]), Some((8, false))),
            ("3.11, unchecked hash", words(3495, &[1, TIME, 50]), None),
            ("3.11, checked hash", words(3495, &[3, TIME, 50]), None),
            ("PyPy 3.9", words(336, &[0, TIME, 50]), Some((8, true))),
            ("PyPy 3.6", words(160, &[TIME, 50]), Some((4, true))),
            ("short", words(3495, &[0])[..12].to_vec(), None),
            ("empty", Vec::new(), None),
            ("something else", b"hello, world, here".to_vec(), None),
        ] {
            let got = header(&head, TIME, 50).map(|r| (r.at, r.fresh));
            assert_eq!(got, expected, "{what}");
        }
    }
}
