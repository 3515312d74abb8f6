//! Ledger entries as text and JSON, for `status` and `history`.

use serde_json::{Value, json};

use super::entry::{Action, Entry, Start};
use crate::base::printable;

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
        "unknown_changes": end.map(|end| &end.unknown_changes),
    })
}

/// Returns "run 3 (deploy of 1 by ada https://…, started 2026-11-20 10:00Z)".
pub(crate) fn run(start: &Start) -> String {
    let action = match start.action {
        Action::Deploy => format!("deploy of {}", start.version),
        Action::Destroy => "destroy".to_owned(),
        Action::Refresh => "refresh".to_owned(),
        Action::Other => "action of a newer cdflow".to_owned(),
    };
    let by = match (&start.actor, &start.run_url) {
        (Some(actor), Some(url)) => format!(" by {actor} {url}"),
        (Some(one), None) | (None, Some(one)) => format!(" by {one}"),
        (None, None) => String::new(),
    };
    let time = start.started.strftime("%Y-%m-%d %H:%MZ");
    printable::line(&format!("run {} ({action}{by}, started {time})", start.number))
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
