//! A run as the ledger records it: a row without a plan, for a comment in which the row is missing.

use jiff::Timestamp;

use super::{
    Outcome, RunRef,
    markdown::{link, time, words},
    plan::PlanCounts,
    run_context::RunContext,
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
    pub(crate) context: RunContext,
}

/// The newest run of the ledger that began to change an environment, for any pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastStart {
    pub(crate) environment: String,
    pub(crate) version: String,
    pub(crate) is_destroy: bool,
    pub(crate) started: Timestamp,
    /// The serial of the environment's state when the ledger was read. None if it is unknown.
    pub(crate) state_serial: Option<u64>,
}

impl LastStart {
    /// Returns what happened after a plan, as plain text. None if nothing is known to have changed.
    /// `at` is when the plan was made, from the state with the serial `planned`.
    pub(super) fn since(&self, at: Option<Timestamp>, planned: Option<u64>) -> Option<String> {
        if at.is_some_and(|at| self.started > at) {
            let what = if self.is_destroy { "a destroy of" } else { "a deploy of" };
            let began = time(self.started);
            return Some(format!("{what} {} began at {began}, after this plan", self.version));
        }
        let (now, planned) = self.state_serial.zip(planned)?;
        (now != planned).then(|| {
            format!("the state has serial {now} now, and this plan started from serial {planned}")
        })
    }
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
