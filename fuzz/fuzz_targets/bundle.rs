//! Fuzzes the reader of bundles.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdflow::fuzzing::bundle(bytes));
