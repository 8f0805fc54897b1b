//! Which blocks there are, and where each tail goes: all from the lengths of the files.

use super::files::{content, unreadable};
use super::{Options, WriteError, duplicates, tail_order};
use tree::{Content, ContentError, Ino, Tree};

/// A place that is none: what is no file, a file without a tail.
const NONE: u32 = u32::MAX;

/// What all files together may have: with 128 KiB blocks 2 TiB. Each block takes four bytes of memory, and a sparse file in
/// a small archive can have any length.
const MAX_BLOCKS: u64 = 1 << 24;

/// A file's last bytes, less than a block.
#[derive(Debug, Clone, Copy)]
struct Tail {
    fragment: u32,
    /// Within the fragment block. Bytes.
    offset: u32,
}

/// All different files of a tree, in the order of their data. A few bytes for each, since there may be millions.
#[derive(Debug)]
pub(super) struct Plan<'t> {
    tree: &'t Tree,
    files: Vec<Ino>,
    /// Inode index → number in `files`.
    by_inode: Vec<u32>,
    tails: Vec<Tail>,
    /// Numbers of the files with a tail, in the order of their tails.
    order: Vec<u32>,
    /// So many files come first, their tails too.
    lead: usize,
    block_size: u64,
}

impl<'t> Plan<'t> {
    pub(super) fn new(tree: &'t Tree, options: &Options) -> Result<Self, WriteError> {
        let mut files = Vec::new();
        let mut first = vec![NONE; tree.inode_slots()];
        let mut add = |ino: Ino, files: &mut Vec<Ino>| {
            if tree.node(ino).is_file() && first[ino.index()] == NONE {
                first[ino.index()] = ino.index() as u32;
                files.push(ino);
            }
        };
        options.first.iter().filter_map(|path| tree.ino(path)).for_each(|ino| add(ino, &mut files));
        let lead = files.len();
        tree.iter_inodes().for_each(|(_, ino, _)| add(ino, &mut files));
        duplicates::find(tree, &files, &mut first, options)?;

        let is_first = |ino: &Ino| first[ino.index()] == ino.index() as u32;
        // An equal file is stored as the first one in the list.
        let lead = files[..lead].iter().filter(|ino| is_first(ino)).count();
        files.retain(is_first);
        let mut by_inode = vec![NONE; first.len()];
        for (number, ino) in (0u32..).zip(&files) {
            by_inode[ino.index()] = number;
        }
        for (index, first) in first.into_iter().enumerate() {
            if first != NONE {
                by_inode[index] = by_inode[first as usize];
            }
        }
        let block_size = u64::from(options.block_size);
        let mut plan = Plan { tree, files, by_inode, tails: Vec::new(), order: Vec::new(), lead, block_size };
        plan.check()?;
        plan.order = tail_order::order(tree, &plan.by_inode, lead, |number| plan.tail_len(number) > 0);
        plan.place();
        Ok(plan)
    }

    /// Refuses what has too many blocks.
    fn check(&self) -> Result<(), WriteError> {
        let mut blocks = 0u64;
        for &ino in &self.files {
            blocks += content(self.tree, ino).len() / self.block_size;
            if blocks > MAX_BLOCKS {
                return Err(WriteError::TooManyBlocks { limit: MAX_BLOCKS, block_size: self.block_size });
            }
        }
        Ok(())
    }

    /// Fills `tails`.
    fn place(&mut self) {
        let (mut fragment, mut filled) = (0u32, 0u64);
        let mut tails = vec![Tail { fragment: NONE, offset: 0 }; self.files.len()];
        for &number in &self.order {
            let tail = self.tail_len(number as usize);
            if filled + tail > self.block_size {
                fragment += 1;
                filled = 0;
            }
            // Below the block size.
            tails[number as usize] = Tail { fragment, offset: filled as u32 };
            filled += tail;
        }
        self.tails = tails;
    }

    /// Number of different files.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn block_size(&self) -> u64 {
        self.block_size
    }

    /// The error for a file that can't be read.
    pub(super) fn unreadable(&self, number: usize, source: ContentError) -> WriteError {
        unreadable(self.tree, self.files[number], source)
    }

    pub(super) fn content(&self, number: usize) -> &'t Content {
        content(self.tree, self.files[number])
    }

    /// Of the file's tail. Bytes.
    fn tail_len(&self, number: usize) -> u64 {
        self.content(number).len() % self.block_size
    }

    /// Numbers of the files with a tail, in the order of their tails.
    pub(super) fn order(&self) -> &[u32] {
        &self.order
    }

    /// Number of files whose data come first.
    pub(super) fn lead(&self) -> usize {
        self.lead
    }

    /// Fragment number and offset of the tail, if there is one.
    pub(super) fn fragment(&self, number: usize) -> Option<(u32, u32)> {
        let Tail { fragment, offset } = self.tails[number];
        (fragment != NONE).then_some((fragment, offset))
    }

    /// A file's number by its inode's index.
    pub(super) fn number(&self, inode: usize) -> usize {
        self.by_inode[inode] as usize
    }
}
