//! How a run ended, and which run of a CI system it was.

use serde::{Deserialize, Serialize};

/// A run of a CI system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunRef {
    pub(crate) id: u64,
    pub(crate) attempt: u64,
    pub(crate) url: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// The command has come to its end and has nothing more to say.
    #[default]
    Done,
    Released,
    Planned,
    NoChanges,
    Deployed,
    Refreshed,
    Destroyed,
    /// Not the end yet.
    Applying,
    /// The ledger knows of its beginning alone, and it is no run that could still tell more.
    Unfinished,
    /// A newer run is for the same: this one stopped before it applied anything.
    Superseded,
    Refused,
    Interrupted,
    Failed,
}

impl Outcome {
    /// As people read it.
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

    /// The plan is no longer a plan.
    pub(super) fn is_past(self) -> bool {
        matches!(self, Self::Deployed | Self::Destroyed)
    }
}
