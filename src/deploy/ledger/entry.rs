//! The entries of a ledger, and what they mean for an environment.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::{
        digest::Sha256,
        error::{Error, Result},
        redact::Secret,
    },
    config::{
        names::{Environment, Version},
        preview::PreviewOf,
    },
    terraform::output::{changes::Counts, unknown::UnknownChange},
};

/// The format that this cdflow writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;

/// A run starts to change an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) format: u32,
    /// 1, 2, 3, … within the environment.
    pub(crate) number: u64,
    /// The environment of the ledger. Entries of an older cdflow do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) environment: Option<Environment>,
    pub(crate) action: Action,
    /// Whether the deploy was a rollback. Entries of an older cdflow do not say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) rollback: bool,
    /// The addresses that the run was limited to; empty for the whole component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) targets: Vec<String>,
    /// The addresses that were destroyed although a deploy guard protects them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) allowed_destroy: Vec<String>,
    /// What overrode the deploy guard: `--allow-destroy` or the label of a pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) allowed_by: Option<String>,
    /// The review of what was applied, of a deploy with `--reviewed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reviewed: Option<Reviewed>,
    pub(crate) version: Version,
    /// The commit of the release. None if an older cdflow wrote the entry, or it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<String>,
    /// The pull request whose preview the environment is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) preview: Option<PreviewOf>,
    /// The pull request that the run was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pull_request: Option<ForPullRequest>,
    /// `None` for a bundle of the original cdflow.
    pub(crate) bundle_digest: Option<Sha256>,
    /// The account ID; `None` for a local account scheme.
    pub(crate) account: Option<String>,
    pub(crate) region: String,
    pub(crate) plan: Counts,
    /// Name and version of the tool.
    pub(crate) terraform: String,
    pub(crate) cdflow: String,
    pub(crate) actor: Option<String>,
    pub(crate) run_url: Option<String>,
    pub(crate) started: Timestamp,
    /// Random, so that a run recognises its own entry if the answer to the write is lost.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) token: String,
}

/// The pull request on GitHub whose comment shows the run, and the run's identity there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ForPullRequest {
    /// GitHub's ID of the repository: unlike the name, it never passes to another repository.
    pub(crate) repository: u64,
    pub(crate) number: u64,
    /// The ID of the workflow run. Newer runs have higher IDs.
    pub(crate) run: u64,
    /// 1 for the first attempt of the run.
    pub(crate) attempt: u64,
}

/// The pull request that showed what a run applied, and who approved it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reviewed {
    pub(crate) pull_request: u64,
    pub(crate) approved_by: Vec<String>,
    /// The stored plan that was applied. None: a new one that does the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<AppliedPlan>,
}

/// A plan that a pull request had stored, of the release that it had made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppliedPlan {
    pub(crate) version: Version,
    pub(crate) commit: Option<String>,
    /// Of the encrypted file.
    pub(crate) sha256: Sha256,
}

/// A run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) format: u32,
    pub(crate) number: u64,
    pub(crate) outcome: Outcome,
    /// The serial of the state; `None` if it was never written.
    pub(crate) state_serial: Option<u64>,
    pub(crate) state_lineage: Option<String>,
    /// The run changed resources, and neither Terraform nor cdflow could save the state.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) state_not_saved: bool,
    /// Why the run did not succeed. Secrets are masked.
    pub(crate) reason: Option<String>,
    /// The changes of which no answer says whether they were made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) unknown_changes: Vec<UnknownChange>,
    /// The number of unknown changes for which the entry had no room.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) unknown_changes_left_out: usize,
    pub(crate) finished: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// What a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Action {
    Deploy,
    Destroy,
    /// Updated the state; the deployed version stayed the same.
    Refresh,
    /// An action of a newer cdflow.
    #[serde(other)]
    Other,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Outcome {
    Succeeded,
    Failed,
    Interrupted,
}

/// A run. Without an end it is in progress or died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) start: Start,
    pub(crate) end: Option<End>,
}

/// The recent runs of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The newest successful deploy or destroy.
    pub(crate) settled: Option<Entry>,
    /// The later runs that failed, were interrupted or are unfinished, newest first.
    pub(crate) unsettled: Vec<Entry>,
}

/// What the ledger knows about the state of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastState {
    /// The number of the run.
    pub(crate) run: u64,
    /// None if no state was written then.
    pub(crate) serial: Option<u64>,
    pub(crate) lineage: Option<String>,
    /// The error of a run that could not save its state.
    pub(crate) not_saved: Option<String>,
}

impl Start {
    /// Returns a new token.
    pub(crate) fn new_token() -> Result<String> {
        let random = Secret::random().map_err(|error| {
            Error::internal("failed to get random bytes for a ledger entry").why(error)
        })?;
        Ok(random.expose().to_owned())
    }

    /// The number of an entry before the ledger assigns one.
    pub(crate) const UNNUMBERED: u64 = 0;
    pub(crate) const FORMAT: u32 = FORMAT;
}

impl Record {
    /// Returns the deployed release: the last successful deploy, unless it was destroyed since. If
    /// there is none, returns the last attempt, which might have created resources.
    pub(crate) fn deployed(&self) -> Option<&Start> {
        match &self.settled {
            Some(entry) if entry.start.action == Action::Deploy => Some(&entry.start),
            _ => self
                .unsettled
                .iter()
                .map(|entry| &entry.start)
                .find(|start| start.action == Action::Deploy),
        }
    }

