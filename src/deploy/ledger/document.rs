//! Ledger entries as JSON, for `status` and `history`.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::entry::{Action, Entry, Outcome};
use crate::{
    base::digest::Sha256,
    config::names::Version,
    terraform::output::{changes::Counts, unknown::UnknownChange},
};

/// A run, as the ledger records it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "run")]
pub(crate) struct RunDocument<'a> {
    /// The number of the ledger entry.
    #[schemars(range(min = 1))]
    number: u64,
    /// What was run.
    action: Action,
    /// Whether the deploy was a rollback. Runs of an older cdflow do not say so.
    rollback: bool,
    /// The version.
    version: &'a Version,
    /// The addresses of `--target`.
    targets: &'a [String],
    /// The bundle digest of the release. Null: the bundle is one of the original cdflow.
    bundle_digest: Option<Sha256>,
    /// Who started it. Null: unknown.
    actor: Option<&'a str>,
    /// The page of the run in the CI. Null: it has none.
    run_url: Option<&'a str>,
    /// When it started, in UTC.
    started: Timestamp,
    /// The counts of the plan.
    plan: Counts,
    /// How it ended. Null: it is unfinished.
    outcome: Option<Outcome>,
    /// When it ended, in UTC. Null: it is unfinished.
    finished: Option<Timestamp>,
    /// Changes that might have been made. Null: the run is unfinished.
    unknown_changes: Option<&'a [UnknownChange]>,
    /// The number of further changes that might have been made, for which the entry has no room.
    /// Null: the run is unfinished.
    unknown_changes_left_out: Option<usize>,
}

impl<'a> RunDocument<'a> {
    pub(crate) fn of(entry: &'a Entry) -> Self {
        let Entry { start, end } = entry;
        let end = end.as_ref();
        Self {
            number: start.number,
            action: start.action,
            rollback: start.rollback,
            version: &start.version,
            targets: &start.targets,
            bundle_digest: start.bundle_digest,
            actor: start.actor.as_deref(),
            run_url: start.run_url.as_deref(),
            started: start.started,
            plan: start.plan,
            outcome: end.map(|end| end.outcome),
            finished: end.map(|end| end.finished),
            unknown_changes: end.map(|end| end.unknown_changes.as_slice()),
            unknown_changes_left_out: end.map(|end| end.unknown_changes_left_out),
        }
    }
}
