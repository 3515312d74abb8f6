//! A state, as it is stored.

use serde_json::Value;

use super::{check_error, halves, text};
use crate::terraform::state::{
    stored::{self, Stored},
    summary::StateSummary,
};

/// A state and an address that is looked up in it. No sensitive output is shown, and its value is
/// registered as a secret.
pub fn state(bytes: &[u8]) {
    let text = text(bytes);
    let (json, address) = halves(&text);
    let file = match stored::parse("`state`", json.as_bytes().to_vec()) {
        Ok(Stored::Readable(file)) => file,
        Ok(_) => return,
        Err(error) => return check_error(&error),
    };
    check_summary(&file.summary, json);
    let _ = file.summary.has(address);
}

fn check_summary(state: &StateSummary, json: &str) {
    assert!(!state.lineage.is_empty());
    assert!(state.addresses.iter().all(|address| state.has(address)));
    assert!(!state.is_pristine() || state.is_empty());
    assert!(state.sensitive_outputs.iter().all(|name| !state.outputs.contains_key(name)));
    // It rejects some numbers that the parser of states ignores.
    let Ok(raw) = serde_json::from_str::<Value>(json) else { return };
    let count = raw["outputs"].as_object().map_or(0, |outputs| outputs.len());
    assert_eq!(state.outputs.len() + state.sensitive_outputs.len(), count);
    let is_secret = |name: &str| raw["outputs"][name]["sensitive"] == true;
    assert!(!state.outputs.keys().any(|name| is_secret(name)));
    for name in &state.sensitive_outputs {
        if let Some(value) = raw["outputs"][name]["value"].as_str() {
            assert!(state.sensitive.iter().any(|it| it.expose() == value), "{name}");
        }
    }
}
