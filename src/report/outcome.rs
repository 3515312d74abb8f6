//! How a run ended, and which run of a CI system it was.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A run of a CI system. Id and attempt decide which of two runs is newer.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[schemars(rename = "run")]
pub(crate) struct RunRef {
    /// Its ID.
    pub(crate) id: u64,
    /// Its attempt.
    pub(crate) attempt: u64,
    /// Its URL. Null: it has none.
    pub(crate) url: Option<String>,
}

/// What a run did. The names are part of the JSON report and of the comment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "outcome")]
pub(crate) enum Outcome {
    /// The command has ended, and no other outcome applies.
    #[default]
    Done,
    Released,
    Planned,
    NoChanges,
    Deployed,
    Refreshed,
    Destroyed,
    /// The run has not ended yet.
    Applying,
    /// The ledger has a start of the run but no end, and the run cannot still be active.
    Unfinished,
    /// A newer run does the same: this one stopped before it applied anything.
    Superseded,
    Refused,
    Interrupted,
    Failed,
}

impl Outcome {
    /// Returns the outcome as people read it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Released => "released",
            Self::Planned => "planned",
            Self::NoChanges => "no changes",
            Self::Deployed => "deployed",
            Self::Refreshed => "refreshed",
            Self::Destroyed => "destroyed",
            Self::Applying => "applying",
            Self::Unfinished => "did not finish",
            Self::Superseded => "superseded",
            Self::Refused => "refused",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }

    /// Returns the outcome as an adjective after a number: "2 unchanged".
    pub(super) fn counted_word(self) -> &'static str {
        match self {
            Self::NoChanges => "unchanged",
            Self::Unfinished => "unfinished",
            other => other.word(),
        }
    }

    /// Returns the verb for the resources of a plan: they "will be" replaced, or "were".
    ///
    /// After a failure it is unknown what was changed: they "were to be" replaced.
    pub(super) fn plan_verb(self, count: usize) -> &'static str {
        match (self, count) {
            (Self::Done | Self::Planned | Self::NoChanges | Self::Applying, _) => "will be",
            (Self::Deployed | Self::Destroyed, 1) => "was",
            (Self::Deployed | Self::Destroyed, _) => "were",
            (_, 1) => "was to be",
            (_, _) => "were to be",
        }
    }

    pub(super) fn icon(self) -> &'static str {
        match self {
            Self::Done | Self::Released | Self::Deployed | Self::Refreshed => "✅",
            Self::Planned => "📝",
            Self::NoChanges => "⚪",
            Self::Destroyed => "🗑️",
            Self::Applying => "⏳",
            Self::Unfinished => "❓",
            Self::Superseded => "⏭️",
            Self::Refused => "⛔",
            Self::Interrupted => "⚠️",
            Self::Failed => "❌",
        }
    }

    /// Whether the plan was applied completely.
    pub(super) fn is_past(self) -> bool {
        matches!(self, Self::Deployed | Self::Destroyed)
    }
}
