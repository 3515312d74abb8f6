//! Fuzzes a state.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdflow::fuzzing::state(bytes));
