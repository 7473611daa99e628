//! See `src/rpc.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| meridian_fuzz::rpc::run(input));
