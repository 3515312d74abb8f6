//! What the comment keeps of a row as data: what its table shows, and what decides which of two
//! runs is newer.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::memory::Memory;
use crate::report::{
    Guard, Outcome, Report, RunRef, body,
    plan::PlanCounts,
    run_context::{RunContext, Shared, Shown},
    verdict::{Risk, Verdict},
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) component: String,
    pub(super) environment: String,
    pub(super) version: String,
    pub(super) counts: Option<PlanCounts>,
    /// The changes in words, such as "1 to replace, 2 to add".
    #[serde(rename = "story")]
    pub(super) changes: String,
    pub(super) outcome: Outcome,
    pub(super) run: u64,
    pub(super) attempt: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) environment_url: Option<String>,
    pub(super) seconds: u64,
    /// When the row had this outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<Timestamp>,
    #[serde(default)]
    pub(super) context: RunContext,
    #[serde(default, skip_serializing_if = "Risk::is_none")]
    pub(super) risk: Risk,
    /// A deploy guard would refuse the plan.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_refused: bool,
    /// The plan was applied, completely or not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_applied: bool,
    /// None without changes, and in rows that an older cdflow wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) memory: Option<Memory>,
    /// How the plan differs from the last one of the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
    /// What happened in the environment after the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) outdated_by: Option<String>,
    /// The newest commit of the pull request, if the plan is for an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) newer_commit: Option<String>,
    /// The newest commit of the base branch, if it had another one when the run started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base_moved: Option<String>,
}

/// The hidden data of a comment.
#[derive(Serialize, Deserialize)]
pub(super) struct CommentHeader {
    pub(super) format: u32,
    pub(super) rows: Vec<Facts>,
}

impl Facts {
    /// Returns None if the report has no environment or version.
    pub(super) fn of(report: &Report) -> Option<Self> {
        let run = report.run.clone().unwrap_or_default();
        let plan = report.plan.as_ref();
        Some(Self {
            component: report.component.clone()?,
            environment: report.environment.clone()?,
            version: report.version.clone()?,
            counts: plan.map(|plan| plan.counts),
            changes: plan
                .map(|plan| body::change_summary(plan, report.outcome))
                .unwrap_or_default(),
            outcome: report.outcome,
            run: run.id,
            attempt: run.attempt,
            url: run.url,
            environment_url: report.environment_url.clone(),
            seconds: report.seconds,
            at: report.ended,
            context: report.context.clone(),
            risk: plan.map(Risk::of).unwrap_or_default(),
            is_refused: matches!(report.guard, Some(Guard::Refuses(_))),
            is_applied: plan.is_some_and(|plan| plan.was_applied(report.outcome)),
            memory: Memory::of(report),
            since: None,
            outdated_by: None,
            newer_commit: None,
            base_moved: None,
        })
    }

    /// Returns the facts of a run that only the ledger knows.
    pub(super) fn of_run(
        place: (&str, &str),
        version: &str,
        outcome: Outcome,
        run: &RunRef,
    ) -> Self {
        Self {
            component: place.0.to_owned(),
            environment: place.1.to_owned(),
            version: version.to_owned(),
            counts: None,
            changes: String::new(),
            outcome,
            run: run.id,
            attempt: run.attempt,
            url: run.url.clone(),
            environment_url: None,
            seconds: 0,
            at: None,
            context: RunContext::default(),
            risk: Risk::default(),
            is_refused: false,
            is_applied: false,
            memory: None,
            since: None,
            outdated_by: None,
            newer_commit: None,
            base_moved: None,
        }
    }

    /// Returns the facts as the run wrote them: without what other rows have added.
    pub(super) fn written(&self) -> Self {
        let memory = self.memory.clone().filter(|_| !self.changes.is_empty());
        Self {
            since: None,
            outdated_by: None,
            newer_commit: None,
            base_moved: None,
            memory,
            ..self.clone()
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        Verdict::of(self.outcome, self.counts.as_ref(), self.risk, self.is_refused)
    }

    /// Returns the lines about versions, account, commit and run.
    pub(super) fn context_lines(&self, shared: Shared) -> String {
        let shown = Shown {
            version: Some(&self.version),
            outcome: self.outcome,
            at: self.at,
            run_url: self.url.as_deref(),
            seconds: self.seconds,
        };
        self.context.lines(shown, shared)
    }

    /// Whether both rows plan, or planned, the same changes.
    pub(super) fn has_changes_of(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.memory, &other.memory);
        ours.as_ref()
            .zip(theirs.as_ref())
            .is_some_and(|(ours, theirs)| ours.digest == theirs.digest)
    }

    /// Keeps what the row that this one replaces knows of an earlier plan.
    pub(super) fn after(mut self, earlier: &Self) -> Self {
        let is_same_run = (self.run, self.attempt) == (earlier.run, earlier.attempt);
        if is_same_run {
            self.since.clone_from(&earlier.since);
        } else if self.outcome == Outcome::Planned && !earlier.outcome.is_past() {
            self.since = self
                .memory
                .as_ref()
                .zip(earlier.memory.as_ref())
                .and_then(|(ours, theirs)| ours.since(theirs, self.counts, earlier.counts));
        }
        // A run that failed before its plan must not hide the last one.
        let keeps = self.changes.is_empty() && !earlier.outcome.is_past();
        if keeps && self.memory.is_none() {
            self.memory.clone_from(&earlier.memory);
        }
        self
    }
}
