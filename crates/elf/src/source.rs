//! Bounded reads of a file, a window at a time.

use std::cell::RefCell;

use tree::Content;

use crate::ElfError;

/// What is read at once for small requests. Bytes.
const WINDOW: u64 = 16 << 10;

/// A file's bytes, by ranges. Small reads near each other cost one read of the file.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    content: &'a Content,
    window: RefCell<(u64, Vec<u8>)>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(content: &'a Content) -> Self {
        Source { content, window: RefCell::new((0, Vec::new())) }
    }

    /// Length of the file. Bytes.
    pub(crate) fn len(&self) -> u64 {
        self.content.len()
    }

    /// Exactly `len` bytes from `offset` on, `what` for the message.
    pub(crate) fn bytes(&self, what: &'static str, offset: u64, len: u64) -> Result<Vec<u8>, ElfError> {
        let outside = ElfError::OutOfFile { what, offset, len, file: self.len() };
        match offset.checked_add(len) {
            Some(end) if end <= self.len() => {}
            _ => return Err(outside),
        }
        let Ok(n) = usize::try_from(len) else { return Err(outside) };
        if len > WINDOW / 2 {
            let mut out = vec![0; n];
            self.content.read_at(&mut out, offset)?;
            return Ok(out);
        }
        let mut window = self.window.borrow_mut();
        let inside =
            |(start, bytes): &(u64, Vec<u8>)| offset >= *start && offset + len <= *start + bytes.len() as u64;
        if !inside(&window) {
            let size = WINDOW.min(self.len() - offset);
            let mut bytes = vec![0; size as usize];
            self.content.read_at(&mut bytes, offset)?;
            *window = (offset, bytes);
        }
        let from = (offset - window.0) as usize;
        Ok(window.1[from..from + n].to_vec())
    }

    /// The bytes from `offset` up to a NUL, which has to come before `end` and within `limit` bytes.
    pub(crate) fn string(
        &self,
        what: &'static str,
        offset: u64,
        end: u64,
        limit: u64,
    ) -> Result<Vec<u8>, ElfError> {
        let end = end.min(self.len());
        let mut out = Vec::new();
        let mut at = offset;
        while at < end && out.len() as u64 <= limit {
            let step = (end - at).min(256);
            let part = self.bytes(what, at, step)?;
            if let Some(n) = part.iter().position(|&b| b == 0) {
                out.extend_from_slice(&part[..n]);
                return Ok(out);
            }
            out.extend_from_slice(&part);
            at += step;
        }
        Err(ElfError::Unterminated { what, offset })
    }

    /// Whether the bytes from `offset` to `end`, which must be inside the file, are all the same one of `fillers`.
    pub(crate) fn is_filled(&self, offset: u64, end: u64, fillers: &[u8]) -> Result<bool, ElfError> {
        let Some(&first) = self.bytes("padding", offset, u64::from(offset < end))?.first() else {
            return Ok(true);
        };
        if !fillers.contains(&first) {
            return Ok(false);
        }
        let mut at = offset;
        while at < end {
            let step = (end - at).min(64 << 10);
            let part = self.bytes("padding", at, step)?;
            if part.iter().any(|&b| b != first) {
                return Ok(false);
            }
            at += step;
        }
        Ok(true)
    }
}
