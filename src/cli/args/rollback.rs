//! The arguments of `rollback`.

use clap::Args;

use super::shared::{ConfirmInputs, PlanInputs, REPORT_HEADING, ReportInputs};
use crate::config::names::Environment;

#[derive(Debug, Args)]
#[command(after_help = super::examples::ROLLBACK)]
pub(crate) struct RollbackInputs {
    /// Environment to roll back
    pub(crate) environment: Environment,
    #[command(flatten)]
    pub(crate) plan: PlanInputs,
    #[command(flatten)]
    pub(crate) confirm_apply: ConfirmInputs,
    /// Allow this resource to be destroyed or replaced despite deploy guards (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) allow_destroy: Vec<String>,
    /// Terraform output with the environment's URL [default: `deploy.url-output` in cdflow.yml]
    #[arg(long, value_name = "NAME", help_heading = REPORT_HEADING)]
    pub(crate) url_output: Option<String>,
    #[command(flatten)]
    pub(crate) report: ReportInputs,
}
