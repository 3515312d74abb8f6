//! A run as the ledger knows it: a row without a plan, for a comment that has lost the row or never got it.

use jiff::Timestamp;

use super::{
    Outcome, RunRef,
    markdown::{link, words},
    plan::PlanCounts,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PastRun {
    pub(crate) environment: String,
    pub(crate) version: String,
    pub(crate) outcome: Outcome,
    /// Of the plan that was applied.
    pub(crate) counts: PlanCounts,
    pub(crate) run: RunRef,
    pub(crate) started: Timestamp,
    /// None: that is not known.
    pub(crate) ended: Option<Timestamp>,
}

impl PastRun {
    pub(super) fn seconds(&self) -> u64 {
        let took = self.ended.map(|ended| ended.duration_since(self.started).as_secs());
        took.and_then(|seconds| seconds.try_into().ok()).unwrap_or_default()
    }

    /// What nobody may miss. Why it failed is not told here: nobody has judged whether it may stand in public.
    pub(super) fn alert(&self, component: &str) -> String {
        let place = format!("{} → {}", words(component), words(&self.environment));
        let (kind, what) = match self.outcome {
            Outcome::Failed => ("CAUTION", format!("why is in {}", self.log())),
            Outcome::Interrupted => ("WARNING", format!("how far it came is in {}", self.log())),
            Outcome::Unfinished => (
                "WARNING",
                format!(
                    "it began to apply at {}, and the ledger has no end of it. It died, or is still at work: {} tells",
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
            "How it went is told by the ledger: all that the run said is in {}.\n\n<sub>began {}{ended}</sub>",
            self.log(),
            time(self.started)
        )
    }

    fn log(&self) -> String {
        link("the log of its run", self.run.url.as_deref())
    }
}

/// A time as people read it; GitHub shows no others.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
