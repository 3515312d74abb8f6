//! Fuzzes CODEOWNERS.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdflow::fuzzing::code_owners(bytes));
