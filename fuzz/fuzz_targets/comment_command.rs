//! Fuzzes the commands in comments.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdflow::fuzzing::comment_command(bytes));
