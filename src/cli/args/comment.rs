//! The arguments of `comment check` and `comment run`.

use clap::{Args, Subcommand};

use super::shared::{REPORT_HEADING, ReportInputs};
use crate::{
    cli::values::{CommitId, parallelism},
    config::{
        duration::HumanDuration,
        settings::{FileInput, Reviewed},
    },
};

/// The commands of a run that a comment on a pull request started.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "a run has one value")]
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
    /// For `/cdflow apply`: `=exact` applies the stored plan of the pull request, without a new one
    #[arg(
        long,
        value_name = "HOW",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(crate) reviewed: Option<Reviewed>,
    /// File with the key that decrypts the stored plan (age-keygen)
    #[arg(long, value_name = "FILE")]
    pub(crate) age_identity: Option<FileInput>,
    /// Terraform output with the environment's URL [default: `deploy.url-output` in cdflow.yml]
    #[arg(long, value_name = "NAME", help_heading = REPORT_HEADING)]
    pub(crate) url_output: Option<String>,
    #[command(flatten)]
    pub(crate) report: ReportInputs,
}
