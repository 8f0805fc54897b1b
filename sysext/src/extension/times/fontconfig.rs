//! fontconfig's caches: one file for a directory of fonts, whose time it records. Under the time 0 any cache counts, which
//! is for ostree's sake; under any other one that disagrees is passed over, and all fonts are read at each start.
//! fontconfig's src/fccache.c (`FcCacheTimeValid`), src/fcint.h (`struct _FcCache`).

use super::{Recorded, find};
use tree::{Content, ContentError, Node, Tree, TreePath};

/// `FC_CACHE_MAGIC_MMAP`.
const MAGIC: u32 = 0xFC02_FC04;

/// The first version with a fraction of the second.
const SINCE: u32 = 7;

/// Bytes. `PATH_MAX`, linux/limits.h.
const PATH_LIMIT: usize = 4096;

/// How a processor lays the structure out. The file's name has the endings.
struct Layout {
    ending: &'static [u8],
    big_endian: bool,
    /// Places of the directory's name, of the seconds and of the nanoseconds. Bytes.
    at: [usize; 3],
    /// Whether a pointer has eight bytes.
    wide: bool,
}

const LAYOUTS: [Layout; 6] = [
    Layout { ending: b"-le64.cache-", big_endian: false, at: [16, 48, 56], wide: true },
    Layout { ending: b"-be64.cache-", big_endian: true, at: [16, 48, 56], wide: true },
    Layout { ending: b"-le32d4.cache-", big_endian: false, at: [12, 28, 32], wide: false },
    Layout { ending: b"-le32d8.cache-", big_endian: false, at: [12, 28, 32], wide: false },
    Layout { ending: b"-be32d4.cache-", big_endian: true, at: [12, 28, 32], wide: false },
    Layout { ending: b"-be32d8.cache-", big_endian: true, at: [12, 28, 32], wide: false },
];

fn layout(path: &TreePath) -> Option<&'static Layout> {
    let name = path.file_name()?;
    let end = name.iter().rposition(|&b| b == b'-')? + 1;
    let version = std::str::from_utf8(&name[end..]).ok()?.parse::<u32>().ok()?;
    LAYOUTS.iter().find(|l| version >= SINCE && name[..end].ends_with(l.ending))
}

pub(super) fn is(path: &TreePath) -> bool {
    layout(path).is_some()
}

pub(super) fn read(
    tree: &Tree,
    path: &TreePath,
    content: &Content,
) -> Result<Option<Recorded>, ContentError> {
    let Some(layout) = layout(path) else { return Ok(None) };
    let head = content.head(64)?;
    let Some(header) = Header::read(&head, layout) else { return Ok(None) };
    let mut name = vec![0; PATH_LIMIT];
    let read = content.read_at(&mut name, header.dir)?;
    let Some(end) = name[..read].iter().position(|&b| b == 0) else { return Ok(None) };
    let Some(dir) = find(tree, path, &name[..end]) else { return Ok(None) };
    let Some(Node { meta, .. }) = tree.get(&dir).filter(|n| n.is_dir()) else { return Ok(None) };
    let [_, seconds, nanoseconds] = layout.at;
    let mut recorded = Recorded {
        fresh: false,
        at: seconds as u64,
        time: header.seconds,
        big_endian: layout.big_endian,
        // Layers seldom have it, and no image stores it.
        fraction: Some((nanoseconds as u64, 8)),
    };
    recorded.fresh = recorded.store(meta.mtime) == recorded.time;
    Ok(Some(recorded))
}

struct Header {
    dir: u64,
    seconds: [u8; 4],
}

impl Header {
    fn read(head: &[u8], layout: &Layout) -> Option<Header> {
        let bytes = |at: usize| <[u8; 4]>::try_from(head.get(at..at + 4)?).ok();
        let number = |at| {
            let bytes = bytes(at)?;
            Some(if layout.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
        };
        // Caches of 4 GiB there are none: of a wide offset the upper half is zero.
        let (low, high) = if layout.big_endian { (4, 0) } else { (0, 4) };
        let [dir, seconds, nanoseconds] = layout.at;
        let offset = match layout.wide {
            true if number(dir + high)? != 0 => return None,
            true => number(dir + low)?,
            false => number(dir)?,
        };
        (number(0)? == MAGIC && head.len() >= nanoseconds + 8)
            .then_some(Header { dir: offset.into(), seconds: bytes(seconds)? })
    }
}
