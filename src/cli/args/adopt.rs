//! The arguments of `adopt`.

use clap::Args;

use crate::{
    cli::values::StateUrl,
    config::names::{Environment, Version},
};

#[derive(Debug, Args)]
#[command(after_help = super::examples::ADOPT)]
pub(crate) struct AdoptInputs {
    /// Environment that the state is for
    pub(crate) environment: Environment,
    /// Release to plan with afterwards
    pub(crate) version: Option<Version>,
    /// State to copy: s3://bucket/key or file:path
    #[arg(long, value_name = "LOCATION")]
    pub(crate) from: StateUrl,
    /// DynamoDB table that locks the state in S3, in addition to a lock file
    #[arg(long, value_name = "TABLE")]
    pub(crate) from_lock_table: Option<String>,
    /// Allow an environment that only "*" of the account scheme matches
    #[arg(long)]
    pub(crate) new_environment: bool,
}
