//! Fuzzes GitHub's event file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdflow::fuzzing::event(bytes));
