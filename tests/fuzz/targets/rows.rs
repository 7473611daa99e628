//! See `src/rows.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| meridian_fuzz::rows::run(input));
