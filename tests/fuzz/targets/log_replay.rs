//! See `src/log_replay.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| meridian_fuzz::log_replay::run(input));
