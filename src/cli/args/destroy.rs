//! The arguments of `destroy`.

use clap::Args;

use super::shared::{ConfirmInputs, PlanInputs, ReportInputs};
use crate::config::names::{Environment, Version};

#[derive(Debug, Args)]
#[command(after_help = super::examples::DESTROY)]
pub(crate) struct DestroyInputs {
    /// Environment to destroy
    pub(crate) environment: Environment,
    /// Release to destroy with [default: the deployed one]
    pub(crate) version: Option<Version>,
    #[command(flatten)]
    pub(crate) plan: PlanInputs,
    #[command(flatten)]
    pub(crate) confirm_apply: ConfirmInputs,
    /// Repeat the environment's name; required if the account scheme names the environment
    #[arg(long, value_name = "ENVIRONMENT")]
    pub(crate) confirm: Option<Environment>,
    #[command(flatten)]
    pub(crate) report: ReportInputs,
}
