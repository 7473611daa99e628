//! See `src/sql.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| meridian_fuzz::sql::run(input));
