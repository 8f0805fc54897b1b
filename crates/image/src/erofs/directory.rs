//! Directories: blocks of `struct erofs_dirent` with the names behind them, all sorted.

use super::BLOCK;
use tree::{Ino, Kind, Node, Tree, TreePath};

/// Bytes.
const ENTRY: usize = 12;

/// An entry: name, inode, EROFS_FT_*.
struct Entry<'t> {
    name: &'t [u8],
    ino: Ino,
    kind: u8,
}

const DIRECTORY: u8 = 2;

fn kind(node: &Node) -> u8 {
    match node.kind {
        Kind::File(_) => 1,
        Kind::Dir => DIRECTORY,
        Kind::CharDevice { .. } => 3,
        Kind::BlockDevice { .. } => 4,
        Kind::Fifo => 5,
        Kind::Socket => 6,
        Kind::Symlink(_) => 7,
    }
}

/// Length of a directory's data. Bytes.
pub(super) fn len(tree: &Tree, path: &TreePath) -> u64 {
    let mut names: Vec<&[u8]> = tree.children(path).filter_map(|(p, _)| p.file_name()).collect();
    names.extend([&b"."[..], b".."]);
    names.sort_unstable();
    let (mut blocks, mut used) = (0, 0);
    for name in names {
        let more = ENTRY + name.len();
        if used + more > BLOCK as usize {
            blocks += 1;
            used = 0;
        }
        used += more;
    }
    blocks * BLOCK + used as u64
}

/// Its data; `nid` numbers inodes.
pub(super) fn data<E>(
    tree: &Tree,
    path: &TreePath,
    own: Ino,
    nid: impl Fn(Ino) -> Result<u64, E>,
) -> Result<Vec<u8>, E> {
    let parent = path.parent().and_then(|p| tree.ino(&p)).unwrap_or(own);
    let mut entries: Vec<Entry<'_>> = tree
        .children_inodes(path)
        .filter_map(|(p, ino, node)| Some(Entry { name: p.file_name()?, ino, kind: kind(node) }))
        .collect();
    entries.push(Entry { name: b".", ino: own, kind: DIRECTORY });
    entries.push(Entry { name: b"..", ino: parent, kind: DIRECTORY });
    entries.sort_unstable_by_key(|e| e.name);
    let mut out = Vec::new();
    let mut rest = &entries[..];
    while !rest.is_empty() {
        // What is behind the last name of a block is zeros.
        out.resize(out.len().next_multiple_of(BLOCK as usize), 0);
        let mut used = 0;
        let fit = rest.iter().take_while(|e| {
            used += ENTRY + e.name.len();
            used <= BLOCK as usize
        });
        let (block, after) = rest.split_at(fit.count());
        let mut at = ENTRY * block.len();
        for entry in block {
            out.extend_from_slice(&nid(entry.ino)?.to_le_bytes());
            out.extend_from_slice(&(at as u16).to_le_bytes());
            out.extend_from_slice(&[entry.kind, 0]);
            at += entry.name.len();
        }
        for entry in block {
            out.extend_from_slice(entry.name);
        }
        rest = after;
    }
    Ok(out)
}
