//! Fuzzes cdflow.yml.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdflow::fuzzing::component(bytes));
