//! Fuzzes the entries of a ledger and its holds.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdflow::fuzzing::ledger(bytes));
