//! The surroundings of a run: environment, log, cancellation, CI and the rate of writes to GitHub.

use std::sync::Arc;

use super::run::{GitHubRun, Run};
use crate::base::{
    interrupt::Interrupt, log::Log, pace::Pace, process_env::ProcessEnv, question, run_as::RunAs,
};

#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) environment: ProcessEnv,
    pub(crate) log: Log,
    pub(crate) interrupt: Interrupt,
    /// None outside of any CI.
    pub(crate) run: Option<Arc<Run>>,
    pub(crate) pace: Pace,
    /// The user of programs that run code of others.
    pub(crate) run_as: RunAs,
}

impl Host {
    /// Whether a person can be asked: at a terminal, and outside of any CI. Those that cdflow does
    /// not know set `CI`.
    pub(crate) fn has_person(&self) -> bool {
        let is_ci = self.environment.get("CI").is_some_and(|value| value != "false");
        self.run.is_none() && !is_ci && question::can_be_answered()
    }

    /// Returns the facts of a GitHub Actions run; None on other CIs.
    pub(crate) fn github(&self) -> Option<&GitHubRun> {
        self.run.as_deref()?.github.as_ref()
    }
}
