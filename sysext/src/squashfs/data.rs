//! File contents: where each block and each tail goes, and the threads that compress them.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use super::{Options, Output, SquashfsError};
use crate::image::Encoder;
use crate::tree::ContentError;
use crate::{Content, Tree, TreePath};

/// Set in the size of a block that is stored as it is. SQUASHFS_COMPRESSED_BIT_BLOCK.
const UNCOMPRESSED: u32 = 1 << 24;

/// Blocks that may be ahead of the writer, a thread. With 128 KiB blocks half a megabyte, with 1 MiB four.
const WINDOW: usize = 4;

/// A file's place in a fragment block is known before anything is read.
#[derive(Debug)]
pub(super) struct PlannedFile<'t> {
    path: &'t TreePath,
    content: &'t Content,
    /// Fragment number and offset within it. Bytes.
    pub(super) fragment: Option<(u32, u32)>,
    /// Whether the tail starts a new fragment block, so that the one before has to be written.
    ends_fragment: bool,
}

/// All different files of a tree, in the order of their paths.
#[derive(Debug)]
pub(super) struct Layout<'t> {
    files: Vec<PlannedFile<'t>>,
    /// Inode index → number in `files`; of no meaning for what is no file.
    by_inode: Vec<u32>,
    block_size: u64,
}

/// A fragment block. `struct squashfs_fragment_entry`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment {
    pub(super) start: u64,
    pub(super) size: u32,
}

/// Where a file's blocks are.
#[derive(Debug, Clone, Default)]
pub(super) struct StoredFile {
    /// From the start of the image. Bytes.
    pub(super) start: u64,
    /// Of each block; 0 for one of zeros.
    pub(super) sizes: Vec<u32>,
    /// In blocks of zeros. Bytes.
    pub(super) holes: u64,
}

/// All data, written.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) files: Vec<StoredFile>,
    pub(super) fragments: Vec<Fragment>,
}

impl<'t> Layout<'t> {
    pub(super) fn new(tree: &'t Tree, options: &Options) -> Result<Self, SquashfsError> {
        let mut found: Vec<(&'t TreePath, &'t Content, usize)> = Vec::new();
        let mut seen = vec![false; tree.inode_slots()];
        for (path, ino, node) in tree.iter_inodes() {
            if let Some(content) = node.content()
                && !std::mem::replace(&mut seen[ino.index()], true)
            {
                found.push((path, content, ino.index()));
            }
        }
        let hashes = duplicates(&found, options)?;
        let block_size = u64::from(options.block_size);
        let mut layout = Layout { files: Vec::new(), by_inode: vec![0; seen.len()], block_size };
        let mut first: HashMap<[u8; 32], u32> = HashMap::new();
        let (mut fragment, mut filled) = (0u32, 0u64);
        for (i, (path, content, inode)) in found.into_iter().enumerate() {
            let number = layout.files.len() as u32;
            if let Some(hash) = hashes.get(&i) {
                match first.entry(*hash) {
                    MapEntry::Occupied(e) => {
                        layout.by_inode[inode] = *e.get();
                        continue;
                    }
                    MapEntry::Vacant(e) => _ = e.insert(number),
                }
            }
            layout.by_inode[inode] = number;
            let tail = content.len() % block_size;
            let mut file = PlannedFile { path, content, fragment: None, ends_fragment: false };
            if tail > 0 {
                if filled + tail > block_size {
                    file.ends_fragment = true;
                    fragment += 1;
                    filled = 0;
                }
                file.fragment = Some((fragment, filled as u32));
                filled += tail;
            }
            layout.files.push(file);
        }
        Ok(layout)
    }

    pub(super) fn file_index(&self, inode: usize) -> usize {
        self.by_inode[inode] as usize
    }

    pub(super) fn file(&self, inode: usize) -> &PlannedFile<'t> {
        &self.files[self.file_index(inode)]
    }
}

