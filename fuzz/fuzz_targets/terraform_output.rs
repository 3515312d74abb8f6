//! Fuzzes what Terraform prints.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cdflow::fuzzing::terraform_output(bytes));
