//! What the fuzz targets in `fuzz/` call. Each function gives hostile bytes to a real parser and
//! asserts what must hold for any bytes. Compiled only by `cargo fuzz`.

#![allow(clippy::expect_used, reason = "a fuzz target reports a defect by a panic")]

mod bundles;
mod code_owners;
mod comments;
mod configuration;
mod ledgers;
mod runner;
mod secrets;
mod states;
mod terraform;

use std::borrow::Cow;

pub use self::{
    bundles::{bundle, release_json},
    code_owners::code_owners,
    comments::{comment, comment_command, plan},
    configuration::{component, constraint, scheme},
    ledgers::ledger,
    runner::{commands, event, outputs},
    secrets::{credstash, redact},
    states::state,
    terraform::{hcl, terraform_output},
};
use crate::base::error::{Error, Exit};

/// Separates the parts of an input.
const SEPARATOR: char = '\0';

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Returns the two parts of an input; the second can be empty.
fn halves(text: &str) -> (&str, &str) {
    text.split_once(SEPARATOR).unwrap_or((text, ""))
}

/// Asserts what holds for every error about hostile input: it is the input's fault, and its text
/// cannot control a terminal.
fn check_error(error: &Error) {
    assert_ne!(error.exit(), Exit::Internal, "{error}");
    let control = error.to_string().chars().find(|c| c.is_control() && !"\n\t".contains(*c));
    assert_eq!(control, None, "{:?}", error.to_string());
}