    /// Returns the last successful deploy, unless it was destroyed since.
    pub(crate) fn running(&self) -> Option<&Start> {
        let settled = self.settled.as_ref().map(|entry| &entry.start);
        settled.filter(|start| start.action == Action::Deploy)
    }

    /// Returns the run that proves that the environment has a state; None if it might have none.
    ///
    /// The start of a run does not prove it: its apply might have been refused or still be
    /// running.
    /// A destroy whose end is not recorded might have removed the state.
    pub(crate) fn with_state(&self) -> Option<&Start> {
        for entry in self.unsettled.iter().chain(&self.settled) {
            match &entry.end {
                None if entry.start.action == Action::Destroy => return None,
                None => {}
                Some(_) if self.is_destroyed_by(entry) => return None,
                Some(end) if self.is_from_before_destroy(end) => {}
                Some(end) => {
                    let has_resources =
                        end.outcome == Outcome::Succeeded && entry.start.plan != Counts::default();
                    if end.state_serial.is_some() || has_resources {
                        return Some(&entry.start);
                    }
                }
            }
        }
        None
    }

    /// Returns the newest run whose end says something about the state; None if there is none since
    /// the environment was destroyed.
    pub(crate) fn last_state(&self) -> Option<LastState> {
        for entry in self.unsettled.iter().chain(&self.settled) {
            let Some(end) = &entry.end else {
                // A destroy whose end is not recorded might have removed the state.
                if entry.start.action == Action::Destroy {
                    return None;
                }
                continue;
            };
            if self.is_destroyed_by(entry) {
                return None;
            }
            if self.is_from_before_destroy(end) {
                continue;
            }
            if end.state_not_saved || end.state_serial.is_some() {
                return Some(LastState {
                    run: end.number,
                    serial: end.state_serial,
                    lineage: end.state_lineage.clone(),
                    not_saved: end.reason.clone().filter(|_| end.state_not_saved),
                });
            }
        }
        None
    }

    /// Returns the newest run if its end is not recorded: it is in progress, or it died.
    pub(crate) fn unfinished(&self) -> Option<&Start> {
        self.unsettled.first().filter(|entry| entry.end.is_none()).map(|entry| &entry.start)
    }

    /// Returns what the runs since the last successful one left unknown, with their numbers.
    pub(crate) fn unknown_changes(&self) -> Vec<(u64, UnknownChange)> {
        let ends = self.unsettled.iter().filter_map(|entry| entry.end.as_ref());
        let of_run = |end: &End| {
            let number = end.number;
            end.unknown_changes.clone().into_iter().map(move |change| (number, change))
        };
        ends.flat_map(of_run).collect()
    }

    /// Returns the runs whose ends had no room for all of their unknown changes, and how many are
    /// left out there.
    pub(crate) fn left_out(&self) -> Vec<(u64, usize)> {
        let ends = self.unsettled.iter().filter_map(|entry| entry.end.as_ref());
        let of_run = |end: &End| (end.number, end.unknown_changes_left_out);
        ends.map(of_run).filter(|(_, left_out)| *left_out > 0).collect()
    }

    /// Whether a deploy was begun since the environment was last destroyed.
    pub(crate) fn is_begun(&self) -> bool {
        self.deployed().is_some()
    }

    /// Whether a run saw a state that a destroy has removed since. It began after that destroy, and
    /// failed at the same time.
    fn is_from_before_destroy(&self, end: &End) -> bool {
        let destroyed = self.settled.as_ref().filter(|_| self.is_destroyed());
        let Some(last) = destroyed.and_then(|entry| entry.end.as_ref()) else { return false };
        !end.state_not_saved
            && end.outcome != Outcome::Succeeded
            && end.state_lineage.is_some()
            && end.state_lineage == last.state_lineage
            && end.state_serial <= last.state_serial
    }

    fn is_destroyed_by(&self, entry: &Entry) -> bool {
        self.is_destroyed() && self.settled.as_ref() == Some(entry)
    }

    /// Returns the deploys that are in progress, and the successful one unless it was destroyed.
    pub(crate) fn live(self) -> Vec<Entry> {
        let settled = self.settled.into_iter();
        settled
            .chain(self.unsettled.into_iter().filter(|entry| entry.end.is_none()))
            .filter(|entry| entry.start.action == Action::Deploy)
            .collect()
    }

    /// Returns the addresses that the last successful run and all later runs were allowed to
    /// destroy.
    pub(crate) fn allowed_before(&self) -> impl Iterator<Item = &String> {
        self.unsettled.iter().chain(&self.settled).flat_map(|entry| &entry.start.allowed_destroy)
    }

    /// Returns the number of the newest entry in this record; 0 if it is empty.
    pub(crate) fn newest(&self) -> u64 {
        self.unsettled
            .iter()
            .chain(&self.settled)
            .map(|entry| entry.start.number)
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn is_destroyed(&self) -> bool {
        self.settled.as_ref().is_some_and(|entry| entry.start.action == Action::Destroy)
    }

    /// Returns whether the newest successful run was a deploy.
    pub(crate) fn is_deployed(&self) -> bool {
        self.settled.as_ref().is_some_and(|entry| entry.start.action == Action::Deploy)
    }
}
