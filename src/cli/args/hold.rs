//! The arguments of `hold` and `unhold`.

use clap::Args;

use crate::{cli::values::PullRequestNumber, config::names::Environment};

#[derive(Debug, Args)]
#[command(after_help = super::examples::HOLD)]
pub(crate) struct HoldInputs {
    /// Environment to hold
    pub(crate) environment: Environment,
    /// Pull request [default: the pull request of the run]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) pull_request: Option<PullRequestNumber>,
}

#[derive(Debug, Args)]
#[command(after_help = super::examples::UNHOLD)]
pub(crate) struct UnholdInputs {
    /// Held environment
    pub(crate) environment: Environment,
}
