//! Fuzzes version constraints.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdflow::fuzzing::constraint(bytes));
