//! Taking a layer in: three threads in a row, which read and hash, inflate, hash and write. Nothing waits for the disk or
//! for the next stage unless that is the slowest, and no more than a few buffers are in memory.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tree::{Event, Events};

use super::lock::Lock;
use super::partial::Partial;
use super::{Cache, CacheError, at};
use crate::{DecodeError, DecodeLimits, Decoder, Digest, Hasher, LayerBlob, compress::ZEROS};

/// Bytes that go from one stage to the next at once.
const BUFFER: usize = 256 << 10;
/// Buffers that wait between two stages, at most.
const QUEUE: usize = 4;
/// Bytes that are still read when the decoder has given up, to see whether the digest is what is wrong.
const READ_ON: u64 = 4 << 20;

/// What is known of a layer before it is here. All that is known is checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExpectedLayer {
    /// Digest of the blob as the registry has it.
    pub digest: Option<Digest>,
    /// Length of that blob. Bytes.
    pub size: Option<u64>,
    /// Digest of the inflated tar.
    pub diff_id: Option<Digest>,
}

impl ExpectedLayer {
    fn name(&self) -> String {
        match (self.digest, self.diff_id) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(diff_id)) => format!("diff_id {diff_id}"),
            (None, None) => "of unknown digest".into(),
        }
    }
}

/// What came out of the pipeline.
struct Ingested {
    digest: Option<Digest>,
    diff_id: Digest,
}

impl Cache {
    /// Takes in a layer, compressed or not, from a reader that starts at its beginning.
    ///
    /// # Errors
    /// The reader's errors; content that isn't what was expected or can't be decompressed; no room.
    pub fn ingest_layer(
        &self,
        reader: impl Read + Send,
        expect: &ExpectedLayer,
        events: &dyn Events,
    ) -> Result<LayerBlob, CacheError> {
        self.take_in(reader, expect, events)
    }

    /// Fetches a layer unless it is here. `open` gets a reader that starts at an offset: what an earlier run got is not
    /// asked for again. If another process fetches the same layer, this waits for it.
    ///
    /// # Errors
    /// As [`Cache::ingest_layer`].
    pub fn fetch_layer<R: Read + Send>(
        &self,
        digest: &Digest,
        expect: &ExpectedLayer,
        open: impl FnMut(u64) -> io::Result<R> + Send,
        events: &dyn Events,
    ) -> Result<LayerBlob, CacheError> {
        let expect = ExpectedLayer { digest: Some(*digest), ..*expect };
        self.check_size(&expect)?;
        let lock_path = self.path("locks", &digest.hex());
        let waiting = || {
            let text = format!("layer {digest} is being fetched by another process, waiting for it");
            events.event(Event::Note(text.into()));
        };
        let _lock = Lock::acquire(&lock_path, waiting).map_err(at(&lock_path))?;
        if let Some(layer) = self.layer_by_digest(digest)?
            && expect.diff_id.is_none_or(|d| d == layer.diff_id)
        {
            return Ok(layer);
        }
        let mut partial = Partial::open(self.path("partial", &digest.hex()), expect.size, open)?;
        loop {
            let resumed = partial.is_resumed();
            match self.take_in(&mut partial, &expect, events).map_err(CacheError::unwrapped) {
                Ok(layer) => {
                    partial.discard()?;
                    return Ok(layer);
                }
                // The old part may be what is wrong.
                Err(e) if e.is_content() && resumed => partial.restart()?,
                Err(e @ CacheError::Source { .. }) if !e.is_full() => return Err(e),
                Err(e) => {
                    // Wrong content is of no use, and a full disk wants its room back. The first error counts.
                    let _ = std::fs::remove_file(partial.path());
                    return Err(e);
                }
            }
        }
    }

    /// What a manifest says of a length is an attacker's to choose; nothing is asked for that can't be taken in.
    fn check_size(&self, expect: &ExpectedLayer) -> Result<(), CacheError> {
        let limit = self.limits.bytes;
        match expect.size.filter(|size| *size > limit) {
            Some(size) => Err(CacheError::LayerTooLarge { name: expect.name(), size, limit }),
            None => Ok(()),
        }
    }