/// SHA-256 of the files that may be equal to another, since their lengths are.
fn duplicates(
    files: &[(&TreePath, &Content, usize)],
    options: &Options,
) -> Result<HashMap<usize, [u8; 32]>, SquashfsError> {
    let mut by_len: HashMap<u64, usize> = HashMap::new();
    for (_, content, _) in files {
        *by_len.entry(content.len()).or_default() += 1;
    }
    let candidates: Vec<usize> = files
        .iter()
        .enumerate()
        .filter(|(_, (_, c, _))| !c.is_empty() && by_len.get(&c.len()).is_some_and(|&n| n > 1))
        .map(|(i, _)| i)
        .collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        while let Some(&i) = candidates.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (path, content, _) = files[i];
            let mut hasher = Sha256::new();
            let mut at = 0;
            loop {
                let n = content
                    .read_at(&mut buffer, at)
                    .map_err(|source| SquashfsError::Content { path: path.clone(), source })?;
                if n == 0 {
                    break;
                }
                hasher.update(&buffer[..n]);
                at += n as u64;
            }
            done.push((i, hasher.finalize().into()));
        }
        Ok::<_, SquashfsError>(done)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads.get()).map(|_| scope.spawn(work)).collect();
        let mut all = HashMap::with_capacity(candidates.len());
        for thread in threads {
            match thread.join() {
                Ok(done) => all.extend(done?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })
}

/// Part of a file.
#[derive(Debug, Clone, Copy)]
struct Piece<'a> {
    file: usize,
    path: &'a TreePath,
    content: &'a Content,
    offset: u64,
    len: usize,
}

#[derive(Debug)]
enum Job<'a> {
    Block(Piece<'a>),
    Fragment(Vec<Piece<'a>>),
}

/// Makes the jobs, in the order of their blocks in the image.
struct Jobs<'a> {
    layout: &'a Layout<'a>,
    file: usize,
    offset: u64,
    fragment: Vec<Piece<'a>>,
    next: usize,
}

impl<'a> Iterator for Jobs<'a> {
    type Item = (usize, Job<'a>);

    fn next(&mut self) -> Option<(usize, Job<'a>)> {
        let job = self.job()?;
        let number = self.next;
        self.next += 1;
        Some((number, job))
    }
}

impl<'a> Jobs<'a> {
    fn job(&mut self) -> Option<Job<'a>> {
        let block_size = self.layout.block_size;
        loop {
            let Some(file) = self.layout.files.get(self.file) else {
                let last = std::mem::take(&mut self.fragment);
                return (!last.is_empty()).then_some(Job::Fragment(last));
            };
            let piece =
                |offset, len| Piece { file: self.file, path: file.path, content: file.content, offset, len };
            let left = file.content.len() - self.offset;
            if left >= block_size {
                let block = piece(self.offset, block_size as usize);
                self.offset += block_size;
                return Some(Job::Block(block));
            }
            let tail = (left > 0).then(|| piece(self.offset, left as usize));
            let ended = file.ends_fragment.then(|| std::mem::take(&mut self.fragment));
            self.fragment.extend(tail);
            self.file += 1;
            self.offset = 0;
            if let Some(ended) = ended {
                return Some(Job::Fragment(ended));
            }
        }
    }
}

/// A block, ready to be written.
struct Block {
    /// The file, unless it is a fragment block.
    file: Option<usize>,
    /// Bytes before compression.
    len: u64,
    /// As the format has it: the flag for blocks that are stored as they are is in it.
    size: u32,
    bytes: Vec<u8>,
}

fn run(job: Job<'_>, encoder: &mut Encoder, buffer: &mut Vec<u8>) -> Result<Block, SquashfsError> {
    buffer.clear();
    let mut read = |piece: Piece<'_>| {
        let start = buffer.len();
        buffer.resize(start + piece.len, 0);
        match piece.content.read_at(&mut buffer[start..], piece.offset) {
            Ok(n) if n == piece.len => Ok(()),
            Ok(_) => Err(ContentError::BadExtents),
            Err(source) => Err(source),
        }
        .map_err(|source| SquashfsError::Content { path: piece.path.clone(), source })
    };
    let file = match job {
        Job::Block(piece) => {
            read(piece)?;
            Some(piece.file)
        }
        Job::Fragment(pieces) => {
            pieces.into_iter().try_for_each(&mut read)?;
            None
        }
    };
    let len = buffer.len() as u64;
    if file.is_some() && buffer.iter().all(|&b| b == 0) {
        return Ok(Block { file, len, size: 0, bytes: Vec::new() });
    }
    let compressed = encoder.compress(buffer)?;
    let (size, bytes) = if compressed.len() < buffer.len() {
        (compressed.len() as u32, compressed)
    } else {
        (buffer.len() as u32 | UNCOMPRESSED, buffer.clone())
    };
    Ok(Block { file, len, size, bytes })
}

