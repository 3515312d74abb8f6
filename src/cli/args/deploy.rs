//! The arguments of `deploy`.

use clap::Args;

use super::shared::{ConfirmInputs, PlanInputs, REPORT_HEADING, ReportInputs};
use crate::config::{
    names::{Environment, Version},
    settings::{FileInput, Reviewed},
};

const STORED_PLANS: &str = "Options of stored plans";

#[derive(Debug, Args)]
#[command(after_help = super::examples::DEPLOY)]
pub(crate) struct DeployInputs {
    /// Environment to deploy to
    pub(crate) environment: Environment,
    /// Release to deploy [default in CI: as for release]
    pub(crate) version: Option<Version>,
    #[command(flatten)]
    pub(crate) plan: PlanInputs,
    #[command(flatten)]
    pub(crate) confirm_apply: ConfirmInputs,
    /// Apply only what was reviewed (`=exact`: the stored plan itself)
    #[arg(
        long,
        value_name = "HOW",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        conflicts_with_all = ["plan_only", "refresh_only"]
    )]
    pub(crate) reviewed: Option<Reviewed>,
    /// Fail if the plan cannot be stored for --reviewed=exact [default: store it if there is a key]
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        requires = "plan_only",
        help_heading = STORED_PLANS
    )]
    pub(crate) store_plan: Option<bool>,
    /// File with the key that decrypts the stored plan (age-keygen)
    #[arg(long, value_name = "FILE", help_heading = STORED_PLANS)]
    pub(crate) age_identity: Option<FileInput>,
    /// Allow an environment without state
    #[arg(long)]
    pub(crate) new_environment: bool,
    /// Limit the plan to this resource or module (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) target: Vec<String>,
    /// Replace this resource (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) replace: Vec<String>,
    /// Only update the state to match the real resources
    #[arg(long, conflicts_with = "replace")]
    pub(crate) refresh_only: bool,
    /// Allow this resource to be destroyed or replaced despite deploy guards (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) allow_destroy: Vec<String>,
    /// Allow a release that is older than the deployed one
    #[arg(long)]
    pub(crate) allow_downgrade: bool,
    /// Allow a state that is older than the ledger says, or another one
    #[arg(long)]
    pub(crate) allow_older_state: bool,
    /// Terraform output with the environment's URL [default: `deploy.url-output` in cdflow.yml]
    #[arg(long, value_name = "NAME", help_heading = REPORT_HEADING)]
    pub(crate) url_output: Option<String>,
    #[command(flatten)]
    pub(crate) report: ReportInputs,
}

impl DeployInputs {
    /// The deploy of a version without any flag.
    pub(crate) fn of(environment: Environment, version: Version) -> Self {
        Self {
            environment,
            version: Some(version),
            plan: PlanInputs::default(),
            confirm_apply: ConfirmInputs::default(),
            reviewed: None,
            store_plan: None,
            age_identity: None,
            new_environment: false,
            target: Vec::new(),
            replace: Vec::new(),
            refresh_only: false,
            allow_destroy: Vec::new(),
            allow_downgrade: false,
            allow_older_state: false,
            url_output: None,
            report: ReportInputs::default(),
        }
    }
}
