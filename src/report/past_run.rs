//! A run as the ledger records it: a row without a plan, for a comment in which the row is missing.

use jiff::Timestamp;

use super::{
    Outcome, RunRef,
    markdown::{link, words},
    plan::PlanCounts,
};

/// An earlier run for the same pull request, in one environment of the component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PastRun {
    pub(crate) environment: String,
    pub(crate) version: String,
    pub(crate) outcome: Outcome,
    /// The counts of the plan that was applied.
    pub(crate) counts: PlanCounts,
    pub(crate) run: RunRef,
    pub(crate) started: Timestamp,
    /// None if the ledger has no end of the run.
    pub(crate) ended: Option<Timestamp>,
}

impl PastRun {
    /// Returns how long the run took, or 0 if its end is unknown.
    pub(super) fn seconds(&self) -> u64 {
        let took = self.ended.map(|ended| ended.duration_since(self.started).as_secs());
        took.and_then(|seconds| seconds.try_into().ok()).unwrap_or_default()
    }

    /// Returns an alert if the run did not succeed.
    ///
    /// The reason is left to the log: the recorded error was not written for a public comment.
    pub(super) fn alert(&self, component: &str) -> String {
        let place = format!("{} → {}", words(component), words(&self.environment));
        let (kind, what) = match self.outcome {
            Outcome::Failed => ("CAUTION", format!("for the reason, see {}", self.log())),
            Outcome::Interrupted => ("WARNING", format!("for how far it got, see {}", self.log())),
            Outcome::Unfinished => (
                "WARNING",
                format!(
                    "apply started at {}, and the ledger has no result. \
                     The run crashed or is still running: see {}",
                    time(self.started),
                    self.log()
                ),
            ),
            _ => return String::new(),
        };
        format!("> [!{kind}]\n> {place}: **{}**: {what}.", self.outcome.word())
    }

    pub(super) fn body(&self) -> String {
        let ended = self.ended.map(|ended| format!(" · ended {}", time(ended))).unwrap_or_default();
        format!(
            "Restored from the ledger. For details, see {}.\n\n<sub>started {}{ended}</sub>",
            self.log(),
            time(self.started)
        )
    }

    fn log(&self) -> String {
        link("the run log", self.run.url.as_deref())
    }
}

/// Formats a time in UTC, to the minute: GitHub cannot show a comment in the reader's time zone.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
