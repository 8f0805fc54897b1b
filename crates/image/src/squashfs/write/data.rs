//! File contents: the threads that read and compress, and the one that writes.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::output::Output;
use super::plan::Plan;
use super::{Options, WriteError};
use crate::codec::Encoder;
use crate::squashfs::layout::{BLOCK_UNCOMPRESSED, Fragment};
use tree::{ContentError, is_zero};

/// Blocks that may be ahead of the writer, a thread. With 128 KiB blocks half a megabyte, with 1 MiB four.
const WINDOW: usize = 4;

/// Where the blocks of a file are. Files without blocks have none of these.
#[derive(Debug)]
struct Run {
    file: u32,
    /// Where its sizes start in [`Stored::sizes`].
    first: u32,
    /// From the start of the image. Bytes.
    start: u64,
    /// In blocks of zeros. Bytes.
    holes: u64,
}

#[derive(Debug, Default)]
pub(super) struct Stored {
    /// In the order of the files.
    runs: Vec<Run>,
    /// Of each block; 0 for one of zeros.
    sizes: Vec<u32>,
    pub(super) fragments: Vec<Fragment>,
}

/// Where a file's blocks are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StoredFile<'s> {
    /// From the start of the image. Bytes.
    pub(super) start: u64,
    /// Of each block; 0 for one of zeros.
    pub(super) sizes: &'s [u32],
    /// In blocks of zeros. Bytes.
    pub(super) holes: u64,
}

impl Stored {
    pub(super) fn file(&self, number: usize) -> StoredFile<'_> {
        let Ok(i) = self.runs.binary_search_by_key(&number, |run| run.file as usize) else {
            return StoredFile::default();
        };
        let run = &self.runs[i];
        let end = self.runs.get(i + 1).map_or(self.sizes.len(), |next| next.first as usize);
        StoredFile { start: run.start, sizes: &self.sizes[run.first as usize..end], holes: run.holes }
    }

    fn add(&mut self, block: &Block, position: u64) {
        let Some(file) = block.file else {
            self.fragments.push(Fragment { start: position, size: block.size, unused: 0 });
            return;
        };
        // Files and blocks were counted: 32 bits take them.
        let new = Run { file: file as u32, first: self.sizes.len() as u32, start: position, holes: 0 };
        if self.runs.last().is_none_or(|run| run.file != new.file) {
            self.runs.push(new);
        }
        self.sizes.resize(self.sizes.len() + block.count as usize, block.size);
        if let (0, Some(run)) = (block.size, self.runs.last_mut()) {
            run.holes += block.len;
        }
    }
}

/// Part of a file.
#[derive(Debug, Clone, Copy)]
struct Piece {
    file: usize,
    offset: u64,
    len: usize,
}

#[derive(Debug)]
enum Job {
    Block(Piece),
    /// So many blocks of a file that are not stored anywhere, but zero.
    Hole(usize, u64),
    /// The tails of files one after the other: a part of [`Plan::order`].
    Fragment(Range<usize>),
}

/// Makes the jobs, in the order of their blocks in the image: blocks of the files that come first, fragment blocks with their
/// tails, blocks of the other files, the other fragment blocks.
struct Jobs<'a> {
    plan: &'a Plan<'a>,
    file: usize,
    offset: u64,
    /// Place in [`Plan::order`] of the next fragment block's first tail.
    tail: usize,
    next: usize,
}

impl Iterator for Jobs<'_> {
    type Item = (usize, Job);

    fn next(&mut self) -> Option<(usize, Job)> {
        let job = self.job()?;
        let number = self.next;
        self.next += 1;
        Some((number, job))
    }
}

