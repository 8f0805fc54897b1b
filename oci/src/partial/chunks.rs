//! Pieces of files that come when they are read.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

use store::{Cache, DecodeLimits, Decoder, Digest, ExpectedFile};
use tree::{Content, Fill};

use super::remote::Remote;
use super::table::Chunk;

/// Bytes that are asked for at once, at most, while files are read one after another as they are in the layer.
const AHEAD_MAX: u64 = 4 << 20;
/// Bytes that are asked for with the second file in a row.
const AHEAD_MIN: u64 = 32 << 10;
/// Bytes between two reads that are still in a row.
const NEAR: u64 = 128 << 10;
/// Bytes of a file that is fetched as a whole, compressed, at most.
const FILE_MAX: u64 = 16 << 20;
const BUFFER: usize = 256 << 10;

/// All pieces of a layer.
#[derive(Debug)]
pub(super) struct Chunks {
    chunks: Vec<Chunk>,
    remote: Remote,
    /// What was verified is kept there, by its digest.
    cache: Cache,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Whether each piece is in the file.
    here: Vec<bool>,
    /// Where the last request ended. Bytes.
    last: u64,
    /// Bytes that the next request may ask for beyond what is needed, if it is near the last.
    ahead: u64,
}

impl Chunks {
    pub(super) fn new(chunks: Vec<Chunk>, remote: Remote, cache: Cache) -> Chunks {
        let state = Mutex::new(State { here: vec![false; chunks.len()], last: 0, ahead: 0 });
        Chunks { chunks, remote, cache, state }
    }

    /// Pieces that have something of these bytes, and the others of their files: whoever reads some of a file mostly reads more of it.
    fn within(&self, offset: u64, len: u64) -> Range<usize> {
        let end = offset.saturating_add(len);
        let first = self.chunks.partition_point(|c| c.at + c.len <= offset);
        let past = self.chunks.partition_point(|c| c.at < end).max(first);
        if first == past {
            return first..past;
        }
        let (file, last) = (self.chunks[first].file, self.chunks[past - 1].file);
        let begin = self.chunks.partition_point(|c| c.file < file);
        let stop = self.chunks.partition_point(|c| c.file <= last);
        if self.chunks[stop - 1].to - self.chunks[begin].from > FILE_MAX {
            return first..past;
        }
        begin..stop
    }

    /// Takes a piece from the cache, if it is there.
    fn cached(&self, i: usize, file: &File, state: &mut State) -> io::Result<bool> {
        let chunk = &self.chunks[i];
        let Some(found) = self.cache.file(&chunk.digest).map_err(io::Error::other)? else { return Ok(false) };
        if found.len != chunk.len {
            return Err(self.odd(&chunk.digest, "is of another length"));
        }
        copy(&Content::in_blob(found.blob, found.offset, found.len), file, chunk.at)?;
        state.here[i] = true;
        Ok(true)
    }

    /// The pieces to ask for with the first of `wanted`, none of which is here: those that follow it, and some more if files are read in a
    /// row.
    fn run(&self, wanted: Range<usize>, state: &mut State) -> Range<usize> {
        let first = self.chunks[wanted.start];
        let near = first.from >= state.last && first.from - state.last <= NEAR;
        state.ahead = if near { (state.ahead * 2).clamp(AHEAD_MIN, AHEAD_MAX) } else { 0 };
        let mut end = wanted.start + 1;
        while let Some(next) = self.chunks.get(end) {
            let asked = end < wanted.end || next.to - first.from <= state.ahead;
            // Pieces that are packed together can't be told apart in one stream.
            if !asked || state.here[end] || next.from == self.chunks[end - 1].from {
                break;
            }
            end += 1;
        }
        state.last = self.chunks[end - 1].to;
        wanted.start..end
    }

    /// Fetches pieces that follow each other.
    fn fetch(&self, run: Range<usize>, file: &File, state: &mut State) -> io::Result<()> {
        let (first, last) = (self.chunks[run.start], self.chunks[run.end - 1]);
        let mut stream = self.remote.part((first.from, last.to))?;
        for i in run {
            let chunk = &self.chunks[i];
            let packed = RefCell::new((&mut stream).take(chunk.to - chunk.from));
            let expect = ExpectedFile { digest: Some(chunk.digest), size: Some(chunk.len), limit: chunk.len };
            let open = |start: u64| {
                let mut unpacked = Decoder::new(Shared(&packed), DecodeLimits::default())?;
                // What an earlier run left of it is here already.
                let skipped = chunk.skip.saturating_add(start);
                io::copy(&mut (&mut unpacked).take(skipped), &mut io::sink())?;
                Ok((unpacked.take(chunk.len - start.min(chunk.len)), None))
            };
            let name = chunk.digest.to_string();
            let got = self.cache.fetch_file(&name, &expect, || (), open, &mut |_, _| ());
            let got = got.map_err(|e| self.odd(&chunk.digest, &e.to_string()))?;
            copy(&Content::in_blob(got.blob, got.offset, got.len), file, chunk.at)?;
            state.here[i] = true;
            io::copy(&mut packed.into_inner(), &mut io::sink())?;
        }
        Ok(())
    }

    fn odd(&self, chunk: &Digest, why: &str) -> io::Error {
        io::Error::other(format!("chunk {chunk} of layer {}: {why}", self.remote.digest))
    }
}

/// A reader that several have.
struct Shared<'a, R>(&'a RefCell<R>);

impl<R: Read> Read for Shared<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buf)
    }
}

impl Fill for Chunks {
    fn fill(&self, file: &File, offset: u64, len: u64) -> io::Result<()> {
        let wanted = self.within(offset, len);
        if wanted.is_empty() {
            return Ok(());
        }
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        for i in wanted.clone() {
            if state.here[i] || self.cached(i, file, &mut state)? {
                continue;
            }
            let run = self.run(i..wanted.end, &mut state);
            self.fetch(run, file, &mut state)?;
        }
        Ok(())
    }
}

fn copy(content: &Content, file: &File, mut at: u64) -> io::Result<()> {
    let mut reader = content.reader();
    let mut buf = vec![0; BUFFER.min(usize::try_from(content.len()).unwrap_or(BUFFER))];
    loop {
        match reader.read(&mut buf)? {
            0 => return Ok(()),
            n => {
                file.write_all_at(&buf[..n], at)?;
                at += n as u64;
            }
        }
    }
}
