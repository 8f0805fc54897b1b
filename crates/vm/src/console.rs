//! What comes from the machine's console: the command's output is what stands between the marks.

use std::io::{self, Write};

use super::guest_files::{BEGIN, END, REFUSED};

/// Bytes of the console that are kept for an error's sake.
const TAIL: usize = 4096;

/// Takes the console's bytes as they come and hands on what belongs to the command.
#[derive(Debug, Default)]
pub(super) struct Console {
    /// Not yet known to be no mark.
    pending: Vec<u8>,
    inside: bool,
    /// What stands in the place of the command's output if it isn't run.
    refused: Option<Vec<u8>>,
    tail: Vec<u8>,
    /// The command's exit status, when it is known.
    pub(super) status: Option<u8>,
    /// Whether the kernel has said its first word.
    pub(super) alive: bool,
}

impl Console {
    /// Takes bytes; the command's output goes to `out`, without the carriage returns that the terminal added.
    pub(super) fn take(&mut self, bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
        self.tail.extend_from_slice(bytes);
        if self.tail.len() > 2 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
        self.alive = self.alive || find(&self.tail, b"Linux version").is_some();
        if self.status.is_some() {
            return Ok(());
        }
        self.pending.extend_from_slice(bytes);
        if !self.inside {
            let end = |mark: &[u8]| find(&self.pending, mark).map(|at| at + mark.len());
            let (begin, refused) = (end(BEGIN), end(REFUSED));
            if begin.is_none() {
                self.refused = refused.map(|_| Vec::new());
            }
            let Some(end) = begin.or(refused) else {
                let keep = self.pending.len().min(REFUSED.len());
                self.pending.drain(..self.pending.len() - keep);
                return Ok(());
            };
            self.inside = true;
            self.pending.drain(..end);
        }
        let end = self.pending.iter().position(|&b| b == END[0]);
        let output = end.unwrap_or(self.pending.len());
        self.write(output, out)?;
        // From the mark's first byte on.
        if self.pending.starts_with(END) {
            let rest = &self.pending[END.len()..];
            if let Some(close) = rest.iter().position(|&b| b == END[0]) {
                let status = std::str::from_utf8(&rest[..close]).ok().and_then(|s| s.parse().ok());
                self.status = Some(status.unwrap_or(u8::MAX));
            }
        } else if self.pending.len() >= END.len() {
            // The command's own byte.
            self.write(1, out)?;
            return self.take(&[], out);
        }
        Ok(())
    }

    fn write(&mut self, length: usize, out: &mut dyn Write) -> io::Result<()> {
        let mut rest: Vec<u8> = self.pending.drain(..length).collect();
        // The pair may come in two parts: what is at the end waits.
        let waits = rest.last() == Some(&b'\r') && self.pending.is_empty();
        if waits {
            rest.pop();
            self.pending.push(b'\r');
        }
        let mut clean = Vec::with_capacity(rest.len());
        for (i, &byte) in rest.iter().enumerate() {
            if !(byte == b'\r' && rest.get(i + 1) == Some(&b'\n')) {
                clean.push(byte);
            }
        }
        match &mut self.refused {
            Some(why) => why.extend(clean),
            None => out.write_all(&clean).and_then(|()| out.flush())?,
        }
        Ok(())
    }

    /// Why the command was not run, when the status is known.
    pub(super) fn refusal(&self) -> Option<String> {
        self.refused.as_ref().map(|why| String::from_utf8_lossy(why).trim().to_owned())
    }

    /// The last of what was seen.
    pub(super) fn tail(&self) -> String {
        let text = String::from_utf8_lossy(&self.tail).replace('\r', "");
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|w| w == part)
}
