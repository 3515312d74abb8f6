//! What a run stands on: the environment as it was, where to tell things, whether it was cancelled, and which CI it belongs to.

use std::sync::Arc;

use crate::{ci::Run, environment::Environment, interrupt::Interrupt, log::Log};

#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) environment: Environment,
    pub(crate) log: Log,
    pub(crate) interrupt: Interrupt,
    /// None outside of any CI.
    pub(crate) run: Option<Arc<Run>>,
}
