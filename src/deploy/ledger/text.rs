//! A run of the ledger as people and programs read it: what `status` and `history` share.

use serde_json::{Value, json};

use super::entry::Entry;

pub(crate) fn as_json(entry: &Entry) -> Value {
    let Entry { start, end } = entry;
    let end = end.as_ref();
    json!({
        "number": start.number, "action": start.action, "version": start.version, "targets": start.targets,
        "bundle_digest": start.bundle_digest, "actor": start.actor, "run_url": start.run_url,
        "started": start.started, "plan": start.plan,
        "outcome": end.map(|end| end.outcome), "finished": end.map(|end| end.finished),
    })
}

pub(crate) fn version(entry: &Entry) -> String {
    let partly = if entry.start.targets.is_empty() { "" } else { " (in part)" };
    format!("{}{partly}", entry.start.version)
}

/// Its end, or if there is none its start.
pub(crate) fn when(entry: &Entry) -> String {
    let time = entry.end.as_ref().map_or(entry.start.started, |end| end.finished);
    time.strftime("%Y-%m-%d %H:%MZ").to_string()
}

pub(crate) fn by(entry: &Entry) -> String {
    match (&entry.start.actor, &entry.start.run_url) {
        (Some(actor), Some(url)) => format!("{actor} {url}"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => String::new(),
    }
}
