//! What a run stands on: the environment as it was, where to tell things, and whether it was cancelled.

use crate::{environment::Environment, interrupt::Interrupt, log::Log};

#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) environment: Environment,
    pub(crate) log: Log,
    pub(crate) interrupt: Interrupt,
}
