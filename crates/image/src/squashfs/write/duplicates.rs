//! Files of the same content, which are stored once: found by their lengths, then by digests.

use std::sync::{Mutex, PoisonError};

use super::files::{content, unreadable};
use super::{Options, WriteError};
use crate::sha256::Sha256;
use tree::{Content, ContentError, Ino, Tree, is_zero};

/// Bytes of SHA-256 that are kept. There may be millions of files; 160 bits are still not to be met by chance or by force.
const DIGEST: usize = 20;

/// Bytes that are read at a time.
const CHUNK: u64 = 1 << 16;

/// Files that a thread takes at a time.
const BATCH: usize = 64;

struct Candidate {
    digest: [u8; DIGEST],
    /// Place in the list of files.
    number: u32,
}

/// Sets the entry of each file that equals one before it in `files` to that one's inode index.
pub(super) fn find(
    tree: &Tree,
    files: &[Ino],
    first: &mut [u32],
    options: &Options,
) -> Result<(), WriteError> {
    let len = |c: &Candidate| content(tree, files[c.number as usize]).len();
    let mut candidates: Vec<Candidate> = (0u32..)
        .zip(files)
        .filter(|(_, ino)| !content(tree, **ino).is_empty())
        .map(|(number, _)| Candidate { digest: [0; DIGEST], number })
        .collect();
    candidates.sort_unstable_by_key(|c| (len(c), c.number));
    retain_shared(&mut candidates, len);
    digest_all(tree, files, &mut candidates, options)?;
    candidates.sort_unstable_by_key(|c| (len(c), c.digest, c.number));
    for group in candidates.chunk_by(|a, b| a.digest == b.digest && len(a) == len(b)) {
        if let [first_of_all, others @ ..] = group {
            let head = files[first_of_all.number as usize].index();
            for other in others {
                first[files[other.number as usize].index()] = first[head];
            }
        }
    }
    Ok(())
}

/// Leaves those whose length another has, too.
fn retain_shared(candidates: &mut Vec<Candidate>, len: impl Fn(&Candidate) -> u64) {
    let mut kept = 0;
    let mut start = 0;
    while start < candidates.len() {
        let of = len(&candidates[start]);
        let end =
            candidates[start..].iter().position(|c| len(c) != of).map_or(candidates.len(), |n| start + n);
        if end - start > 1 {
            for i in start..end {
                candidates.swap(kept, i);
                kept += 1;
            }
        }
        start = end;
    }
    candidates.truncate(kept);
}

fn digest_all(
    tree: &Tree,
    files: &[Ino],
    candidates: &mut [Candidate],
    options: &Options,
) -> Result<(), WriteError> {
    let batches = Mutex::new(candidates.chunks_mut(BATCH));
    let next = || batches.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        let mut buffer = Vec::new();
        while let Some(batch) = next() {
            for candidate in batch {
                let ino = files[candidate.number as usize];
                let error = |source| unreadable(tree, ino, source);
                candidate.digest = digest(content(tree, ino), &mut buffer).map_err(error)?;
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads.get()).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })
}

/// Of what is not zero and where it is, so that holes aren't read and are the same as stored zeros.
fn digest(content: &Content, buffer: &mut Vec<u8>) -> Result<[u8; DIGEST], ContentError> {
    let mut hasher = Sha256::new();
    let mut at = 0;
    loop {
        at = content.next_data(at);
        if at >= content.len() {
            break;
        }
        at -= at % CHUNK;
        buffer.resize(CHUNK.min(content.len() - at) as usize, 0);
        let n = content.read_at(buffer, at)?;
        if !is_zero(&buffer[..n]) {
            hasher.update(at.to_le_bytes());
            hasher.update(&buffer[..n]);
        }
        at += CHUNK;
    }
    let mut out = [0; DIGEST];
    out.copy_from_slice(&hasher.finish()[..DIGEST]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tree::{Blob, Extent};

    #[test]
    fn holes_and_stored_zeros_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let blob = dir.path().join("blob");
        std::fs::write(&blob, b"data").unwrap();
        for at in [0u64, 1, 65_535, 65_536, 199_996] {
            let mut stored = vec![0; 200_000];
            stored[at as usize..at as usize + 4].copy_from_slice(b"data");
            let sparse =
                Content::sparse(Blob::at_path(&blob), 200_000, vec![Extent { at, offset: 0, len: 4 }])
                    .unwrap();
            let mut buffer = Vec::new();
            let of = |c: &Content, buffer: &mut Vec<u8>| digest(c, buffer).unwrap();
            assert_eq!(of(&sparse, &mut buffer), of(&stored.clone().into(), &mut buffer), "{at}");
            let moved = [&stored[1..], &[0]].concat();
            assert_ne!(of(&sparse, &mut buffer), of(&moved.into(), &mut buffer), "{at}");
        }
    }
}
