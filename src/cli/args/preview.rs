//! The arguments of `preview up`, `preview down` and `preview reap`.

use clap::{Args, Subcommand};

use super::shared::{BundleInputs, PlanInputs, REPORT_HEADING, ReportInputs};
use crate::cli::values::PullRequestNumber;

/// The commands of a pull request's environment.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "a run has one value")]
pub(crate) enum PreviewCommand {
    /// Release a pull request's commit and deploy it to pr-<number>
    Up(PreviewUpInputs),
    /// Destroy a pull request's preview
    Down(PreviewDownInputs),
    /// Destroy previews whose pull request is closed or too old
    Reap(PreviewReapInputs),
}

#[derive(Debug, Args)]
#[command(after_help = super::examples::PREVIEW_UP)]
pub(crate) struct PreviewUpInputs {
    /// Pull request [default: the one that the run is for]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) pull_request: Option<PullRequestNumber>,
    #[command(flatten)]
    pub(crate) plan: PlanInputs,
    #[command(flatten)]
    pub(crate) build: BundleInputs,
    /// Terraform output with the environment's URL [default: `deploy.url-output` in cdflow.yml]
    #[arg(long, value_name = "NAME", help_heading = REPORT_HEADING)]
    pub(crate) url_output: Option<String>,
    #[command(flatten)]
    pub(crate) report: ReportInputs,
}

#[derive(Debug, Args)]
#[command(after_help = super::examples::PREVIEW_DOWN)]
pub(crate) struct PreviewDownInputs {
    /// Pull request [default: the one that the run is for]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) pull_request: Option<PullRequestNumber>,
    #[command(flatten)]
    pub(crate) plan: PlanInputs,
    #[command(flatten)]
    pub(crate) report: ReportInputs,
}

#[derive(Debug, Args)]
#[command(after_help = super::examples::PREVIEW_REAP)]
pub(crate) struct PreviewReapInputs {
    /// List the previews that would be destroyed; destroy nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) report: ReportInputs,
}
