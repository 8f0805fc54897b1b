//! The order of tails: small files that are alike lie together, since a block compresses the better the more of it was there
//! before.
//!
//! Files of one ending come together, and among them those of one name that is a common one (`copyright`, `__init__.py`);
//! all others in the order of their paths, so that a package's files stay neighbours. Measured in
//! docs/decisions/0034-squashfs-writer.md.

use tree::Tree;

/// Files of the same name that make it a common one.
const COMMON: u8 = 3;

/// Bits of a hash. Names that fall together by chance cost a little compression, nothing else.
const ENDING_BITS: u32 = 12;
const NAME_BITS: u32 = 20;

/// FNV-1a (draft-eastlake-fnv): the same on every machine, which std's hasher doesn't promise.
fn hash(bytes: &[u8]) -> u32 {
    let hash = bytes.iter().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193));
    // The low bits are the better ones: into the high ones with them.
    hash ^ (hash << 15)
}

/// `.conf` of `a.conf`, `.so` of `liba.so.1.2`, nothing of `a` and `.a`.
fn ending(name: &[u8]) -> &[u8] {
    if let Some(at) = name.windows(4).position(|w| w == b".so.") {
        return &name[at..at + 3];
    }
    match name.iter().rposition(|&b| b == b'.') {
        None | Some(0) => b"",
        Some(at) => &name[at..],
    }
}

/// How many files there are of each name, up to 255; names are told apart by their hashes.
struct Names {
    counts: Vec<u8>,
    mask: usize,
}

impl Names {
    fn new(files: usize) -> Self {
        let len = (files * 4).next_power_of_two().clamp(1 << 10, 1 << 23);
        Names { counts: vec![0; len], mask: len - 1 }
    }

    fn add(&mut self, hash: u32) {
        let count = &mut self.counts[hash as usize & self.mask];
        *count = count.saturating_add(1);
    }

    fn is_common(&self, hash: u32) -> bool {
        self.counts[hash as usize & self.mask] >= COMMON
    }
}

/// Numbers of the files for which `wanted` holds: the first `lead` of them in their order, then the others, alike ones together.
/// `by_inode` has the number of each inode that is a file.
pub(super) fn order(tree: &Tree, by_inode: &[u32], lead: usize, wanted: impl Fn(usize) -> bool) -> Vec<u32> {
    let files = || {
        let mut seen = None;
        tree.iter_inodes().filter_map(move |(path, ino, node)| {
            let number = by_inode[ino.index()];
            let new = node.is_file() && seen.is_none_or(|last| number > last);
            // Files are numbered as they come, but for those that come first; equal ones have the number of one before.
            if new && number as usize >= lead {
                seen = Some(number);
                return path.file_name().map(|name| (name, number));
            }
            None
        })
    };
    let mut names = Names::new(by_inode.len());
    files().for_each(|(name, _)| names.add(hash(name)));
    let mut keys: Vec<u64> = files()
        .filter(|(_, number)| wanted(*number as usize))
        .map(|(name, number)| {
            let own = hash(name);
            let own = if names.is_common(own) { own >> (32 - NAME_BITS) } else { 0 };
            let ending = hash(ending(name)) >> (32 - ENDING_BITS);
            u64::from(ending) << (32 + NAME_BITS) | u64::from(own) << 32 | u64::from(number)
        })
        .collect();
    drop(names);
    keys.sort_unstable();
    let first = (0..lead).filter(|number| wanted(*number)).map(|number| number as u32);
    // The low half is the number.
    first.chain(keys.into_iter().map(|key| key as u32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::Node;

    #[test]
    fn endings() {
        let of = |name: &str| String::from_utf8_lossy(ending(name.as_bytes())).into_owned();
        let all = ["a.conf", "a", ".a", "liba.so.1.2", "liba.so", "a.tar.gz", "", "."].map(of);
        assert_eq!(all, [".conf", "", "", ".so", ".so", ".gz", "", ""]);
    }

    #[test]
    fn alike_files_lie_together() {
        let mut tree = Tree::default();
        let paths = [
            "a/copyright",
            "a/x.conf",
            "b/copyright",
            "b/w.conf",
            "b/z.txt",
            "c/copyright",
            "c/v.conf",
            "d/copyright",
        ];
        for path in paths {
            let parent = format!("/{}", &path[..1]);
            if tree.ino(&parent.parse().unwrap()).is_none() {
                tree.insert(parent.parse().unwrap(), Node::dir()).unwrap();
            }
            tree.insert(format!("/{path}").parse().unwrap(), Node::file(0o644, path)).unwrap();
        }
        let mut by_inode = vec![u32::MAX; tree.inode_slots()];
        let files = tree.iter_inodes().filter(|(_, _, node)| node.is_file());
        for (number, (_, ino, _)) in files.enumerate() {
            by_inode[ino.index()] = number as u32;
        }
        let order = order(&tree, &by_inode, 1, |number| number != 3);
        // The first stays first; 3 isn't wanted.
        assert_eq!(order[0], 0);
        let rest: Vec<&[u32]> =
            order[1..].chunk_by(|a, b| ending_of(paths, *a) == ending_of(paths, *b)).collect();
        let mut rest: Vec<Vec<u32>> = rest.into_iter().map(<[u32]>::to_vec).collect();
        rest.sort();
        assert_eq!(rest, [vec![1, 6], vec![2, 5, 7], vec![4]]);
    }

    fn ending_of(paths: [&'static str; 8], number: u32) -> &'static [u8] {
        ending(paths[number as usize].as_bytes())
    }
}
