//! Fuzzes the pull request comment as somebody edited it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdflow::fuzzing::comment(bytes));
