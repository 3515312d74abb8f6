//! Fuzzes the JSON and the text of a plan, up to the comment.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdflow::fuzzing::plan(bytes));
