//! What a run stands on: the environment as it was, where to tell things, whether it was cancelled,
//! which CI it belongs to, and how fast it may write to GitHub.

use std::sync::Arc;

use super::run::{GitHubRun, Run};
use crate::base::{interrupt::Interrupt, log::Log, pace::Pace, process_env::ProcessEnv};

#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) environment: ProcessEnv,
    pub(crate) log: Log,
    pub(crate) interrupt: Interrupt,
    /// None outside of any CI.
    pub(crate) run: Option<Arc<Run>>,
    pub(crate) pace: Pace,
}

impl Host {
    /// What a run of GitHub Actions knows besides; None elsewhere.
    pub(crate) fn github(&self) -> Option<&GitHubRun> {
        self.run.as_deref()?.github.as_ref()
    }
}
