//! Fuzzes the filter of secrets.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdflow::fuzzing::redact(bytes));