    fn take_in(
        &self,
        reader: impl Read + Send,
        expect: &ExpectedLayer,
        events: &dyn Events,
    ) -> Result<LayerBlob, CacheError> {
        self.check_size(expect)?;
        let temporary = self.temporary()?;
        let task = format!("layer {}", expect.name());
        let out = pipe(reader, expect, &temporary.file, &temporary.path, self.limits, &task, events);
        events.event(Event::Done { task: &task });
        let out = out?;
        if let Some(expected) = expect.diff_id.filter(|d| *d != out.diff_id) {
            return Err(CacheError::DiffId { name: expect.name(), got: out.diff_id, expected });
        }
        self.publish(temporary, &out.diff_id, out.digest.as_ref())
    }
}

/// What goes from the first stage to the second.
enum Chunk {
    Data(Vec<u8>),
    /// The source failed: what came is not the end.
    Broken,
}

fn pipe(
    mut reader: impl Read + Send,
    expect: &ExpectedLayer,
    file: &File,
    path: &Path,
    limits: DecodeLimits,
    task: &str,
    events: &dyn Events,
) -> Result<Ingested, CacheError> {
    let (raw_in, raw_out) = sync_channel::<Chunk>(QUEUE);
    let (tar_in, tar_out) = sync_channel::<Vec<u8>>(QUEUE);
    let stop = &AtomicBool::new(false);
    let spare = &Spare::default();
    std::thread::scope(|scope| {
        let inflate = scope.spawn(move || inflate(raw_out, limits, expect.diff_id.is_some(), tar_in, spare));
        let write = scope.spawn(move || {
            let written = write(tar_out, file, path, expect.diff_id, spare);
            stop.store(written.is_err(), Ordering::Relaxed);
            written
        });
        let read = read(&mut reader, expect, raw_in, (stop, spare), task, events);
        let inflated = inflate.join().unwrap_or_else(|_| Err(io::Error::other("decompressor panicked")));
        let written = write.join().unwrap_or_else(|_| Err(at(path)(io::Error::other("writer panicked"))));
        // In the order of the causes: a full disk stops everything, a lost line the decoder, and wrong bytes are a better
        // explanation than what the decoder says about them.
        let diff_id = written?;
        let digest = read?;
        if let (Some(got), Some(expected)) = (digest, expect.digest)
            && got != expected
        {
            return Err(CacheError::Digest { got, expected });
        }
        if let Err(e) = inflated {
            let source = match e.downcast::<DecodeError>() {
                Ok(source) => source,
                Err(e) => return Err(CacheError::Source { name: expect.name(), source: e }),
            };
            return Err(CacheError::Decode { name: expect.name(), source });
        }
        if digest.is_none() && expect.digest.is_some() {
            let source = io::Error::other("decompressor stopped before the end");
            return Err(CacheError::Source { name: expect.name(), source });
        }
        Ok(Ingested { digest, diff_id })
    })
}

/// First stage: the digest of what comes; none if it wasn't read to its end.
fn read(
    reader: &mut impl Read,
    expect: &ExpectedLayer,
    next: SyncSender<Chunk>,
    (stop, spare): (&AtomicBool, &Spare),
    task: &str,
    events: &dyn Events,
) -> Result<Option<Digest>, CacheError> {
    let mut hasher = Hasher::new();
    let mut done = 0u64;
    // If the decoder gives up, the digest still says whether the bytes were right; it is worth reading on for if the end is
    // known and near. If the disk is full, nothing is.
    let mut listening = true;
    let mut unheard = 0u64;
    loop {
        let mut buf = spare.take();
        let n = match fill(reader, &mut buf) {
            Ok(n) => n,
            Err(source) => {
                let _ = next.send(Chunk::Broken);
                return Err(CacheError::Source { name: expect.name(), source });
            }
        };
        if n == 0 {
            break;
        }
        done += n as u64;
        if let Some(expected) = expect.size.filter(|size| done > *size) {
            let _ = next.send(Chunk::Broken);
            return Err(CacheError::Size { name: expect.name(), got: done, more: true, expected });
        }
        buf.truncate(n);
        hasher.update(&buf);
        listening = listening && next.send(Chunk::Data(buf)).is_ok();
        if !listening {
            unheard += n as u64;
        }
        let give_up = unheard > READ_ON || (!listening && expect.size.is_none());
        if give_up || stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        events.event(Event::Progress { task, done, total: expect.size });
    }
    if let Some(expected) = expect.size.filter(|size| done != *size) {
        let _ = next.send(Chunk::Broken);
        return Err(CacheError::Size { name: expect.name(), got: done, more: false, expected });
    }
    Ok(Some(hasher.finish()))
}

