//! Fuzzes the rows of credstash.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdflow::fuzzing::credstash(bytes));
