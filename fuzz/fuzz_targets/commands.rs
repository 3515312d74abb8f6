//! Fuzzes the commands to the runner and everything else that is printed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdflow::fuzzing::commands(bytes));