/// Reads until the buffer is full or the end is there: sockets bring a few KiB at a time.
fn fill(reader: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < buf.len() {
        match reader.read(&mut buf[n..]) {
            Ok(0) => break,
            Ok(m) => n += m,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

/// Second stage. `compared` says that the third compares the digest of what comes out.
fn inflate(
    raw: Receiver<Chunk>,
    limits: DecodeLimits,
    compared: bool,
    next: SyncSender<Vec<u8>>,
    spare: &Spare,
) -> io::Result<()> {
    let source = ChannelReader { raw, current: Vec::new(), position: 0, spare };
    let mut decoder = match compared {
        true => Decoder::without_checksums(source, limits)?,
        false => Decoder::new(source, limits)?,
    };
    loop {
        let mut buf = spare.take();
        let n = fill(&mut decoder, &mut buf)?;
        buf.truncate(n);
        if n == 0 || next.send(buf).is_err() {
            return Ok(());
        }
    }
}

/// Bytes of a tar's block.
const BLOCK: u64 = 512;
/// Blocks that may be missing at the end of a tar: GNU tar's record has 20 of them, others' have more.
const MISSING_BLOCKS: u64 = 128;

/// Third stage: the digest of what is written. Zeros are left holes.
fn write(
    tar: Receiver<Vec<u8>>,
    file: &File,
    path: &Path,
    expected: Option<Digest>,
    spare: &Spare,
) -> Result<Digest, CacheError> {
    let mut hasher = Hasher::new();
    let mut len = 0;
    for buf in tar {
        write_sparse(file, &buf, len).map_err(at(path))?;
        hasher.update(&buf);
        len += buf.len() as u64;
        spare.give(buf);
    }
    let digest = hasher.clone().finish();
    let padding =
        expected.filter(|e| *e != digest).and_then(|e| missing_zeros(hasher, len, e).map(|n| (n, e)));
    let (padding, digest) = padding.unwrap_or((0, digest));
    file.set_len(len + padding).map_err(at(path))?;
    Ok(digest)
}

/// How many zeros have to follow for the digest to be what it should be. zstd:chunked leaves out what stands behind the last
/// file of a tar, and the diff_id is still that of all of it.
fn missing_zeros(mut hasher: Hasher, len: u64, expected: Digest) -> Option<u64> {
    let mut padding = len.next_multiple_of(BLOCK) - len;
    hasher.update(&ZEROS[..padding as usize]);
    for _ in 0..=MISSING_BLOCKS {
        if hasher.clone().finish() == expected {
            return Some(padding);
        }
        hasher.update(&ZEROS[..BLOCK as usize]);
        padding += BLOCK;
    }
    None
}

/// Writes what isn't zero.
fn write_sparse(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    let mut pending = 0..0;
    for (i, chunk) in bytes.chunks(ZEROS.len()).enumerate() {
        let start = i * ZEROS.len();
        if *chunk != ZEROS[..chunk.len()] {
            if pending.end != start {
                file.write_all_at(&bytes[pending.clone()], at + pending.start as u64)?;
                pending.start = start;
            }
            pending.end = start + chunk.len();
        }
    }
    file.write_all_at(&bytes[pending.clone()], at + pending.start as u64)
}

/// Buffers that were used and can be used again. New ones cost as much as a third of hashing what is in them: the kernel has to map and
/// clear them.
#[derive(Default)]
struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    /// Of [`BUFFER`] bytes.
    fn take(&self) -> Vec<u8> {
        let used = self.0.lock().unwrap_or_else(|e| e.into_inner()).pop();
        used.unwrap_or_else(|| vec![0; BUFFER])
    }

    fn give(&self, mut buf: Vec<u8>) {
        if buf.capacity() >= BUFFER {
            buf.resize(BUFFER, 0);
            self.0.lock().unwrap_or_else(|e| e.into_inner()).push(buf);
        }
    }
}

struct ChannelReader<'a> {
    raw: Receiver<Chunk>,
    current: Vec<u8>,
    position: usize,
    spare: &'a Spare,
}

impl Read for ChannelReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.position == self.current.len() {
            match self.raw.recv() {
                Ok(Chunk::Data(data)) => {
                    self.spare.give(std::mem::replace(&mut self.current, data));
                    self.position = 0;
                }
                Ok(Chunk::Broken) => return Err(ErrorKind::ConnectionAborted.into()),
                Err(_) => return Ok(0),
            }
        }
        let n = buf.len().min(self.current.len() - self.position);
        buf[..n].copy_from_slice(&self.current[self.position..self.position + n]);
        self.position += n;
        Ok(n)
    }
}