/// Finished blocks that wait for their turn.
struct Queue<'a> {
    state: Mutex<State<'a>>,
    changed: Condvar,
    window: usize,
}

struct State<'a> {
    jobs: Jobs<'a>,
    /// The block with this number is written next; slot 0 is its.
    written: usize,
    slots: std::collections::VecDeque<Option<Result<Block, SquashfsError>>>,
    /// Number of jobs, once it is known.
    total: Option<usize>,
    stopped: bool,
    /// A worker panicked.
    aborted: bool,
}

impl<'a> Queue<'a> {
    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job that is not too far ahead of the writer.
    fn take(&self) -> Option<(usize, Job<'a>)> {
        let ready = |s: &mut State<'_>| !s.stopped && s.jobs.next >= s.written + self.window;
        let mut state = self.changed.wait_while(self.lock(), ready).unwrap_or_else(PoisonError::into_inner);
        if state.stopped {
            return None;
        }
        let job = state.jobs.next();
        if job.is_none() {
            state.total = Some(state.jobs.next);
            self.changed.notify_all();
        }
        job
    }

    fn put(&self, number: usize, block: Result<Block, SquashfsError>) {
        let mut state = self.lock();
        // After a panic elsewhere nobody waits for this any more.
        if state.aborted {
            return;
        }
        let slot = number - state.written;
        if state.slots.len() <= slot {
            state.slots.resize_with(slot + 1, || None);
        }
        state.slots[slot] = Some(block);
        self.changed.notify_all();
    }

    /// The next block in order; none at the end.
    fn next(&self) -> Option<Result<Block, SquashfsError>> {
        let empty = |s: &mut State<'_>| {
            !s.aborted && s.total != Some(s.written) && !matches!(s.slots.front(), Some(Some(_)))
        };
        let mut state = self.changed.wait_while(self.lock(), empty).unwrap_or_else(PoisonError::into_inner);
        let block = state.slots.pop_front().flatten()?;
        state.written += 1;
        self.changed.notify_all();
        Some(block)
    }

    fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }
}

/// Ends the threads on every way out, a panic too.
struct Stop<'q, 'a>(&'q Queue<'a>);

impl Drop for Stop<'_, '_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Writes the blocks of all files.
pub(super) fn write(
    layout: &Layout<'_>,
    out: &mut Output<'_>,
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<Stored, SquashfsError> {
    let mut stored = Stored { files: vec![StoredFile::default(); layout.files.len()], fragments: Vec::new() };
    let jobs = Jobs { layout, file: 0, offset: 0, fragment: Vec::new(), next: 0 };
    let threads = options.threads.get();
    let queue = Queue {
        state: Mutex::new(State {
            jobs,
            written: 0,
            slots: Default::default(),
            total: None,
            stopped: false,
            aborted: false,
        }),
        changed: Condvar::new(),
        window: WINDOW * threads,
    };
    let encoders: Vec<Encoder> = (0..threads)
        .map(|_| Encoder::new(options.codec, options.level, options.block_size))
        .collect::<io::Result<_>>()?;
    std::thread::scope(|scope| {
        let _stop = Stop(&queue);
        for mut encoder in encoders {
            let queue = &queue;
            scope.spawn(move || {
                // A panic in here must not leave the writer waiting.
                let _stop = StopOnPanic(queue);
                let mut buffer = Vec::new();
                while let Some((number, job)) = queue.take() {
                    queue.put(number, run(job, &mut encoder, &mut buffer));
                }
            });
        }
        let mut done = 0;
        while let Some(block) = queue.next() {
            let block = block?;
            match block.file.map(|f| &mut stored.files[f]) {
                Some(file) => {
                    if file.sizes.is_empty() {
                        file.start = out.position;
                    }
                    file.sizes.push(block.size);
                    if block.size == 0 {
                        file.holes += block.len;
                    }
                }
                None => stored.fragments.push(Fragment { start: out.position, size: block.size }),
            }
            out.write_all(&block.bytes)?;
            done += block.len;
            progress(done);
        }
        Ok(stored)
    })
}

struct StopOnPanic<'q, 'a>(&'q Queue<'a>);

impl Drop for StopOnPanic<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = self.0.lock();
            // The scope hands the panic on once the writer has ended.
            state.stopped = true;
            state.aborted = true;
            state.slots.clear();
            drop(state);
            self.0.changed.notify_all();
        }
    }
}
