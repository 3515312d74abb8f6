//! Fuzzes release.json and manifest.json.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdflow::fuzzing::release_json(bytes));
