//! The arguments of `doctor`.

use clap::Args;

use crate::config::names::Environment;

#[derive(Debug, Args)]
#[command(after_help = super::examples::DOCTOR)]
pub(crate) struct DoctorInputs {
    /// Environment whose roles and secrets to check [default: the roles of all]
    pub(crate) environment: Option<Environment>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}
