//! Ledger entries as text and JSON, for `status` and `history`.

use serde_json::{Value, json};

use super::entry::Entry;

/// Returns a run as `status --json` has it.
pub(crate) fn as_json(entry: &Entry) -> Value {
    let Entry { start, end } = entry;
    let end = end.as_ref();
    json!({
        "number": start.number,
        "action": start.action,
        "version": start.version,
        "targets": start.targets,
        "bundle_digest": start.bundle_digest,
        "actor": start.actor,
        "run_url": start.run_url,
        "started": start.started,
        "plan": start.plan,
        "outcome": end.map(|end| end.outcome),
        "finished": end.map(|end| end.finished),
    })
}

/// Returns the version; `(in part)` marks a run with targets.
pub(crate) fn version(entry: &Entry) -> String {
    let partly = if entry.start.targets.is_empty() { "" } else { " (in part)" };
    format!("{}{partly}", entry.start.version)
}

/// Returns when the run ended, or else when it started, in UTC.
pub(crate) fn when(entry: &Entry) -> String {
    let time = entry.end.as_ref().map_or(entry.start.started, |end| end.finished);
    time.strftime("%Y-%m-%d %H:%MZ").to_string()
}

/// Returns who started the run, and its URL.
pub(crate) fn by(entry: &Entry) -> String {
    match (&entry.start.actor, &entry.start.run_url) {
        (Some(actor), Some(url)) => format!("{actor} {url}"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => String::new(),
    }
}
