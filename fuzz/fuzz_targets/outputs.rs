//! Fuzzes the files of a step's outputs, state and summary.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdflow::fuzzing::outputs(bytes));
