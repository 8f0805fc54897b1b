//! Blocks compressed ahead, on several threads, for a writer that compresses one block after the other on its own.
//!
//! backhand asks for each block when it writes it. So a reader walks the files in backhand's order, cuts them into the
//! same blocks and hands them to workers; when backhand asks, the answer is there. A wrong guess costs time, never
//! correctness: the answer is taken only if its input is what backhand has in hand.

use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::Scope;

use super::Codec;
use super::codec::Encoder;
use crate::Content;

/// A block and its compressed form.
struct Answer {
    block: Vec<u8>,
    compressed: std::io::Result<Vec<u8>>,
}

struct Job {
    block: Vec<u8>,
    reply: SyncSender<Answer>,
}

/// The answers in the order in which they will be asked for.
pub(super) struct Ahead {
    queue: Option<Receiver<Receiver<Answer>>>,
    own: Encoder,
}

/// How blocks are compressed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) codec: Codec,
    pub(super) level: u32,
    /// Bytes.
    pub(super) block_size: u32,
    pub(super) threads: usize,
}

/// Blocks in flight for each thread. With 128 KiB in and out, 8 threads hold 16 MiB.
const WINDOW: usize = 8;

impl Ahead {
    /// Starts the threads. They end by themselves when this is dropped or all is done.
    pub(super) fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        plan: Plan,
        files: Vec<Content>,
        jobs: &'env JobQueue,
    ) -> std::io::Result<Ahead> {
        let own = Encoder::new(plan.codec, plan.level, plan.block_size)?;
        let (queue_in, queue) = sync_channel::<Receiver<Answer>>(WINDOW * plan.threads);
        let jobs_in = jobs.open(WINDOW * plan.threads);
        for _ in 0..plan.threads {
            let mut encoder = Encoder::new(plan.codec, plan.level, plan.block_size)?;
            scope.spawn(move || {
                while let Some(job) = jobs.next() {
                    let compressed = encoder.compress(&job.block);
                    // Nobody listens if the writer failed.
                    let _ = job.reply.send(Answer { block: job.block, compressed });
                }
            });
        }
        scope.spawn(move || {
            let mut send = |block: Vec<u8>| {
                let (reply, answer) = sync_channel(1);
                jobs_in.send(Job { block, reply }).is_ok() && queue_in.send(answer).is_ok()
            };
            cut(&files, plan.block_size as usize, &mut send);
        });
        Ok(Ahead { queue: Some(queue), own })
    }

    /// The compressed form of `block`.
    pub(super) fn compress(&mut self, block: &[u8]) -> std::io::Result<Vec<u8>> {
        if let Some(queue) = &self.queue {
            match queue.recv().map(|answer| answer.recv()) {
                Ok(Ok(answer)) if answer.block == block => return answer.compressed,
                // Out of step (a file changed under our hands), or at the end of the data.
                _ => self.queue = None,
            }
        }
        self.own.compress(block)
    }
}

/// Jobs for the workers.
#[derive(Default)]
pub(super) struct JobQueue(Mutex<Option<Receiver<Job>>>);

impl JobQueue {
    fn open(&self, bound: usize) -> SyncSender<Job> {
        let (sender, receiver) = sync_channel(bound);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(receiver);
        sender
    }

    fn next(&self) -> Option<Job> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.recv().ok()
    }
}

/// Cuts files into blocks as backhand's `DataWriter` does: a file shorter than a block goes into the fragment block, whole;
/// a longer one makes blocks of its own, those of zeros left out. `send` says whether to go on.
fn cut(files: &[Content], block_size: usize, send: &mut impl FnMut(Vec<u8>) -> bool) {
    let mut fragment: Vec<u8> = Vec::new();
    for file in files {
        let mut reader = file.reader();
        let mut next = || {
            let mut block = Vec::new();
            reader.by_ref().take(block_size as u64).read_to_end(&mut block).map(|_| block)
        };
        // The writer meets the same error and reports it.
        let Ok(mut block) = next() else { return };
        if block.len() < block_size {
            if !block.is_empty()
                && fragment.len() + block.len() > block_size
                && !send(std::mem::take(&mut fragment))
            {
                return;
            }
            fragment.extend_from_slice(&block);
            continue;
        }
        while !block.is_empty() {
            if block.iter().any(|&b| b != 0) && !send(block) {
                return;
            }
            let Ok(more) = next() else { return };
            block = more;
        }
    }
    send(fragment);
}
