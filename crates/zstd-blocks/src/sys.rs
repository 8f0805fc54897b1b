//! libzstd's coder for sequences that others found. All of this crate's `unsafe` is here.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::ptr::NonNull;

use zstd::zstd_safe::zstd_sys::{self as ffi, ZSTD_cParameter as Parameter};

use crate::{block::LONGEST, sequence::Sequence};

/// Turns sequences into frames: the codes are chosen and written by libzstd. zstd.h, ZSTD_compressSequences().
pub(crate) struct Coder {
    context: NonNull<ffi::ZSTD_CCtx>,
    sequences: Vec<ffi::ZSTD_Sequence>,
}

// SAFETY: a context has no ties to the thread that made it. zstd.h, "Compression context".
unsafe impl Send for Coder {}

impl Coder {
    /// `strategy` is that of the parser that sequences come from: the higher, the more time goes into codes. zstd.h, ZSTD_strategy.
    pub(crate) fn new(strategy: ffi::ZSTD_strategy) -> io::Result<Self> {
        // SAFETY: takes nothing.
        let context = NonNull::new(unsafe { ffi::ZSTD_createCCtx() }).ok_or(io::ErrorKind::OutOfMemory)?;
        let coder = Coder { context, sequences: Vec::new() };
        for (parameter, value) in [
            (Parameter::ZSTD_c_strategy, strategy as i32),
            (Parameter::ZSTD_c_windowLog, LONGEST.ilog2() as i32),
            (Parameter::ZSTD_c_minMatch, 3),
            // Nothing is searched, so the tables for it are as small as they can be.
            (Parameter::ZSTD_c_hashLog, 6),
            (Parameter::ZSTD_c_chainLog, 6),
            // ZSTD_c_blockDelimiters: ZSTD_sf_explicitBlockDelimiters.
            (Parameter::ZSTD_c_experimentalParam11, 1),
            // ZSTD_c_validateSequences: a mistake of ours is an error, not undefined behaviour.
            (Parameter::ZSTD_c_experimentalParam12, 1),
            // ZSTD_c_searchForExternalRepcodes: ZSTD_ps_enable.
            (Parameter::ZSTD_c_experimentalParam19, 1),
        ] {
            // SAFETY: the context lives as long as `coder`; values are checked there.
            checked(unsafe { ffi::ZSTD_CCtx_setParameter(context.as_ptr(), parameter, value) })?;
        }
        Ok(coder)
    }

    pub(crate) fn push(&mut self, sequence: Sequence) {
        self.sequences.push(ffi::ZSTD_Sequence {
            offset: sequence.offset,
            litLength: sequence.literals,
            matchLength: sequence.len,
            rep: 0,
        });
    }

    /// Codes are renewed here. `literals` is the number of bytes since the last sequence.
    pub(crate) fn end_block(&mut self, literals: u32) {
        self.push(Sequence { literals, offset: 0, len: 0 });
    }

    /// The frame of the sequences pushed, which are those of `data`. The last block has to be ended.
    pub(crate) fn finish(&mut self, data: &[u8]) -> io::Result<Vec<u8>> {
        let mut out: Vec<u8> = Vec::with_capacity(zstd::zstd_safe::compress_bound(data.len()));
        // SAFETY: every pointer is of a vector or a slice and goes with its own length; the context is ours alone.
        let len = unsafe {
            ffi::ZSTD_compressSequences(
                self.context.as_ptr(),
                out.as_mut_ptr().cast(),
                out.capacity(),
                self.sequences.as_ptr(),
                self.sequences.len(),
                data.as_ptr().cast(),
                data.len(),
            )
        };
        self.sequences.clear();
        let len = checked(len)?;
        // SAFETY: so many bytes were written.
        unsafe { out.set_len(len) };
        Ok(out)
    }
}

impl Drop for Coder {
    fn drop(&mut self) {
        // SAFETY: made by ZSTD_createCCtx, freed once.
        unsafe { ffi::ZSTD_freeCCtx(self.context.as_ptr()) };
    }
}

fn checked(result: usize) -> io::Result<usize> {
    // SAFETY: takes any number; the name is a string that is never freed.
    unsafe {
        match ffi::ZSTD_isError(result) {
            0 => Ok(result),
            _ => Err(io::Error::other(
                CStr::from_ptr(ffi::ZSTD_getErrorName(result)).to_string_lossy().into_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(sequences: &[Sequence], last: u32, data: &[u8]) -> io::Result<Vec<u8>> {
        let mut coder = Coder::new(ffi::ZSTD_strategy::ZSTD_lazy)?;
        sequences.iter().for_each(|s| coder.push(*s));
        coder.end_block(last);
        coder.finish(data)
    }

    #[test]
    fn wrong_sequences_are_errors() {
        let data = [b'a'; 100];
        let of = |literals, offset, len| Sequence { literals, offset, len };
        assert!(frame(&[of(10, 1, 80)], 10, &data).is_ok());
        for (sequence, last) in [
            (of(10, 91, 80), 10),
            (of(10, 1 << 20, 80), 10),
            (of(10, 1, 80), 11),
            (of(10, 1, 80), 1 << 20),
            (of(10, 1, 80), 9),
            (of(88, 1, 2), 10),
        ] {
            let result = frame(&[sequence], last, &data);
            assert!(result.is_err(), "{sequence:?} {last}");
        }
    }

    #[test]
    fn a_coder_goes_on_after_an_error() {
        let mut coder = Coder::new(ffi::ZSTD_strategy::ZSTD_lazy).unwrap();
        coder.push(Sequence { literals: 1, offset: 50, len: 9 });
        coder.end_block(0);
        assert!(coder.finish(&[1; 10]).is_err());
        coder.push(Sequence { literals: 1, offset: 1, len: 9 });
        coder.end_block(0);
        let packed = coder.finish(&[1; 10]).unwrap();
        assert_eq!(zstd::bulk::decompress(&packed, 10).unwrap(), [1; 10]);
    }
}
