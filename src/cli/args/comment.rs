//! The arguments of `comment check` and `comment run`.

use clap::{Args, Subcommand};

use super::shared::{REPORT_HEADING, ReportInputs};
use crate::{
    cli::values::{CommitId, parallelism},
    config::duration::HumanDuration,
};

/// The commands of a run that a comment on a pull request started.
#[derive(Debug, Subcommand)]
pub(crate) enum CommentStep {
    /// Check the comment and its author, and add a reaction
    Check(CommentCheckInputs),
    /// Carry out the command of the comment
    Run(CommentRunInputs),
}

#[derive(Debug, Args)]
#[command(after_help = super::examples::COMMENT_CHECK)]
pub(crate) struct CommentCheckInputs {}

#[derive(Debug, Args)]
#[command(after_help = super::examples::COMMENT_RUN)]
pub(crate) struct CommentRunInputs {
    /// The commit that `comment check` accepted; refused if the pull request has a newer one
    #[arg(long, value_name = "COMMIT")]
    pub(crate) head: Option<CommitId>,
    /// Resources to work on at the same time [Terraform's default: 10]
    #[arg(long, value_name = "N", value_parser = parallelism)]
    pub(crate) parallelism: Option<u32>,
    /// How long to wait for the state lock, such as 5m [default: `deploy.lock-timeout` in
    /// cdflow.yml]
    #[arg(long, value_name = "TIME")]
    pub(crate) lock_timeout: Option<HumanDuration>,
    /// Terraform output with the environment's URL [default: `deploy.url-output` in cdflow.yml]
    #[arg(long, value_name = "NAME", help_heading = REPORT_HEADING)]
    pub(crate) url_output: Option<String>,
    #[command(flatten)]
    pub(crate) report: ReportInputs,
}
