//! The arguments of `hold` and `unhold`.

use clap::Args;

use crate::{cli::values::PullRequestNumber, config::names::Environment};

#[derive(Debug, Args)]
#[command(after_help = super::examples::HOLD)]
pub(crate) struct HoldInputs {
    /// Environment to hold
    pub(crate) environment: Environment,
    /// Pull request [default: the one that the run is for]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) pull_request: Option<PullRequestNumber>,
}

#[derive(Debug, Args)]
#[command(after_help = super::examples::UNHOLD)]
pub(crate) struct UnholdInputs {
    /// Environment that is held
    pub(crate) environment: Environment,
}
