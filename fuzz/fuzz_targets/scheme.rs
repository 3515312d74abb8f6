//! Fuzzes the account scheme.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdflow::fuzzing::scheme(bytes));
