//! The verdict about a run: whether its plan can be merged without a second look.

use serde::{Deserialize, Serialize};

use super::{
    Outcome, PlanReport,
    markdown::{counted, grouped},
    plan::{PlanCounts, PlannedResource},
};
use crate::terraform::output::changes::ChangeAction;

/// What the counts of a plan do not show. It is part of the hidden data of the comment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Risk {
    /// Resources with data, such as databases, that are destroyed or replaced.
    pub(crate) stateful_lost: usize,
    /// Those of them that an apply has destroyed already, by its results.
    pub(crate) already_lost: usize,
    /// Resources with data that are changed in place.
    pub(crate) stateful_changed: usize,
    /// Changes that might weaken security, such as public access.
    pub(crate) security: usize,
}

/// In order of severity: what blocks comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// A run failed, or a deploy would be refused.
    Blocked,
    /// A run is still applying.
    Waiting,
    /// The plan destroys, replaces or forgets something, or has a [`Risk`].
    Review,
    /// The plan only adds and changes in place.
    Safe,
    /// The run ended, and its outcome says how.
    Done,
    Unchanged,
}

impl Risk {
    /// Returns what the plan puts at risk.
    ///
    /// The only place that makes a `Risk`: count here what the resources of the plan say about data
    /// and security. Any number above 0 makes the verdict "review", and is named with it.
    pub(super) fn of(plan: &PlanReport) -> Self {
        let stateful = |is_it: fn(&PlannedResource) -> bool| {
            plan.resources.iter().filter(|it| it.stateful.is_some() && is_it(it)).count()
        };
        Self {
            stateful_lost: stateful(PlannedResource::is_lost),
            already_lost: stateful(|it| it.result.is_some() && it.is_lost()),
            stateful_changed: stateful(|it| it.action == ChangeAction::Update),
            security: plan.resources.iter().filter(|it| !it.security.is_empty()).count(),
        }
    }

    pub(super) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the risks in words, such as "data loss in 2 resources"; empty without any.
    pub(super) fn words(self) -> String {
        let number =
            |count: usize, what: &str| (count > 0).then(|| format!("{} {what}", grouped(count)));
        let lost =
            |count| (count > 0).then(|| format!("data loss in {}", counted(count, "resource")));
        let security = (self.security > 0).then(|| counted(self.security, "security warning"));
        let parts = [
            lost(self.stateful_lost),
            number(self.stateful_changed, "with data changed in place"),
            security,
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

impl Verdict {
    /// `is_refused`: a deploy guard would refuse the plan.
    pub(super) fn of(
        outcome: Outcome,
        counts: Option<&PlanCounts>,
        risk: Risk,
        is_refused: bool,
    ) -> Self {
        let is_loss = |it: &PlanCounts| it.destroy > 0 || it.replace > 0 || it.forget > 0;
        match outcome {
            Outcome::Failed | Outcome::Interrupted | Outcome::Unfinished | Outcome::Refused => {
                Self::Blocked
            }
            Outcome::Applying => Self::Waiting,
            Outcome::Planned if is_refused => Self::Blocked,
            Outcome::Planned if counts.is_some_and(is_loss) || !risk.is_none() => Self::Review,
            Outcome::Planned => Self::Safe,
            Outcome::NoChanges => Self::Unchanged,
            Outcome::Done
            | Outcome::Released
            | Outcome::Deployed
            | Outcome::Refreshed
            | Outcome::Destroyed
            | Outcome::Superseded => Self::Done,
        }
    }

    /// Returns the word for tables and headings. None if the outcome says it.
    pub(super) fn word(self) -> Option<&'static str> {
        match self {
            Self::Blocked => Some("blocked"),
            Self::Waiting => Some("waiting"),
            Self::Review => Some("review"),
            Self::Safe => Some("safe"),
            Self::Done | Self::Unchanged => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_additions_and_changes_in_place_are_safe() {
        let of =
            |counts: PlanCounts, risk| Verdict::of(Outcome::Planned, Some(&counts), risk, false);
        let none = PlanCounts::default();
        let harmless = PlanCounts { add: 2, change: 1, import: 1, moved: 1, ..none };
        assert_eq!(of(harmless, Risk::default()), Verdict::Safe);
        for counts in [
            PlanCounts { destroy: 1, ..harmless },
            PlanCounts { destroy: 1, replace: 1, ..harmless },
            PlanCounts { forget: 1, ..harmless },
        ] {
            assert_eq!(of(counts, Risk::default()), Verdict::Review, "{counts:?}");
        }
        for risk in [
            Risk { stateful_lost: 1, ..Risk::default() },
            Risk { stateful_changed: 1, ..Risk::default() },
            Risk { security: 1, ..Risk::default() },
        ] {
            assert_eq!(of(harmless, risk), Verdict::Review, "{risk:?}");
        }
        let refused = Verdict::of(Outcome::Planned, Some(&harmless), Risk::default(), true);
        assert_eq!(refused, Verdict::Blocked);
    }

    #[test]
    fn risks_are_named() {
        assert_eq!(Risk::default().words(), "");
        let risk = Risk { stateful_lost: 1, security: 2, ..Risk::default() };
        assert_eq!(risk.words(), "data loss in 1 resource, 2 security warnings");
    }
}
