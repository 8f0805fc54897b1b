//! See `fuzz::tar`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::tar(data));
