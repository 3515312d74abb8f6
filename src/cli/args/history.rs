//! The arguments of `history`.

use clap::Args;

use crate::config::names::Environment;

#[derive(Debug, Args)]
#[command(after_help = super::examples::HISTORY)]
pub(crate) struct HistoryInputs {
    /// Environment to show
    pub(crate) environment: Environment,
    /// Show all runs, not only the newest 20
    #[arg(long)]
    pub(crate) all: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}