impl Jobs<'_> {
    fn job(&mut self) -> Option<Job> {
        while self.file < self.plan.len() {
            if self.file == self.plan.lead() && self.is_lead() {
                return self.fragment();
            }
            let (file, offset) = (self.file, self.offset);
            let left = self.plan.content(file).len() - offset;
            if left >= self.plan.block_size() {
                return Some(self.blocks(file, offset, left / self.plan.block_size()));
            }
            self.file += 1;
            self.offset = 0;
        }
        self.fragment()
    }

    /// Whether the next fragment block starts with the tail of a file that comes first.
    fn is_lead(&self) -> bool {
        let next = self.plan.order().get(self.tail);
        next.is_some_and(|number| (*number as usize) < self.plan.lead())
    }

    fn fragment(&mut self) -> Option<Job> {
        let rest = &self.plan.order()[self.tail..];
        let number = |file: &u32| self.plan.fragment(*file as usize).map(|(number, _)| number);
        let first = number(rest.first()?);
        let count = rest.iter().take_while(|file| number(file) == first).count();
        let start = self.tail;
        self.tail += count;
        Some(Job::Fragment(start..self.tail))
    }

    /// The next block, or all that are in one hole.
    fn blocks(&mut self, file: usize, offset: u64, left: u64) -> Job {
        let block_size = self.plan.block_size();
        let hole = (self.plan.content(file).next_data(offset) - offset) / block_size;
        let (job, count) = match hole.min(left) {
            0 => (Job::Block(Piece { file, offset, len: block_size as usize }), 1),
            n => (Job::Hole(file, n), n),
        };
        self.offset += count * block_size;
        job
    }
}

/// A block, ready to be written.
struct Block {
    /// The file, unless it is a fragment block.
    file: Option<usize>,
    /// More than one only in a hole.
    count: u64,
    /// Bytes before compression.
    len: u64,
    /// As the format has it: the flag for blocks that are stored as they are is in it.
    size: u32,
    bytes: Vec<u8>,
}

fn run(job: Job, plan: &Plan<'_>, encoder: &mut Encoder, buffer: &mut Vec<u8>) -> Result<Block, WriteError> {
    buffer.clear();
    let mut read = |piece: Piece| {
        let start = buffer.len();
        buffer.resize(start + piece.len, 0);
        match plan.content(piece.file).read_at(&mut buffer[start..], piece.offset) {
            Ok(n) if n == piece.len => Ok(()),
            Ok(_) => Err(ContentError::BadExtents),
            Err(source) => Err(source),
        }
        .map_err(|source| plan.unreadable(piece.file, source))
    };
    let file = match job {
        Job::Hole(file, count) => {
            let len = count * plan.block_size();
            return Ok(Block { file: Some(file), count, len, size: 0, bytes: Vec::new() });
        }
        Job::Block(piece) => {
            read(piece)?;
            Some(piece.file)
        }
        Job::Fragment(part) => {
            for &file in &plan.order()[part] {
                let file = file as usize;
                let len = plan.content(file).len();
                let tail = len % plan.block_size();
                read(Piece { file, offset: len - tail, len: tail as usize })?;
            }
            None
        }
    };
    let len = buffer.len() as u64;
    if file.is_some() && is_zero(buffer) {
        return Ok(Block { file, count: 1, len, size: 0, bytes: Vec::new() });
    }
    let compressed = encoder.compress(buffer)?;
    let (size, bytes) = if compressed.len() < buffer.len() {
        (compressed.len() as u32, compressed)
    } else {
        (buffer.len() as u32 | BLOCK_UNCOMPRESSED, buffer.clone())
    };
    Ok(Block { file, count: 1, len, size, bytes })
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
    slots: VecDeque<Option<Result<Block, WriteError>>>,
    /// Number of jobs, once it is known.
    total: Option<usize>,
    stopped: bool,
    aborted: bool,
}

impl<'a> Queue<'a> {
    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job that is not too far ahead of the writer.
    fn take(&self) -> Option<(usize, Job)> {
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

    fn put(&self, number: usize, block: Result<Block, WriteError>) {
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
    fn next(&self) -> Option<Result<Block, WriteError>> {
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
    plan: &Plan<'_>,
    out: &mut Output<'_>,
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<Stored, WriteError> {
    let mut stored = Stored::default();
    let jobs = Jobs { plan, file: 0, offset: 0, tail: 0, next: 0 };
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
                    queue.put(number, run(job, plan, &mut encoder, &mut buffer));
                }
            });
        }
        let mut done = 0;
        while let Some(block) = queue.next() {
            let block = block?;
            stored.add(&block, out.position);
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
