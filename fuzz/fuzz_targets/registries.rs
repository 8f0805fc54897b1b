//! See `fuzz::registries`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::registries(data));
