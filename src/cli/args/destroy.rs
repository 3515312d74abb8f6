//! The arguments of `destroy`.

use clap::Args;

use super::shared::{PlanInputs, ReportInputs};
use crate::config::names::{Environment, Version};

#[derive(Debug, Args)]
pub(crate) struct DestroyInputs {
    /// Environment to destroy
    pub(crate) environment: Environment,
    /// Release to destroy with [default: the deployed one]
    pub(crate) version: Option<Version>,
    #[command(flatten)]
    pub(crate) plan: PlanInputs,
    /// Repeat the environment's name; required if the account scheme names the environment
    #[arg(long, value_name = "ENVIRONMENT")]
    pub(crate) confirm: Option<Environment>,
    #[command(flatten)]
    pub(crate) report: ReportInputs,
}
