//! gzip members around deflate: RFC 1952.
//!
//! flate2 has a reader for them, too, but it computes each member's CRC-32, a tenth of the time, where the layer's own digest says more.

use std::io::{self, BufRead, ErrorKind};

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::{CompressionFormat, DecodeError};

/// Bytes of the fixed part of a member's header.
const HEADER: usize = 10;
/// Bytes behind the compressed data: CRC-32 and length, both little-endian.
const TRAILER: usize = 8;
const DEFLATE: u8 = 8;
const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// Reads the members of a gzip stream.
pub(super) struct Gzip<S> {
    source: S,
    inflater: Decompress,
    state: State,
    /// None if nobody wants to know.
    crc: Option<Crc>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// A header comes next, as the magic number of it has shown.
    Header,
    Data,
    /// Nothing comes any more.
    End,
}

impl<S: BufRead> Gzip<S> {
    /// Of a source that begins with a member. With `checks`, the CRC-32 of each member is compared.
    pub(super) fn new(source: S, checks: bool) -> Self {
        let crc = checks.then(Crc::new);
        Gzip { source, inflater: Decompress::new(false), state: State::Header, crc }
    }

    pub(super) fn source(&self) -> &S {
        &self.source
    }

    pub(super) fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// Fills `buf`, or less of it. Nothing at the end of the last member.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.state {
                State::End => return Ok(0),
                State::Header => {
                    self.header()?;
                    self.state = State::Data;
                }
                State::Data => {
                    let n = self.data(buf)?;
                    if n > 0 {
                        return Ok(n);
                    }
                }
            }
        }
    }

    /// Inflates something. Nothing if the member has ended.
    fn data(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let input = retried(&mut self.source)?;
            let ended = input.is_empty();
            let (read, written) = (self.inflater.total_in(), self.inflater.total_out());
            let flush = if ended { FlushDecompress::Finish } else { FlushDecompress::None };
            let status = self.inflater.decompress(input, buf, flush);
            let read = (self.inflater.total_in() - read) as usize;
            let written = (self.inflater.total_out() - written) as usize;
            self.source.consume(read);
            let status = status.map_err(|e| io::Error::new(ErrorKind::InvalidInput, e))?;
            if let Some(crc) = &mut self.crc {
                crc.update(&buf[..written]);
            }
            if status == Status::StreamEnd {
                self.trailer()?;
                self.state = if self.another()? { State::Header } else { State::End };
                return Ok(written);
            }
            if written > 0 {
                return Ok(written);
            }
            if ended {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// RFC 1952, section 2.3.
    fn header(&mut self) -> io::Result<()> {
        let mut crc = Crc::new();
        let fixed = self.take::<HEADER>(&mut crc)?;
        let [0x1f, 0x8b, DEFLATE, flags, ..] = fixed else { return Err(damaged("invalid gzip header")) };
        if flags & RESERVED != 0 {
            return Err(damaged("invalid gzip header"));
        }
        if flags & EXTRA != 0 {
            let len = u16::from_le_bytes(self.take(&mut crc)?);
            for _ in 0..len {
                self.take::<1>(&mut crc)?;
            }
        }
        for flag in [NAME, COMMENT] {
            while flags & flag != 0 && self.take(&mut crc)? != [0] {}
        }
        if flags & HEADER_CRC != 0 {
            let expected = crc.sum() as u16;
            if u16::from_le_bytes(self.take(&mut crc)?) != expected {
                return Err(damaged("corrupt gzip header does not have a matching checksum"));
            }
        }
        Ok(())
    }

    fn trailer(&mut self) -> io::Result<()> {
        let trailer = self.take::<TRAILER>(&mut Crc::new())?;
        let [a, b, c, d, e, f, g, h] = trailer;
        let (sum, len) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        let written = self.inflater.total_out();
        // The length is modulo 2^32.
        let fits = len == written as u32 && self.crc.as_ref().is_none_or(|crc| crc.sum() == sum);
        if !fits {
            return Err(damaged("corrupt gzip stream does not have a matching checksum"));
        }
        self.inflater.reset(false);
        if let Some(crc) = &mut self.crc {
            crc.reset();
        }
        Ok(())
    }

    /// At the end of a member: whether another one follows. The file may be padded with NULs, as tapes were and some registries' uploads
    /// are; gzip(1) takes it in silence, too.
    fn another(&mut self) -> io::Result<bool> {
        match retried(&mut self.source)? {
            [] => return Ok(false),
            [0x1f, ..] => return Ok(true),
            _ => {}
        }
        loop {
            let padding = retried(&mut self.source)?;
            if padding.is_empty() {
                return Ok(false);
            }
            if padding.iter().any(|&b| b != 0) {
                return Err(DecodeError::Trailing(CompressionFormat::Gzip).into());
            }
            let n = padding.len();
            self.source.consume(n);
        }
    }

    fn take<const N: usize>(&mut self, crc: &mut Crc) -> io::Result<[u8; N]> {
        let mut out = [0; N];
        let mut len = 0;
        while len < N {
            let input = retried(&mut self.source)?;
            if input.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let n = input.len().min(N - len);
            out[len..len + n].copy_from_slice(&input[..n]);
            self.source.consume(n);
            len += n;
        }
        crc.update(&out);
        Ok(out)
    }
}

/// The next bytes, none at the end.
fn retried<S: BufRead>(source: &mut S) -> io::Result<&[u8]> {
    loop {
        match source.fill_buf() {
            Ok(_) => break,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    // What is buffered comes again without a system call.
    source.fill_buf()
}

fn damaged(message: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, message)
}
