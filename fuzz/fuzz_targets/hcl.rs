//! Fuzzes Terraform's code and lock file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdflow::fuzzing::hcl(bytes));
