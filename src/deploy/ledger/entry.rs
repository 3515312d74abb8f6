//! The entries of a ledger, and what they say about an environment.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    base::digest::Sha256,
    config::{names::Version, preview::PreviewOf},
    terraform::output::changes::Counts,
};

pub(super) const FORMAT: u32 = 1;

/// A run begins to change an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Start {
    pub(crate) format: u32,
    /// 1, 2, 3, … within the environment.
    pub(crate) number: u64,
    pub(crate) action: Action,
    /// What the run was limited to; empty: it was for all of the component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) targets: Vec<String>,
    /// What was destroyed although it is protected or beyond the limit, because somebody allowed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) allowed_destroy: Vec<String>,
    /// By what: `--allow-destroy`, the label of a pull request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) allowed_by: Option<String>,
    pub(crate) version: Version,
    /// Of which pull request the environment is a preview.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) preview: Option<PreviewOf>,
    /// For which pull request the run was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pull_request: Option<ForPullRequest>,
    /// None for a bundle of the reference program.
    pub(crate) bundle_digest: Option<Sha256>,
    pub(crate) account: Option<String>,
    pub(crate) region: String,
    pub(crate) plan: Counts,
    pub(crate) terraform: String,
    pub(crate) cdflow: String,
    pub(crate) actor: Option<String>,
    pub(crate) run_url: Option<String>,
    pub(crate) started: Timestamp,
}

/// A run for a pull request of GitHub's, whose comment shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ForPullRequest {
    /// GitHub's number of the repository; a name can be given to another one.
    pub(crate) repository: u64,
    pub(crate) number: u64,
    /// Of two runs the one with the higher number is the newer; of one run the later attempt.
    pub(crate) run: u64,
    pub(crate) attempt: u64,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) format: u32,
    pub(crate) number: u64,
    pub(crate) outcome: Outcome,
    pub(crate) state_serial: Option<u64>,
    pub(crate) state_lineage: Option<String>,
    /// Why, if it did not succeed. Masked.
    pub(crate) reason: Option<String>,
    pub(crate) finished: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    Deploy,
    Destroy,
    /// The state was brought up to date; what is deployed stayed the same.
    Refresh,
    /// Of a newer cdflow.
    #[serde(other)]
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Succeeded,
    Failed,
    Interrupted,
}

/// A run, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) start: Start,
    pub(crate) end: Option<End>,
}

/// The recent past of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The newest deploy or destroy that succeeded.
    pub(crate) settled: Option<Entry>,
    /// The runs after it, newest first: failed, interrupted, unfinished.
    pub(crate) unsettled: Vec<Entry>,
}

impl Start {
    /// Everything but the number, which the ledger gives.
    pub(crate) const UNNUMBERED: u64 = 0;
    pub(crate) const FORMAT: u32 = FORMAT;
}

impl Record {
    /// The release that stands there: the last that was deployed with success and not destroyed since; if there is none, the
    /// last whose deploy was tried, because it may have made resources.
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

    /// What runs since the last one that succeeded, and that one, were allowed to destroy.
    pub(crate) fn allowed_before(&self) -> impl Iterator<Item = &String> {
        self.unsettled.iter().chain(&self.settled).flat_map(|entry| &entry.start.allowed_destroy)
    }

    /// The number of the newest deploy or destroy; 0 where there was none.
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

    /// Whether the newest run that succeeded left something there.
    pub(crate) fn is_deployed(&self) -> bool {
        self.settled.as_ref().is_some_and(|entry| entry.start.action == Action::Deploy)
    }
}
